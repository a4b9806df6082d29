/** Attacks and bad input over a real socket, with real keys: what the client is told, and what audit sees. */
import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, KeyObject, randomBytes, sign } from 'node:crypto'
import { test } from 'node:test'
import { exportJWK } from 'jose'
import type { LocalIssuer } from '../../examples/local-issuer.ts'
import { requireHuman, requireM2M } from '../../lib/auth/guards/caller-guards.ts'
import { requireScopes } from '../../lib/auth/guards/scope-guards.ts'
import { MemoryRevocationList } from '../../lib/auth/revocation/memory-revocation-list.ts'
import type { RevocationList, RevocationState } from '../../lib/auth/revocation/revocation-list.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { base64url, forge, goodClaims, headerOf, hs256, signatureOf } from './forge.ts'
import { type Answer, guardedServer, localIssuer, patient, sharedIssuer } from './guarded-server.ts'
import { ageless } from './simulation.ts'

const metadata = 'https://api.example.com/.well-known/oauth-protected-resource'

interface Expected {
  status: number
  /** The true reason; undefined when the request is let in. */
  reason?: string
  /** The error code of the challenge; undefined: a challenge without one. */
  error?: string
  description?: string
}

const invalid = (reason: string, description = 'The access token is invalid'): Expected => ({
  status: 401,
  reason,
  error: 'invalid_token',
  description
})
const malformed = (reason: string) => invalid(reason, 'The access token is malformed')
const badRequest = (reason: string, description: string): Expected => ({
  status: 400,
  reason,
  error: 'invalid_request',
  description
})
const anonymous: Expected = { status: 401, reason: 'missing_credentials' }
const accepted: Expected = { status: 200 }

function matches(answer: Answer, expected: Expected, name: string): void {
  assert.equal(answer.status, expected.status, name)
  assert.equal(answer.reason, expected.reason, name)
  if (expected.status === 200) return
  const parameters =
    expected.error === undefined
      ? ''
      : `error="${expected.error}", error_description="${expected.description}", `
  assert.equal(
    answer.headers['www-authenticate'],
    `Bearer ${parameters}resource_metadata="${metadata}"`,
    name
  )
  assert.equal(answer.headers['content-type'], 'application/problem+json', name)
  assert.equal(answer.headers['cache-control'], 'no-store', name)
  assert.equal(answer.body['status'], expected.status, name)
  assert.equal(answer.body['code'], expected.error ?? 'authentication_required', name)
  if (expected.description !== undefined) {
    assert.equal(answer.body['detail'], `${expected.description}.`, name)
  }
}

const trusting = (issuer: LocalIssuer) => ({
  issuer: issuer.url,
  audience: issuer.audience,
  resourceMetadata: metadata
})

test('transport and syntax', async t => {
  const issuer = await sharedIssuer()
  const server = await guardedServer(t, trusting(issuer))
  const good = await issuer.issue()
  await server.verifier.ready()
  const bearer = (token: string) => `Authorization: Bearer ${token}`
  const cases: [string, () => string | string[], Expected, string?][] = [
    ['1 no Authorization header', () => [], anonymous],
    ['2 Basic', () => 'Authorization: Basic dXNlcjpwdw==', anonymous],
    ['2 an unknown scheme', () => 'Authorization: Bearerish abc', anonymous],
    ['2 an empty header', () => 'Authorization:', anonymous],
    [
      '3 Bearer and nothing',
      () => 'Authorization: Bearer',
      badRequest('empty_token', 'The access token is missing')
    ],
    [
      '3 Bearer and a space',
      () => 'Authorization: Bearer ',
      badRequest('empty_token', 'The access token is missing')
    ],
    ...['Bearer\tabc', 'Bearer: abc', 'bearer=abc', 'Bearer,', 'Bearer "abc"', 'Bearer \tabc'].map(
      (text): [string, () => string, Expected] => [
        `6 ${JSON.stringify(text)}`,
        () => `Authorization: ${text}`,
        badRequest('malformed_authorization', 'The Authorization header is malformed')
      ]
    ),
    ...['Bearer-abc def', 'Bearer_ abc', 'Bearer.abc', 'Token abc'].map(
      (text): [string, () => string, Expected] => [
        `2 ${JSON.stringify(text)}`,
        () => `Authorization: ${text}`,
        anonymous
      ]
    ),
    ['4 bearer', () => `Authorization: bearer ${good}`, accepted],
    ['4 BEARER', () => `authorization: BEARER ${good}`, accepted],
    ['4 AUTHORIZATION', () => `AUTHORIZATION: BeArEr ${good}`, accepted],
    ['5 two spaces', () => `Authorization: Bearer  ${good}`, accepted],
    ...['a\tb', 'a b', 'a%00b', 'a\xe9b', 'a"b', 'a,b', '=a', 'a=b'].map(
      (text): [string, () => string, Expected] => [
        `6 ${JSON.stringify(text)}`,
        () => `Authorization: Bearer ${text}`,
        badRequest('malformed_authorization', 'The Authorization header is malformed')
      ]
    ),
    [
      '7 good, then bad',
      () => [bearer(good), bearer('bad')],
      badRequest('duplicate_authorization', 'There must be one Authorization header')
    ],
    [
      '7 bad, then good, in two spellings',
      () => [bearer('bad'), `AUTHORIZATION: Bearer ${good}`],
      badRequest('duplicate_authorization', 'There must be one Authorization header')
    ],
    [
      '8 two in one line',
      () => `Authorization: Bearer ${good}, Bearer ${good}`,
      badRequest('malformed_authorization', 'The Authorization header is malformed')
    ],
    [
      '9 header and query',
      () => bearer(good),
      badRequest('token_in_query', 'The access token must be in the Authorization header only'),
      '?access_token=abc'
    ],
    [
      '9 header and query, further on',
      () => bearer(good),
      badRequest('token_in_query', 'The access token must be in the Authorization header only'),
      '?x_access_token=1&a=b&access_token=abc'
    ],
    ['9 a path', () => bearer(good), accepted, '/access_token=abc'],
    ['9 another query', () => bearer(good), accepted, '?my_access_token=abc'],
    ['11 12 KB', () => bearer('a'.repeat(12_000)), malformed('token_too_large')],
    ['11 8193 bytes', () => bearer(`${'a'.repeat(8_189)}.b.c`), malformed('token_too_large')]
  ]
  for (const [name, lines, expected, query = ''] of cases) {
    await t.test(name, async () => {
      const fetches = server.fetched.length
      matches(await server.ask(lines(), `/orders${query}`), expected, name)
      assert.equal(server.fetched.length, fetches)
    })
  }

  await t.test('10 only in the query: no method, and not in the audit path', async () => {
    const answer = await server.ask([], `/orders?access_token=${good}`)
    matches(answer, anonymous, '10')
    assert.ok(!answer.raw.includes(good))
  })

  await t.test('11 64 KB: Node answers by itself', async () => {
    const answer = await server.ask(bearer('a'.repeat(65_536))).catch((error: Error) => error)
    if (answer instanceof Error) assert.match(String(answer), /ECONNRESET|EPIPE/)
    else assert.equal(answer.status, 431)
  })

  await t.test('12 a pre-flight passes to the handler, other OPTIONS do not', async () => {
    const preflight = ['Origin: https://app.example.com', 'Access-Control-Request-Method: PUT']
    assert.equal((await server.ask(preflight, '/orders', 'OPTIONS')).status, 200)
    assert.equal((await server.ask([], '/orders', 'OPTIONS')).status, 401)
    assert.equal((await server.ask(preflight, '/orders', 'GET')).status, 401)
  })

  await t.test('12 pre-flights can be refused', async t => {
    const server = await guardedServer(t, {
      issuer: issuer.url,
      audience: issuer.audience,
      passPreflight: false
    })
    const preflight = ['Origin: https://app.example.com', 'Access-Control-Request-Method: PUT']
    assert.equal((await server.ask(preflight, '/orders', 'OPTIONS')).status, 401)
  })
})

/** Cases that are one token and one answer. */
function tokenCases(
  title: string,
  list: (issuer: LocalIssuer) => Record<string, [string | Promise<string>, Expected]>
): void {
  test(title, async t => {
    const issuer = await sharedIssuer()
    const server = await guardedServer(t, trusting(issuer))
    await server.verifier.ready()
    for (const [name, [token, expected]] of Object.entries(list(issuer))) {
      await t.test(name, async () => {
        const fetches = server.fetched.length
        const answer = await server.bear(await token)
        matches(answer, expected, name)
        if (expected.status !== 200) assert.ok(!answer.raw.includes('mallory'))
        // An unknown key id may have the issuer asked for its keys, and nobody else.
        if (expected.reason !== 'unknown_key') assert.equal(server.fetched.length, fetches)
        assert.ok(server.fetched.every(url => url.startsWith(issuer.url)))
      })
    }
    assert.equal((await server.bear(await issuer.issue())).status, 200)
  })
}

tokenCases('structure', issuer => {
  const header = headerOf(issuer)
  const claims = goodClaims(issuer)
  const signed = forge(issuer, header, claims)
  const [first, second, third] = signed.split('.') as [string, string, string]
  const nested = `${'['.repeat(2_000)}${']'.repeat(2_000)}`
  const deep = (levels: number) => ({ ...claims, deep: JSON.parse('['.repeat(levels) + ']'.repeat(levels)) })
  const cases: Record<string, [string, Expected]> = {
    '13 abc': ['abc', malformed('malformed_token')],
    '13 a.b': ['a.b', malformed('malformed_token')],
    '13 a.b.c.d': ['a.b.c.d', malformed('malformed_token')],
    '13 ..': ['..', malformed('malformed_token')],
    '13 .b.c': ['.b.c', malformed('malformed_token')],
    '13 a..c': ['a..c', malformed('malformed_token')],
    '13 eyJ.eyJ.': ['eyJ.eyJ.', malformed('malformed_token')],
    '13 six segments': ['a.b.c.d.e.f', malformed('malformed_token')],
    '13 a + in it': [`${first}.${second}+.${third}`, malformed('malformed_token')],
    '14 a JWE with a zip bomb': [
      `${base64url({ alg: 'RSA-OAEP', enc: 'A256GCM', zip: 'DEF' })}.a.b.c.d`,
      malformed('encrypted_token')
    ],
    '15 PBES2 with 2^31 rounds': [
      `${base64url({ alg: 'PBES2-HS256+A128KW', enc: 'A128CBC-HS256', p2c: 2 ** 31, p2s: 'YQ' })}.a.b.c.d`,
      malformed('encrypted_token')
    ],
    '15 the same in three segments': [
      forge(issuer, { alg: 'PBES2-HS256+A128KW', p2c: 2 ** 31 }, claims),
      invalid('algorithm_not_allowed')
    ],
    '17 invalid UTF-8': [
      forge(issuer, header, Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])),
      malformed('malformed_claims')
    ],
    '17 an overlong form': [
      forge(
        issuer,
        header,
        Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')])
      ),
      malformed('malformed_claims')
    ],
    '17 a byte order mark': [
      forge(issuer, header, `\ufeff${JSON.stringify(claims)}`),
      malformed('malformed_claims')
    ],
    '18 a member twice, the last one wins': [
      forge(issuer, header, JSON.stringify(claims).replace('{', '{"aud":"other",')),
      accepted
    ],
    '18 a member twice, and the last one is wrong': [
      forge(issuer, header, JSON.stringify(claims).replace(/}$/, ',"aud":"other"}')),
      invalid('wrong_audience')
    ],
    '19 32 levels are fine': [forge(issuer, header, deep(30)), accepted],
    '19 2000 levels are refused': [forge(issuer, header, deep(2_000)), malformed('claims_too_deep')],
    '20 padding': [`${signed}==`, malformed('malformed_token')],
    '20 a spare bit in the header': [
      `${spare(base64url(JSON.stringify(header).padEnd(100)))}.${second}.${third}`,
      malformed('non_canonical_token')
    ],
    '20 an impossible length': [`${first}.${second}.${'a'.repeat(341)}`, malformed('non_canonical_token')]
  }
  const values = { array: '[]', string: '"x"', number: '1', null: 'null', nested, text: 'x', nothing: ' ' }
  for (const [name, json] of Object.entries(values)) {
    cases[`16 the header is ${name}`] = [forge(issuer, json, claims), malformed('malformed_header')]
    cases[`16 the payload is ${name}`] = [forge(issuer, header, json), malformed('malformed_claims')]
  }
  for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA'] as const) {
    const token = forge(issuer, headerOf(issuer, alg), claims, alg)
    for (const [index, other] of spellings(token).entries()) {
      cases[`20 ${alg}, spelling ${index}`] = [other, malformed('non_canonical_token')]
    }
  }
  const ecdsa = forge(issuer, headerOf(issuer, 'ES256'), claims, 'ES256')
  cases['21 ES256 with (r, n - s) is another good signature'] = [malleated(ecdsa), accepted]
  return cases
})

/** The same bytes in other words: the last character's spare bits set. */
function spellings(token: string): string[] {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const bytes = (text: string) => Buffer.from(text.split('.')[2] ?? '', 'base64url')
  const others = [...alphabet]
    .map(last => token.slice(0, -1) + last)
    .filter(other => other !== token && bytes(other).equals(bytes(token)))
  assert.equal(others.length, 15)
  return others
}

function spare(segment: string): string {
  const rest = segment.length % 4
  assert.ok(rest > 1)
  const other = segment.slice(0, -1) + String.fromCharCode(segment.charCodeAt(segment.length - 1) + 1)
  assert.deepEqual(Buffer.from(other, 'base64url'), Buffer.from(segment, 'base64url'))
  return other
}

function malleated(token: string): string {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const dot = token.lastIndexOf('.')
  const signature = Buffer.from(token.slice(dot + 1), 'base64url')
  const s = order - BigInt(`0x${signature.subarray(32).toString('hex')}`)
  const other = Buffer.concat([
    signature.subarray(0, 32),
    Buffer.from(s.toString(16).padStart(64, '0'), 'hex')
  ])
  return `${token.slice(0, dot)}.${other.toString('base64url')}`
}

test('19 no member of the claims reaches a prototype', async t => {
  const issuer = await sharedIssuer()
  const { bear, verifier } = await guardedServer(t, { issuer: issuer.url, audience: issuer.audience })
  const json = JSON.stringify(goodClaims(issuer, { constructor: { prototype: { admin: true } } }))
  const polluted = `${json.slice(0, -1)},"__proto__":{"admin":true},"a":{"__proto__":{"admin":true}}}`
  const token = forge(issuer, headerOf(issuer), polluted)
  assert.equal((await bear(token)).status, 200)
  const { claims } = await verifier.verify(token)
  assert.equal(({} as Record<string, unknown>)['admin'], undefined)
  assert.equal(Object.assign({}, claims)['admin'], undefined)
  assert.equal(Object.assign({}, claims['a'] as object as Record<string, unknown>)['admin'], undefined)
})

tokenCases('algorithm and key', issuer => {
  const header = headerOf(issuer)
  const claims = goodClaims(issuer)
  const good = forge(issuer, header, claims)
  const unsigned = (alg: string) => `${base64url({ ...header, alg })}.${base64url(claims)}`
  const pem = createPublicKey(KeyObject.from(issuer.key().privateKey))
    .export({ format: 'pem', type: 'spki' })
    .toString()
  const withHmac = (secret: string) => hs256({ ...header, alg: 'HS256' }, claims, secret)
  const algorithm = invalid('algorithm_not_allowed')
  const ecdsa = forge(issuer, headerOf(issuer, 'ES256'), claims, 'ES256')
  const [ecHeader, ecClaims] = ecdsa.split('.') as [string, string]
  const der = sign(
    'sha256',
    Buffer.from(`${ecHeader}.${ecClaims}`),
    KeyObject.from(issuer.key({ alg: 'ES256' }).privateKey)
  )
  const attacker = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const byAttacker = (more: Record<string, unknown>) => {
    const input = `${base64url({ ...header, ...more })}.${base64url(claims)}`
    return `${input}.${sign('sha256', Buffer.from(input), attacker.privateKey).toString('base64url')}`
  }
  const kid = (value: unknown) => forge(issuer, { ...header, kid: value }, claims)
  const { kid: _, ...withoutKid } = header
  return {
    '22 none': [`${unsigned('none')}.`, malformed('malformed_token')],
    '22 none with a signature': [`${unsigned('none')}.AA`, algorithm],
    '22 None': [`${unsigned('None')}.AA`, algorithm],
    '22 nOnE': [`${unsigned('nOnE')}.AA`, algorithm],
    '22 RS256 with an empty signature': [`${unsigned('RS256')}.`, malformed('malformed_token')],
    '22 no alg': [forge(issuer, { kid: header['kid'] }, claims), algorithm],
    '22 alg is a list': [forge(issuer, { ...header, alg: ['RS256'] }, claims), algorithm],
    '23 HS256 with the public key': [withHmac(pem), algorithm],
    '23 HS256 with the public key after a newline': [withHmac(`\n${pem}`), algorithm],
    '23 HS256 with the public key after a blank': [withHmac(` ${pem}`), algorithm],
    '24 HS256 with an empty secret': [withHmac(''), algorithm],
    '25 PS256 on an RS256 key': [
      `${unsigned('PS256')}.${signatureOf(issuer, unsigned('PS256'), 'PS256').toString('base64url')}`,
      invalid('key_mismatch')
    ],
    '25 ES256 on an RSA key': [
      forge(issuer, { ...header, alg: 'ES256' }, claims, 'ES256'),
      invalid('key_mismatch')
    ],
    '25 RS256 on a P-256 key': [
      forge(issuer, { ...headerOf(issuer, 'ES256'), alg: 'RS256' }, claims),
      invalid('key_mismatch')
    ],
    '26 64 zero bytes': [
      `${ecHeader}.${ecClaims}.${Buffer.alloc(64).toString('base64url')}`,
      invalid('bad_signature')
    ],
    '26 DER': [`${ecHeader}.${ecClaims}.${der.toString('base64url')}`, invalid('bad_signature')],
    'a changed claim': [
      good.replace(/\.[\w-]+\./, `.${base64url({ ...claims, sub: 'admin' })}.`),
      invalid('bad_signature')
    ],
    '28 a path': [kid('../../etc/passwd'), invalid('unknown_key')],
    '28 __proto__': [kid('__proto__'), invalid('unknown_key')],
    '28 10 KB': [kid('k'.repeat(5_000)), invalid('invalid_key_id')],
    '28 control characters': [kid('a\r\nb'), invalid('invalid_key_id')],
    '28 not ASCII': [kid('ключ'), invalid('invalid_key_id')],
    '28 empty': [kid(''), invalid('invalid_key_id')],
    '29 a number': [kid(1), invalid('invalid_key_id')],
    '29 null': [kid(null), invalid('invalid_key_id')],
    '29 none': [forge(issuer, withoutKid, claims), accepted],
    '30 jku': [byAttacker({ jku: 'http://169.254.169.254/jwks' }), invalid('embedded_key')],
    '30 x5u': [byAttacker({ x5u: 'http://169.254.169.254/cert' }), invalid('embedded_key')],
    '31 jwk': [byAttacker({ jwk: attacker.publicKey.export({ format: 'jwk' }) }), invalid('embedded_key')],
    '31 x5c': [byAttacker({ x5c: ['MII'] }), invalid('embedded_key')],
    '31 x5c of the issuer itself': [
      forge(issuer, { ...header, x5c: ['MII'] }, claims),
      invalid('embedded_key')
    ],
    '32 crit: [x]': [
      forge(issuer, { ...header, crit: ['x'], x: 1 }, claims),
      invalid('unsupported_critical_header')
    ],
    '32 crit: []': [forge(issuer, { ...header, crit: [] }, claims), invalid('unsupported_critical_header')],
    '32 b64: false': [
      forge(issuer, { ...header, crit: ['b64'], b64: false }, claims),
      invalid('unsupported_critical_header')
    ],
    '32 b64 without crit': [
      forge(issuer, { ...header, b64: false }, claims),
      invalid('unsupported_critical_header')
    ]
  }
})

test('27 fifty random kids cause one fetch, and the good key goes on', async t => {
  const issuer = await sharedIssuer()
  // After a minute another fetch would be due.
  const { bear, fetched } = await guardedServer(t, {
    jwksUri: issuer.jwksUri,
    issuer: issuer.url,
    audience: issuer.audience,
    clock: ageless
  })
  assert.equal((await bear(await issuer.issue())).status, 200)
  assert.equal(fetched.length, 1)
  for (let i = 0; i < 50; i++) {
    const kid = randomBytes(8).toString('hex')
    const answer = await bear(forge(issuer, { ...headerOf(issuer), kid }, goodClaims(issuer)))
    assert.deepEqual([answer.status, answer.reason], [401, 'unknown_key'])
  }
  assert.equal(fetched.length, 2)
  assert.equal((await bear(await issuer.issue())).status, 200)
})

test('29 no kid and two keys of one algorithm: both are tried', async t => {
  const one = await localIssuer(t)
  const two = await localIssuer(t)
  const jwks = { keys: [...one.jwks.keys, ...two.jwks.keys] }
  const { bear, fetched } = await guardedServer(t, { issuer: two.url, audience: two.audience, jwks })
  assert.equal((await bear(await two.issue({}, { header: { kid: undefined } as never }))).status, 200)
  const third = await localIssuer(t)
  const foreign = await third.issue({ iss: two.url }, { header: { kid: undefined } as never })
  assert.equal((await bear(foreign)).reason, 'bad_signature')
  assert.equal(fetched.length, 0)
})

test('33 a key of one issuer is no key of another', async t => {
  const a = await localIssuer(t)
  const b = await localIssuer(t)
  const { bear } = await guardedServer(t, {
    resourceMetadata: metadata,
    issuers: [
      { issuer: a.url, audience: a.audience, jwksCache: patient },
      { issuer: b.url, audience: 'b-api', jwksCache: patient }
    ]
  })
  assert.equal((await bear(await a.issue())).status, 200)
  assert.equal((await bear(await b.issue({ aud: 'b-api' }))).status, 200)
  matches(await bear(await a.issue({ iss: b.url, aud: 'b-api' })), invalid('unknown_key'), 'unknown kid')
  const same = { kid: b.key().kid }
  matches(
    await bear(await a.issue({ iss: b.url, aud: 'b-api' }, { header: same })),
    invalid('bad_signature'),
    'the kid of b'
  )
  matches(await bear(await b.issue()), invalid('wrong_audience'), 'the audience of a')
  matches(await bear(await a.issue({ iss: 'https://c.example.com' })), invalid('unknown_issuer'), 'another')
})

tokenCases('claims', issuer => {
  const now = Math.floor(Date.now() / 1000)
  const day = 86_400
  const expired = invalid('expired', 'The access token expired')
  const json = (member: string) =>
    forge(issuer, headerOf(issuer), JSON.stringify(goodClaims(issuer, { exp: 'X' })).replace('"X"', member))
  const type = invalid('wrong_token_type')
  const untyped = { header: { typ: 'JWT' } }
  return {
    '34 a minute ago': [issuer.issue({ exp: now - 60 }), expired],
    '34 beyond the leeway': [issuer.issue({ exp: now - 6 }), expired],
    '34 exp 0': [issuer.issue({ exp: 0 }), expired],
    '35 no exp': [issuer.issue({ exp: undefined } as never), invalid('invalid_expiry')],
    '36 a string': [json('"9999999999"'), invalid('invalid_expiry')],
    '36 null': [json('null'), invalid('invalid_expiry')],
    '36 NaN is no JSON': [json('NaN'), malformed('malformed_claims')],
    '36 infinite': [json('1e999'), invalid('invalid_expiry')],
    '36 negative': [json('-1'), expired],
    '36 1e308': [json('1e308'), invalid('excessive_lifetime')],
    '36 milliseconds': [issuer.issue({ exp: (now + 600) * 1000 }), invalid('excessive_lifetime')],
    '36 a fraction': [issuer.issue({ exp: now + 600.5 }), accepted],
    '37 nbf in an hour': [
      issuer.issue({ nbf: now + 3_600 }),
      invalid('not_yet_valid', 'The access token is not valid yet')
    ],
    '37 nbf is a string': [issuer.issue({ nbf: '0' } as never), invalid('invalid_not_before')],
    '38 iat in a day': [issuer.issue({ iat: now + day }), invalid('issued_in_the_future')],
    '38 iat within the leeway': [issuer.issue({ iat: now + 2 }), accepted],
    '38 iat is a string': [issuer.issue({ iat: 'x' } as never), invalid('issued_in_the_future')],
    '39 a trailing slash': [issuer.issue({ iss: `${issuer.url}/` }), invalid('unknown_issuer')],
    '39 another case': [issuer.issue({ iss: issuer.url.toUpperCase() }), invalid('unknown_issuer')],
    '39 none': [issuer.issue({ iss: undefined } as never), invalid('unknown_issuer')],
    '39 a list': [issuer.issue({ iss: [issuer.url] } as never), invalid('unknown_issuer')],
    '40 none': [issuer.issue({ aud: undefined } as never), invalid('wrong_audience')],
    '40 another': [issuer.issue({ aud: 'other' }), invalid('wrong_audience')],
    '40 another case': [issuer.issue({ aud: issuer.audience.toUpperCase() }), invalid('wrong_audience')],
    '40 an empty list': [issuer.issue({ aud: [] }), invalid('wrong_audience')],
    '40 an object': [issuer.issue({ aud: { [issuer.audience]: 1 } } as never), invalid('wrong_audience')],
    '40 a list in a list': [issuer.issue({ aud: [[issuer.audience]] } as never), invalid('wrong_audience')],
    '40 a list with ours': [issuer.issue({ aud: ['other', issuer.audience] }), accepted],
    '41 nonce': [issuer.issue({ nonce: 'n' }, untyped), type],
    '41 at_hash': [issuer.issue({ at_hash: 'h', scope: 'openid' }, untyped), type],
    '41 nonce and scope, as Keycloak had it': [
      issuer.issue({ nonce: 'n', scope: 'openid' }, untyped),
      accepted
    ],
    '41 token_use id': [issuer.issue({ token_use: 'id' }, untyped), type],
    ...Object.fromEntries(
      [
        'logout+jwt',
        'dpop+jwt',
        'secevent+jwt',
        'oauth-id-jag+jwt',
        'application/logout+jwt',
        'x',
        '',
        1
      ].map(typ => [
        `42 typ ${typ}`,
        [issuer.issue({}, { header: { typ } as never }), type] as [Promise<string>, Expected]
      ])
    ),
    ...Object.fromEntries(
      [undefined, 'JWT', 'jwt', 'at+jwt', 'AT+JWT', 'application/at+jwt'].map(typ => [
        `42 typ ${typ} is an access token`,
        [issuer.issue({}, { header: { typ } as never }), accepted] as [Promise<string>, Expected]
      ])
    ),
    ...Object.fromEntries(
      [
        { typ: 'Refresh' },
        { typ: 'refresh' },
        { typ: 'ID' },
        { typ: 'Offline' },
        { typ: 'Logout' },
        { token_use: 'refresh' },
        { token_use: 'id' },
        { token_type: 'refresh' },
        { token_type: 'refresh_token' },
        { events: {} },
        { events: { 'http://schemas.openid.net/event/backchannel-logout': {} }, sid: 's' }
      ].flatMap(claims =>
        [{ typ: 'JWT' }, { typ: 'at+jwt' }, { typ: undefined }].map(header => [
          `42 ${JSON.stringify(claims)} in a token of type ${header.typ}`,
          [issuer.issue(claims as never, { header } as never), type] as [Promise<string>, Expected]
        ])
      )
    ),
    '44 bound to a key, sent as a bearer token': [
      issuer.issue({ cnf: { jkt: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' } }),
      invalid('unchecked_confirmation')
    ],
    '45 bound to a certificate': [
      issuer.issue({ cnf: { 'x5t#S256': 'bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2' } }),
      invalid('unchecked_confirmation')
    ],
    '45 an empty cnf': [issuer.issue({ cnf: {} }), invalid('unchecked_confirmation')],
    '45 cnf is a string': [issuer.issue({ cnf: 'x' } as never), malformed('malformed_claims')],
    'jti is a number': [issuer.issue({ jti: 1 } as never), malformed('malformed_claims')],
    'sub is a list': [issuer.issue({ sub: ['a'] } as never), malformed('malformed_claims')]
  }
})

test('34 without a leeway a token is over at its exp', async t => {
  const issuer = await sharedIssuer()
  const { bear } = await guardedServer(t, {
    issuer: issuer.url,
    audience: issuer.audience,
    clockToleranceSeconds: 0
  })
  const now = Math.floor(Date.now() / 1000)
  for (const exp of [now, now - 1]) assert.equal((await bear(await issuer.issue({ exp }))).reason, 'expired')
  const lenient = await guardedServer(t, { ...trusting(issuer), clockToleranceSeconds: 600 })
  assert.equal((await lenient.bear(await issuer.issue({ exp: now - 300 }))).status, 200)
  assert.equal((await lenient.bear(await issuer.issue({ exp: now - 601 }))).reason, 'expired')
})

test('41 ID tokens where the issuer is configured so', async t => {
  const issuer = await sharedIssuer()
  const { bear } = await guardedServer(t, {
    issuer: issuer.url,
    audience: issuer.audience,
    acceptIdTokens: true
  })
  const untyped = { header: { typ: 'JWT' } }
  assert.equal((await bear(await issuer.issue({ nonce: 'n', at_hash: 'h' }, untyped))).status, 200)
  assert.equal((await bear(await issuer.issue({ token_use: 'refresh' }, untyped))).reason, 'wrong_token_type')
})

test('47 an unknown key while the identity provider is down is 503, known keys go on', async t => {
  const issuer = await localIssuer(t)
  const { bear } = await guardedServer(t, { issuer: issuer.url, audience: issuer.audience })
  const known = await issuer.issue()
  assert.equal((await bear(known)).status, 200)
  await issuer.rotate()
  for (const fault of ['down', 'error', 'html', 'redirect', 'empty', 'huge'] as const) {
    issuer.fault = fault
    const answer = await bear(await issuer.issue())
    assert.deepEqual([fault, answer.status, answer.reason], [fault, 503, 'keys_unavailable'])
    assert.equal(answer.headers['www-authenticate'], undefined)
    assert.match(answer.headers['retry-after'] ?? '', /^[1-9]\d*$/)
    assert.equal((await bear(known)).status, 200)
    assert.equal((await bear(await issuer.issue({}, { retired: true }))).status, 200)
  }
})

test('a realm is in the challenge', async t => {
  const issuer = await sharedIssuer()
  const { ask } = await guardedServer(t, {
    issuer: issuer.url,
    audience: issuer.audience,
    realm: 'orders "x"'
  })
  assert.equal((await ask()).headers['www-authenticate'], 'Bearer realm="orders \\"x\\""')
})

test('keys published in odd company are found, and the rest is ignored', async t => {
  const issuer = await sharedIssuer()
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const odd = [
    null,
    'x',
    {},
    { kty: 'oct', k: 'c2VjcmV0', kid: 'oct' },
    { kty: 'RSA', kid: 'broken', n: 1, e: null },
    { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA', kid: 'off the curve' },
    { ...(await exportJWK(weak.publicKey)), kid: 'weak' },
    { ...issuer.jwks.keys[0], kid: 'enc', use: 'enc' },
    { ...issuer.jwks.keys[0], kid: 'sign', key_ops: ['sign'] },
    { ...issuer.jwks.keys[0], kid: 'private', d: 'AA' },
    { ...issuer.jwks.keys[0], kid: 'alg', alg: 'ES256' }
  ]
  const jwks = { keys: [...odd, ...issuer.jwks.keys] } as never
  const { bear } = await guardedServer(t, { issuer: issuer.url, audience: issuer.audience, jwks })
  assert.equal((await bear(await issuer.issue())).status, 200)
  for (const kid of ['oct', 'broken', 'off the curve', 'weak', 'enc', 'sign', 'private', 'alg']) {
    assert.equal((await bear(await issuer.issue({}, { header: { kid } }))).reason, 'unknown_key', kid)
  }
})

test('43 scopes are compared as whole words, wherever they stand', async t => {
  const issuer = await sharedIssuer()
  const { bear } = await guardedServer(t, trusting(issuer), requireScopes('orders:read'))
  const held = [
    { scope: 'orders:read' },
    { scope: 'a orders:read b' },
    { scope: ['a', 'orders:read'] },
    { scp: 'orders:read' },
    { scp: ['orders:read'] }
  ]
  for (const claims of held) assert.equal((await bear(await issuer.issue(claims))).status, 200)
  const missing = [
    {},
    { scope: '' },
    { scope: 'orders:readonly' },
    { scope: 'orders:write' },
    { scope: 'ORDERS:READ' },
    { scope: 'orders:read,b' },
    { scope: { 'orders:read': true } },
    { scp: ['orders:read b'] }
  ]
  for (const claims of missing) {
    const answer = await bear(await issuer.issue(claims as never))
    assert.deepEqual([answer.status, answer.reason], [403, 'insufficient_scope'], JSON.stringify(claims))
    const challenge = answer.headers['www-authenticate'] ?? ''
    assert.match(
      challenge,
      /^Bearer error="insufficient_scope", error_description="[^"]+", scope="orders:read", /
    )
    assert.ok(challenge.includes(`resource_metadata="${metadata}"`))
    assert.equal(answer.headers['cache-control'], 'no-store')
  }
})

test('46 revoked by jti, by subject and by client, and in another spelling', async t => {
  const issuer = await sharedIssuer()
  const revocations = new MemoryRevocationList()
  const { bear, verifier } = await guardedServer(t, { ...trusting(issuer), revocations })
  const revoked = invalid('revoked', 'The access token was revoked')

  const byId = forge(issuer, headerOf(issuer, 'ES256'), goodClaims(issuer, { jti: 'j1' }), 'ES256')
  assert.equal((await bear(byId)).status, 200)
  revocations.revoke({ issuer: issuer.url, tokenId: 'j1' })
  matches(await bear(byId), revoked, 'by jti, from the cache')
  matches(await bear(malleated(byId)), revoked, 'by jti, malleated')
  matches(await bear(spellings(byId)[0] ?? ''), malformed('non_canonical_token'), 'in another spelling')
  verifier.cache.clear()
  matches(await bear(byId), revoked, 'by jti, verified anew')

  const nameless = forge(issuer, headerOf(issuer, 'ES256'), goodClaims(issuer, { jti: undefined }), 'ES256')
  const { digest } = await verifier.verify(nameless)
  revocations.revoke({ issuer: issuer.url, digest: digest as string })
  matches(await bear(nameless), revoked, 'by its signing input')
  matches(await bear(malleated(nameless)), revoked, 'by its signing input, malleated')

  const now = Math.floor(Date.now() / 1000)
  const ofSubject = await issuer.issue({ sub: 'ada', iat: now - 60 })
  const ofClient = await issuer.issue({ sub: 'job', client_id: 'job', iat: now - 60 })
  for (const token of [ofSubject, ofClient]) assert.equal((await bear(token)).status, 200)
  const notBefore = new Date((now - 30) * 1000)
  revocations.revoke({ issuer: issuer.url, subject: 'ada', notBefore })
  matches(await bear(ofSubject), revoked, 'by subject')
  assert.equal((await bear(ofClient)).status, 200)
  revocations.revoke({ issuer: issuer.url, clientId: 'job', notBefore })
  matches(await bear(ofClient), revoked, 'by client')
  assert.equal((await bear(await issuer.issue({ sub: 'ada', iat: now }))).status, 200)
  assert.equal(verifier.stats.cache.revoked, 7)
})

test('47 a revocation list that cannot tell: 503', async t => {
  const issuer = await sharedIssuer()
  let state: RevocationState = 'unavailable'
  const { bear } = await guardedServer(t, { ...trusting(issuer), revocations: { check: () => state } })
  const token = await issuer.issue()
  for (let i = 0; i < 2; i++) {
    const answer = await bear(token)
    assert.deepEqual([answer.status, answer.reason], [503, 'revocations_unavailable'])
    assert.equal(answer.headers['retry-after'], '1')
    assert.equal(answer.headers['www-authenticate'], undefined)
  }
  state = 'good'
  assert.equal((await bear(token)).status, 200)
})

test('47 a revocation list that throws, or does not answer at once: 503, and told', async t => {
  const issuer = await sharedIssuer()
  const lists: Record<string, () => unknown> = {
    throws() {
      throw new Error('list down')
    },
    'rejects later': async () => {
      throw new Error('list down')
    },
    'answers later': async () => 'good',
    'answers nothing': () => undefined
  }
  for (const [what, check] of Object.entries(lists)) {
    const reporter = new Reporter({ onReport() {} })
    const options = { ...trusting(issuer), reporter, revocations: { check } as RevocationList }
    const { bear } = await guardedServer(t, options)
    const token = await issuer.issue()
    for (let i = 1; i <= 2; i++) {
      const { status, reason } = await bear(token)
      assert.deepEqual([status, reason], [503, 'revocations_unavailable'], what)
      assert.equal(reporter.counts.get('revocation_list'), i, what)
    }
  }
})

test('48 machines on a route for people, people on a route for machines, and those of whom nobody can tell', async t => {
  const issuer = await sharedIssuer()
  const tokens = {
    machine: await issuer.issue({ sub: 'job', client_id: 'job' }),
    human: await issuer.issue({ sub: 'ada', client_id: 'web', sid: 's1', email: 'ada@example.com' }),
    unknown: await issuer.issue({ sub: 'x' })
  }
  const guards = { human: requireHuman(), machine: requireM2M() }
  for (const [wanted, guard] of Object.entries(guards)) {
    const { bear, ask } = await guardedServer(t, trusting(issuer), guard)
    for (const [kind, token] of Object.entries(tokens)) {
      const answer = await bear(token)
      if (kind === wanted) {
        assert.deepEqual([answer.status, answer.body['kind']], [200, kind])
        continue
      }
      assert.equal(answer.status, 403, `${kind} for ${wanted}`)
      assert.equal(answer.reason, kind === 'unknown' ? 'unknown_caller' : `not_${wanted}`)
      assert.equal(answer.body['code'], `${wanted}_required`)
      assert.equal(answer.headers['www-authenticate'], `Bearer resource_metadata="${metadata}"`)
    }
    matches(await ask(), anonymous, 'anonymous')
  }
})
