import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomUUID, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer, request } from 'node:https'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { LocalIssuer } from '../../../examples/local-issuer.ts'
import { type AuthenticateOptions, authenticate } from '../../../lib/auth/authenticate.ts'
import { requireScopes } from '../../../lib/auth/guards/scope-guards.ts'
import { TokenVerifier } from '../../../lib/auth/token/token-verifier.ts'
import { exchangeOf } from '../../../lib/http/exchange.ts'
import { pipeline } from '../../../lib/http/pipeline.ts'
import { missing } from '../../support/program.ts'
import { listen } from '../../support/server.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { patient } from '../guarded-server.ts'

interface Client {
  key: CryptoKey
  jwk: JWK
  thumbprint: string
}

async function makeClient(alg = 'ES256'): Promise<Client> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(publicKey)
  return { key: privateKey, jwk, thumbprint: await calculateJwkThumbprint(jwk) }
}

const hash = (text: string) => createHash('sha256').update(text).digest('base64url')

interface ProofOptions {
  claims?: Record<string, unknown>
  header?: Record<string, unknown>
  key?: CryptoKey
}

function makeProof(client: Client, token: string, url: string, options: ProofOptions = {}): Promise<string> {
  return new SignJWT({
    jti: randomUUID(),
    htm: 'GET',
    htu: url,
    iat: Math.floor(Date.now() / 1000),
    ath: hash(token),
    ...options.claims
  })
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: client.jwk, ...options.header })
    .sign(options.key ?? client.key)
}

interface Bench {
  issuer: LocalIssuer
  origin: string
  client: Client
  token: string
  reasons: (string | undefined)[]
  /** Resolves when the answer is here and `reasons` tells of it. */
  send(headers: [string, string][] | Record<string, string>, path?: string): Promise<Response>
}

async function guarded(t: TestContext, options: Partial<AuthenticateOptions> = {}): Promise<Bench> {
  const issuer = await LocalIssuer.start({ algorithms: ['ES256'] })
  t.after(() => issuer.close())
  const server = createServer()
  const origin = `http://127.0.0.1:${await listen(t, server)}`
  const auth = authenticate({
    issuer: issuer.url,
    audience: issuer.audience,
    dpop: { origin },
    jwksCache: patient,
    ...options
  } as AuthenticateOptions)
  t.after(() => auth.verifier.close())
  await auth.verifier.ready()
  const reasons: (string | undefined)[] = []
  const handle = pipeline(auth).wrap((_, res) => res.end('in'))
  server.on('request', (req, res) => {
    handle(req, res)
    exchangeOf(req).onEnd(({ denial }) => reasons.push(denial?.reason))
  })
  const client = await makeClient()
  const token = await issuer.issue({ cnf: { jkt: client.thumbprint } })
  const send = async (headers: [string, string][] | Record<string, string>, path = '/orders') => {
    const { length } = reasons
    const answer = await fetch(origin + path, { headers: headers as Record<string, string> })
    await toldOf(reasons, length + 1)
    return answer
  }
  return { issuer, origin, client, token, reasons, send }
}

/** The end of an exchange may come a moment after the client has the answer. */
async function toldOf(reasons: readonly unknown[], count: number): Promise<void> {
  while (reasons.length < count) await turn()
}

test('a bound token passes with its proof, from memory too, and each proof once', async t => {
  const { client, token, origin, send } = await guarded(t)
  for (let i = 0; i < 3; i++) {
    const proof = await makeProof(client, token, `${origin}/orders`)
    const headers = { authorization: `DPoP ${token}`, dpop: proof }
    assert.equal((await send(headers, '/orders?page=2')).status, 200)
    const replayed = await send(headers)
    assert.equal(replayed.status, 401)
    assert.match(
      replayed.headers.get('www-authenticate') ?? '',
      /^DPoP error="invalid_dpop_proof", error_description="The DPoP proof is invalid", algs="ES256 ES384 [^"]+"$/
    )
  }
})

test('two copies of one proof at the same time: one passes', async t => {
  const { client, token, origin, send } = await guarded(t)
  const proof = await makeProof(client, token, `${origin}/orders`)
  const answers = await Promise.all(
    [1, 2, 3, 4].map(() => send({ authorization: `dpop ${token}`, dpop: proof }))
  )
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 401, 401, 401])
})

test('a token goes with its own kind of credential only', async t => {
  const { issuer, client, token, origin, reasons, send } = await guarded(t)
  const asBearer = await send({ authorization: `Bearer ${token}` })
  assert.equal(asBearer.status, 401)
  assert.match(
    asBearer.headers.get('www-authenticate') ?? '',
    /^Bearer error="invalid_token", error_description="[^"]+", DPoP algs="[^"]+"$/
  )
  const free = await issuer.issue({})
  assert.equal((await send({ authorization: `Bearer ${free}` })).status, 200)
  const proof = await makeProof(client, free, `${origin}/orders`)
  const unbound = await send({ authorization: `DPoP ${free}`, dpop: proof })
  assert.equal(unbound.status, 401)
  assert.match(unbound.headers.get('www-authenticate') ?? '', /^DPoP error="invalid_token"/)
  const other = await issuer.issue({ cnf: { 'x5t#S256': 'abc' } })
  assert.equal((await send({ authorization: `Bearer ${other}` })).status, 401)
  assert.equal((await send({ authorization: 'DPoP' })).status, 400)
  const none = await send({})
  assert.match(none.headers.get('www-authenticate') ?? '', /^Bearer, DPoP algs="[^"]+"$/)
  assert.deepEqual(reasons, [
    'bound_token_as_bearer',
    undefined,
    'token_without_key',
    'unchecked_confirmation',
    'empty_token',
    'missing_credentials'
  ])
})

const seconds = () => Math.floor(Date.now() / 1000)
type Make = (bench: Bench) => Promise<string> | string
const badProofs: [string, Make, string][] = [
  [
    'another method',
    b => makeProof(b.client, b.token, `${b.origin}/orders`, { claims: { htm: 'POST' } }),
    'wrong_dpop_method'
  ],
  [
    'the method in lower case',
    b => makeProof(b.client, b.token, `${b.origin}/orders`, { claims: { htm: 'get' } }),
    'wrong_dpop_method'
  ],
  ['another path', b => makeProof(b.client, b.token, `${b.origin}/order`), 'wrong_dpop_target'],
  ['another host', b => makeProof(b.client, b.token, 'https://evil.example/orders'), 'wrong_dpop_target'],
  ['no URL', b => makeProof(b.client, b.token, '/orders'), 'wrong_dpop_target'],
  [
    'a URL with a user',
    b => makeProof(b.client, b.token, `${b.origin.replace('//', '//u@')}/orders`),
    'wrong_dpop_target'
  ],
  ['another token', b => makeProof(b.client, `${b.token}x`, `${b.origin}/orders`), 'wrong_dpop_token_hash'],
  [
    'no token',
    b => makeProof(b.client, b.token, `${b.origin}/orders`, { claims: { ath: undefined } }),
    'wrong_dpop_token_hash'
  ],
  [
    'a time too long ago',
    b => makeProof(b.client, b.token, `${b.origin}/orders`, { claims: { iat: seconds() - 62 } }),
    'dpop_proof_out_of_time'
  ],
  [
    'a time ahead',
    b => makeProof(b.client, b.token, `${b.origin}/orders`, { claims: { iat: seconds() + 3_600 } }),
    'dpop_proof_out_of_time'
  ],
  [
    'no time',
    b => makeProof(b.client, b.token, `${b.origin}/orders`, { claims: { iat: undefined } }),
    'malformed_dpop_proof'
  ],
  [
    'no jti',
    b => makeProof(b.client, b.token, `${b.origin}/orders`, { claims: { jti: undefined } }),
    'malformed_dpop_proof'
  ],
  [
    'a blank jti',
    b => makeProof(b.client, b.token, `${b.origin}/orders`, { claims: { jti: ' ' } }),
    'malformed_dpop_proof'
  ],
  [
    'another type',
    b => makeProof(b.client, b.token, `${b.origin}/orders`, { header: { typ: 'JWT' } }),
    'wrong_dpop_type'
  ],
  [
    'no type',
    b => makeProof(b.client, b.token, `${b.origin}/orders`, { header: { typ: undefined } }),
    'wrong_dpop_type'
  ],
  [
    'no key',
    b => makeProof(b.client, b.token, `${b.origin}/orders`, { header: { jwk: undefined } }),
    'bad_dpop_signature'
  ],
  [
    'a key that did not sign',
    async b => makeProof(b.client, b.token, `${b.origin}/orders`, { key: (await makeClient()).key }),
    'bad_dpop_signature'
  ],
  [
    'a key that the token is not bound to',
    async b => makeProof(await makeClient(), b.token, `${b.origin}/orders`),
    'wrong_dpop_key'
  ],
  [
    'its private key',
    async b => makeProof({ ...b.client, jwk: await exportJWK(b.client.key) }, b.token, `${b.origin}/orders`),
    'bad_dpop_signature'
  ],
  [
    'alg none',
    b =>
      `${Buffer.from(JSON.stringify({ typ: 'dpop+jwt', alg: 'none', jwk: b.client.jwk })).toString('base64url')}.e30.`,
    'bad_dpop_signature'
  ],
  [
    'an embedded secret',
    b =>
      `${Buffer.from(JSON.stringify({ typ: 'dpop+jwt', alg: 'HS256', jwk: { kty: 'oct', k: 'AAAA' } })).toString('base64url')}.e30.${b.token.split('.')[2]}`,
    'bad_dpop_signature'
  ],
  ['text', () => 'x', 'bad_dpop_signature'],
  ['nothing', () => '', 'missing_dpop_proof'],
  ['too much', () => 'x'.repeat(4_097), 'malformed_dpop_proof']
]
test('a proof of something else is no proof', async t => {
  const bench = await guarded(t)
  for (const [what, make, reason] of badProofs) {
    await t.test(what, async () => {
      const answer = await bench.send({ authorization: `DPoP ${bench.token}`, dpop: await make(bench) })
      assert.equal(answer.status, 401)
      assert.match(answer.headers.get('www-authenticate') ?? '', /^DPoP error="invalid_dpop_proof"/)
      assert.equal(bench.reasons.at(-1), reason)
      const { code } = (await answer.json()) as { code: string }
      assert.equal(code, 'invalid_dpop_proof')
    })
  }
})

test('no proof, and two', async t => {
  const bench = await guarded(t)
  assert.equal((await bench.send({ authorization: `DPoP ${bench.token}` })).status, 401)
  const raw = [await makeProof(bench.client, bench.token, `${bench.origin}/orders`), 'x']
  const { request: plainRequest } = await import('node:http')
  const status = await new Promise<number>((resolve, reject) => {
    const asking = plainRequest(`${bench.origin}/orders`, res => {
      res.resume()
      resolve(res.statusCode as number)
    })
    asking.on('error', reject)
    asking.setHeader('authorization', `DPoP ${bench.token}`)
    asking.setHeader('dpop', raw)
    asking.end()
  })
  assert.equal(status, 401)
  await toldOf(bench.reasons, 2)
  assert.deepEqual(bench.reasons, ['missing_dpop_proof', 'duplicate_dpop_proof'])
})

test('algorithms are an allow-list, and RSA and EdDSA keys work', async t => {
  const bench = await guarded(t)
  for (const alg of ['RS256', 'EdDSA', 'ES384']) {
    const client = await makeClient(alg)
    const token = await bench.issuer.issue({ cnf: { jkt: client.thumbprint } })
    const dpop = await makeProof(client, token, `${bench.origin}/orders`, { header: { alg } })
    assert.equal((await bench.send({ authorization: `DPoP ${token}`, dpop })).status, 200, alg)
  }
  const strict = await guarded(t, { dpop: { origin: bench.origin, algorithms: ['EdDSA'] } })
  const dpop = await makeProof(strict.client, strict.token, `${bench.origin}/orders`)
  const refused = await strict.send({ authorization: `DPoP ${strict.token}`, dpop })
  assert.match(refused.headers.get('www-authenticate') ?? '', /algs="EdDSA"$/)
})

test('a nonce is demanded, given, renewed', async t => {
  const clock = { now: Date.now() }
  const bench = await guarded(t)
  const server = createServer()
  const origin = `http://127.0.0.1:${await listen(t, server)}`
  const auth = authenticate({
    issuer: bench.issuer.url,
    audience: bench.issuer.audience,
    dpop: { origin, nonce: true, clock: () => clock.now },
    jwksCache: patient
  })
  t.after(() => auth.verifier.close())
  await auth.verifier.ready()
  server.on(
    'request',
    pipeline(auth, requireScopes('a')).wrap((_, res) => res.end())
  )
  const scoped = await bench.issuer.issue({ scope: 'a', cnf: { jkt: bench.client.thumbprint } })
  const ask = async (nonce: string | undefined, token = scoped) => {
    const iat = Math.floor(clock.now / 1000)
    const dpop = await makeProof(bench.client, token, `${origin}/`, { claims: { nonce, iat } })
    return fetch(`${origin}/`, { headers: { authorization: `DPoP ${token}`, dpop } })
  }
  const first = await ask(undefined)
  assert.equal(first.status, 401)
  assert.match(first.headers.get('www-authenticate') ?? '', /^DPoP error="use_dpop_nonce"/)
  const nonce = first.headers.get('dpop-nonce') as string
  const second = await ask(nonce)
  assert.deepEqual([second.status, second.headers.get('dpop-nonce')], [200, null])
  clock.now += 120_000
  const third = await ask(nonce)
  assert.equal(third.status, 200, 'the one before still counts')
  const renewed = third.headers.get('dpop-nonce') as string
  assert.notEqual(renewed, nonce)
  clock.now += 120_000
  assert.equal((await ask(nonce)).status, 401)
  assert.equal((await ask(renewed)).status, 200)
  assert.equal((await ask('made-up')).status, 401)
  const other = await bench.issuer.issue({ scope: 'b', cnf: { jkt: bench.client.thumbprint } })
  const refused = await ask(renewed, other)
  assert.equal(refused.status, 403)
  assert.match(
    refused.headers.get('www-authenticate') ?? '',
    /^DPoP error="insufficient_scope",.* scope="a", algs="[^"]+"$/
  )
})

test('a memory of proofs that is full or down is a 503', async t => {
  const { client, token, origin, send, reasons } = await guarded(t, {
    dpop: { origin: 'http://127.0.0.1:1', replays: { add: () => Promise.reject(new Error('down')) } }
  })
  const dpop = await makeProof(client, token, 'http://127.0.0.1:1/orders')
  const answer = await send({ authorization: `DPoP ${token}`, dpop })
  assert.deepEqual([answer.status, answer.headers.get('retry-after')], [503, '1'])
  assert.equal(answer.headers.get('www-authenticate'), null)
  assert.deepEqual(reasons, ['dpop_replays_unavailable'])
  assert.ok(origin)
})

test('a token bound to a certificate passes over its connection only', {
  skip: missing('openssl')
}, async t => {
  const folder = temporaryFolder()
  const certificate = (name: string) => {
    const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)]
    const subject = ['-subj', `/CN=${name}`, '-days', '2', '-keyout', key, '-out', cert]
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', ...subject],
      {
        stdio: 'ignore'
      }
    )
    return { key: readFileSync(key), cert: readFileSync(cert) }
  }
  const [own, hers, his] = [certificate('server'), certificate('hers'), certificate('his')]
  const issuer = await LocalIssuer.start({ algorithms: ['ES256'] })
  t.after(() => issuer.close())
  const trust = { issuer: issuer.url, audience: issuer.audience, jwksCache: patient }
  const auth = authenticate({ ...trust, certificateBound: true })
  t.after(() => auth.verifier.close())
  await auth.verifier.ready()
  const reasons: (string | undefined)[] = []
  const handle = pipeline(auth).wrap((_, res) => res.end('in'))
  const server = createTlsServer({ ...own, requestCert: true, rejectUnauthorized: false }, (req, res) => {
    handle(req, res)
    exchangeOf(req).onEnd(({ denial }) => reasons.push(denial?.reason))
  })
  const port = await listen(t, server)
  const thumbprint = createHash('sha256').update(new X509Certificate(hers.cert).raw).digest('base64url')
  const token = await issuer.issue({ cnf: { 'x5t#S256': thumbprint } })
  const ask = (identity: object) =>
    new Promise<number>((resolve, reject) => {
      const options = { port, host: '127.0.0.1', rejectUnauthorized: false, agent: false, ...identity }
      const asking = request({ ...options, headers: { authorization: `Bearer ${token}` } }, res => {
        res.resume().on('end', () => resolve(res.statusCode as number))
      })
      asking.on('error', reject).end()
    })
  assert.deepEqual([await ask(hers), await ask(his), await ask({}), await ask(hers)], [200, 401, 401, 200])
  await toldOf(reasons, 4)
  assert.deepEqual(reasons, [undefined, 'wrong_client_certificate', 'missing_client_certificate', undefined])
})

test('a certificate can come from a proxy’s header, and both bindings count together', async t => {
  const der = Buffer.from('a certificate in DER')
  const { issuer, client, origin, send, reasons } = await guarded(t, {
    certificateBound: {
      certificate: req => {
        const header = req.headers['client-cert']
        return typeof header === 'string' ? Buffer.from(header, 'base64') : undefined
      }
    }
  })
  const thumbprint = createHash('sha256').update(der).digest('base64url')
  const token = await issuer.issue({ cnf: { jkt: client.thumbprint, 'x5t#S256': thumbprint } })
  const ask = async (cert: Buffer) => {
    const dpop = await makeProof(client, token, `${origin}/orders`)
    return (await send({ authorization: `DPoP ${token}`, dpop, 'client-cert': cert.toString('base64') }))
      .status
  }
  assert.deepEqual([await ask(der), await ask(Buffer.from('another'))], [200, 401])
  assert.equal(
    (await send({ authorization: `Bearer ${token}`, 'client-cert': der.toString('base64') })).status,
    401
  )
  assert.deepEqual(reasons, [undefined, 'wrong_client_certificate', 'bound_token_as_bearer'])
})

test('wrong options are named', async t => {
  const issuer = await LocalIssuer.start({ algorithms: ['ES256'] })
  t.after(() => issuer.close())
  const basic = { issuer: issuer.url, audience: 'a', jwks: issuer.jwks }
  const wrong: [object, RegExp][] = [
    [
      { dpop: {} },
      /dpop: origin must be an origin such as https:\/\/api.example.com, or a list of them, got undefined/
    ],
    [{ dpop: { origin: 'https://api.example/' } }, /dpop: origin must be an origin/],
    [{ dpop: { origin: [] } }, /dpop: origin must be an origin/],
    [
      { dpop: { origin: 'https://a.example', algorithms: ['HS256'] } },
      /dpop: algorithms must be a list out of .*, got "HS256"/
    ],
    [{ dpop: { origin: 'https://a.example', algorithms: [] } }, /dpop: algorithms must be a list out of/],
    [
      { dpop: { origin: 'https://a.example', maxAgeSeconds: -1 } },
      /dpop: maxAgeSeconds must be a number of seconds, got -1/
    ],
    [
      { dpop: { origin: 'https://a.example', nonce: Buffer.alloc(8) } },
      /dpop: nonce must be true, false, or a secret/
    ],
    [{ dpop: { origin: 'https://a.example', replays: {} } }, /dpop: replays must have a method add/],
    [{ certificateBound: { certificate: 'x' } }, /certificateBound: certificate must be a function, got x/]
  ]
  for (const [options, message] of wrong) {
    assert.throws(() => authenticate({ ...basic, ...options } as AuthenticateOptions), message)
  }
  const verifier = new TokenVerifier(basic)
  assert.throws(
    () => authenticate({ verifier, certificateBound: true }),
    /verifier must be made with confirmations that hold x5t#S256/
  )
})
