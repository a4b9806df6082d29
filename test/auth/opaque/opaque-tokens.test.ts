import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import test, { type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { LocalIssuer } from '../../../examples/local-issuer.ts'
import { type AuthenticateOptions, authenticate } from '../../../lib/auth/authenticate.ts'
import type { Fetch } from '../../../lib/auth/keys/endpoint.ts'
import { type ApiKeyRecord, apiKeyHash } from '../../../lib/auth/opaque/api-keys.ts'
import { looksLikeJwt } from '../../../lib/auth/opaque/opaque-tokens.ts'
import { MemoryRevocationList } from '../../../lib/auth/revocation/memory-revocation-list.ts'
import { signingInputDigest } from '../../../lib/auth/revocation/revocation-list.ts'
import { type Exchange, exchangeOf } from '../../../lib/http/exchange.ts'
import { pipeline } from '../../../lib/http/pipeline.ts'
import { Reporter } from '../../../lib/http/reporter.ts'
import { listen } from '../../support/server.ts'
import { patient } from '../guarded-server.ts'
import { ageless } from '../simulation.ts'

interface Guarded {
  ask(
    token: string
  ): Promise<{ status: number; challenge: string | null; retryAfter: string | null; user: unknown }>
  last(): Exchange
  auth: ReturnType<typeof authenticate>
  reporter: Reporter
}

async function guarded(t: TestContext, options: object): Promise<Guarded> {
  const reporter = new Reporter({ onReport: () => {} })
  const auth = authenticate({ reporter, ...options } as AuthenticateOptions)
  t.after(() => auth.verifier.close())
  await auth.verifier.ready()
  let last: Exchange | undefined
  const handle = pipeline(auth).wrap((req, res) => {
    const { user, authMethod, tokenId } = exchangeOf(req)
    res.end(
      JSON.stringify({
        id: user?.id,
        key: user?.key,
        kind: user?.kind,
        scopes: user?.scopes,
        authMethod,
        tokenId
      })
    )
  })
  const server = createServer((req, res) => {
    handle(req, res)
    last = exchangeOf(req)
  })
  const port = await listen(t, server)
  return {
    auth,
    reporter,
    last: () => last as Exchange,
    async ask(token) {
      const response = await fetch(`http://127.0.0.1:${port}/`, {
        headers: { authorization: `Bearer ${token}` }
      })
      return {
        status: response.status,
        challenge: response.headers.get('www-authenticate'),
        retryAfter: response.headers.get('retry-after'),
        user: await response.json()
      }
    }
  }
}

function keyring(...records: Partial<ApiKeyRecord>[]) {
  const kept = new Map<string, ApiKeyRecord>()
  const keys = records.map((record, i) => {
    const key = `orders_${randomBytes(24).toString('base64url')}`
    const tokenHash = apiKeyHash(key)
    kept.set(tokenHash, { id: `k${i}`, tokenHash, subject: `s${i}`, ...record })
    return key
  })
  const asked: string[] = []
  const lookup = async (tokenHash: string) => {
    asked.push(tokenHash)
    return kept.get(tokenHash)
  }
  return { keys, kept, asked, lookup }
}

test('an API key is its record, looked up once and then remembered', async t => {
  const { keys, asked, lookup } = keyring({
    subject: 'jane@corp.example',
    email: 'jane@corp.example',
    scopes: ['orders:read'],
    clientId: 'nightly'
  })
  const { ask, auth } = await guarded(t, { apiKeys: { lookup, prefix: 'orders_' } })
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(await ask(keys[0]), {
      status: 200,
      challenge: null,
      retryAfter: null,
      user: {
        id: 'jane@corp.example',
        key: 'client:api-keys|nightly',
        kind: 'machine',
        scopes: ['orders:read'],
        authMethod: 'api_token',
        tokenId: 'k0'
      }
    })
  }
  assert.deepEqual(asked, [apiKeyHash(keys[0])])
  assert.equal(auth.verifier.stats.cache.hits, 2)
})

test('what is no key of ours is refused, and asked about once in a while only', async t => {
  const { keys, asked, lookup } = keyring({})
  const { ask, last } = await guarded(t, {
    apiKeys: { lookup, prefix: ['orders_', 'old_'] },
    clock: ageless
  })
  for (const key of [`${keys[0]}x`, 'orders_', 'old_1']) {
    for (let i = 0; i < 2; i++) {
      const answer = await ask(key)
      assert.equal(answer.status, 401)
      assert.match(answer.challenge ?? '', /^Bearer error="invalid_token"/)
      assert.equal(last().denial?.reason, 'unknown_api_key')
    }
  }
  assert.equal(asked.length, 3)
  assert.equal((await ask('other_1')).status, 401)
  assert.equal(asked.length, 3, 'another prefix is no key')
})

test('a database that takes other hashes for equal lets nobody in', async t => {
  const { kept, keys } = keyring({})
  const [record] = [...kept.values()]
  const { ask } = await guarded(t, { apiKeys: { lookup: () => record } })
  assert.equal((await ask(keys[0])).status, 200)
  assert.equal((await ask('orders_guess')).status, 401)
})

test('a look-up may answer at once, or with a query that is awaited', async t => {
  const { kept, keys } = keyring({})
  // What query builders give can be awaited, and is no Promise.
  const query = (hash: string) =>
    Object.fromEntries([['then', (give: (record?: ApiKeyRecord) => void) => give(kept.get(hash))]])
  for (const lookup of [(hash: string) => kept.get(hash), query]) {
    const { ask } = await guarded(t, { apiKeys: { lookup } })
    assert.equal((await ask(keys[0])).status, 200)
    assert.equal((await ask('orders_guess')).status, 401)
  }
})

test('keys expire, and can be a person’s', async t => {
  const clock = { now: Date.now() }
  const verifierClock = {
    now: () => clock.now,
    monotonic: () => performance.now(),
    setTimeout: (run: () => void, ms: number) => setTimeout(run, ms).unref(),
    clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout)
  }
  const { keys, lookup } = keyring(
    { kind: 'human', expiresAt: new Date(clock.now + 10_000), claims: { roles: ['admin'] } },
    { expiresAt: new Date(clock.now - 1) },
    { expiresAt: null }
  )
  const { ask, last } = await guarded(t, { clock: verifierClock, apiKeys: { lookup } })
  const first = await ask(keys[0])
  assert.deepEqual([first.status, (first.user as { kind: string }).kind], [200, 'human'])
  assert.deepEqual([(await ask(keys[1])).status, last().denial?.reason], [401, 'expired'])
  clock.now += 10_000
  assert.deepEqual([(await ask(keys[0])).status, last().denial?.reason], [401, 'expired'])
  assert.equal((await ask(keys[2])).status, 200)
})

test('a key that was revoked is refused from memory too', async t => {
  const { keys, lookup } = keyring({})
  const revocations = new MemoryRevocationList()
  const { ask, last } = await guarded(t, { apiKeys: { lookup }, revocations })
  assert.equal((await ask(keys[0])).status, 200)
  revocations.revoke({ issuer: 'api-keys', tokenId: 'k0' })
  assert.deepEqual([(await ask(keys[0])).status, last().denial?.reason], [401, 'revoked'])
})

const broken: [string, (hash: string) => unknown][] = [
  [
    'throws',
    () => {
      throw new Error('db secret')
    }
  ],
  [
    'rejects',
    async () => {
      throw new Error('db secret')
    }
  ],
  ['hangs', () => new Promise(() => {})],
  ['gives no hash', () => ({ id: 'k', subject: 's' })],
  ['gives no subject', hash => ({ id: 'k', tokenHash: hash })],
  ['gives no id', hash => ({ tokenHash: hash, subject: 's' })],
  [
    'gives a date that is none',
    hash => ({ id: 'k', tokenHash: hash, subject: 's', expiresAt: new Date('x') })
  ],
  ['gives a date of 0', hash => ({ id: 'k', tokenHash: hash, subject: 's', expiresAt: 0 })],
  ['gives an empty date', hash => ({ id: 'k', tokenHash: hash, subject: 's', expiresAt: '' })],
  ['gives scopes as text', hash => ({ id: 'k', tokenHash: hash, subject: 's', scopes: 'orders:read' })],
  ['gives a kind that is none', hash => ({ id: 'k', tokenHash: hash, subject: 's', kind: 'robot' })]
]
for (const [what, lookup] of broken) {
  test(`a look-up that ${what} is a 503, and is not remembered`, async t => {
    const { ask, reporter, last } = await guarded(t, { apiKeys: { lookup, timeoutMs: 30 } })
    for (let i = 1; i <= 2; i++) {
      const answer = await ask('orders_1')
      assert.deepEqual([answer.status, answer.retryAfter, answer.challenge], [503, '1', null])
      assert.doesNotMatch(JSON.stringify(answer.user), /secret/)
      assert.equal(reporter.counts.get('api_key_lookup'), i)
    }
    assert.equal(last().denial?.reason, 'api_keys_unavailable')
  })
}

interface AuthorizationServer {
  url: string
  answers: Map<string, unknown>
  asked: { token: string | null; hint: string | null; authorization: string | undefined }[]
  respond: (() => { status: number; body: string } | Promise<{ status: number; body: string }>) | undefined
}

async function authorizationServer(t: TestContext): Promise<AuthorizationServer> {
  const server: AuthorizationServer = { url: '', answers: new Map(), asked: [], respond: undefined }
  const read = async (req: IncomingMessage) => {
    let body = ''
    for await (const chunk of req) body += chunk
    return new URLSearchParams(body)
  }
  const port = await listen(
    t,
    createServer(async (req, res) => {
      // Who gave up waits for no answer.
      const form = await read(req).catch(() => undefined)
      if (form === undefined) return
      const token = form.get('token')
      server.asked.push({
        token,
        hint: form.get('token_type_hint'),
        authorization: req.headers.authorization
      })
      const known = server.answers.get(token ?? '')
      const answer = (await server.respond?.()) ?? {
        status: 200,
        body: JSON.stringify(known ?? { active: false })
      }
      res
        .writeHead(answer.status, { 'content-type': 'application/json', location: '/elsewhere' })
        .end(answer.body)
    })
  )
  server.url = `http://127.0.0.1:${port}/introspect`
  return server
}

const issuer = 'https://as.corp.example'
const introspection = (server: AuthorizationServer, options: object = {}) => ({
  introspection: {
    endpoint: server.url,
    issuer,
    audience: 'orders',
    clientId: 'a:b',
    clientSecret: 'c d',
    ...patient,
    ...options
  }
})
const soon = () => Math.floor(Date.now() / 1000) + 600

test('an opaque token is what the authorization server says, asked once and then remembered', async t => {
  const server = await authorizationServer(t)
  const { ask } = await guarded(t, introspection(server))
  const claims = {
    active: true,
    client_id: 'web',
    username: 'jane',
    sub: 'u1',
    scope: 'a b',
    aud: ['orders'],
    exp: soon()
  }
  server.answers.set('opaque-1', claims)
  const answers = await Promise.all([1, 2, 3, 4].map(() => ask('opaque-1')))
  for (const answer of [...answers, await ask('opaque-1')]) {
    assert.equal(answer.status, 200)
    assert.deepEqual(answer.user, {
      id: 'u1',
      key: 'user:u1',
      kind: 'human',
      scopes: ['a', 'b'],
      authMethod: 'jwt'
    })
  }
  assert.deepEqual(server.asked, [
    {
      token: 'opaque-1',
      hint: 'access_token',
      authorization: `Basic ${Buffer.from('a%3Ab:c+d').toString('base64')}`
    }
  ])
})

const inactive: [string, Record<string, unknown>, string][] = [
  ['not active', { active: false, sub: 'u1' }, 'inactive_token'],
  ['expired', { active: true, aud: 'orders', exp: 1 }, 'expired'],
  ['with an exp that is no number', { active: true, aud: 'orders', exp: 'soon' }, 'invalid_expiry'],
  ['not yet valid', { active: true, aud: 'orders', nbf: soon() }, 'not_yet_valid'],
  ['with an nbf that is no number', { active: true, aud: 'orders', nbf: '1' }, 'invalid_not_before'],
  ['of another issuer', { active: true, aud: 'orders', iss: 'https://as.corp.example/' }, 'unknown_issuer'],
  ['for another audience', { active: true, aud: ['billing'] }, 'wrong_audience'],
  ['for no audience', { active: true }, 'wrong_audience'],
  ['a refresh token', { active: true, aud: 'orders', token_use: 'refresh_token' }, 'wrong_token_type'],
  ['bound to a key', { active: true, aud: 'orders', cnf: { jkt: 'x' } }, 'unchecked_confirmation'],
  ['bound to nothing', { active: true, aud: 'orders', cnf: {} }, 'unchecked_confirmation'],
  ['with a subject that is no text', { active: true, aud: 'orders', sub: 7 }, 'malformed_claims']
]
test('tokens that are no good', async t => {
  const server = await authorizationServer(t)
  const { ask, last } = await guarded(t, { ...introspection(server), clock: ageless })
  for (const [i, [what, claims, reason]] of inactive.entries()) {
    await t.test(what, async () => {
      server.answers.set(`opaque-${i}`, claims)
      assert.equal((await ask(`opaque-${i}`)).status, 401)
      assert.equal(last().denial?.reason, reason)
      const questions = server.asked.length
      assert.equal((await ask(`opaque-${i}`)).status, 401)
      assert.equal(server.asked.length, questions, 'asked again at once')
    })
  }
})

const outages: [
  string,
  () => { status: number; body: string } | Promise<{ status: number; body: string }>,
  timeoutMs?: number
][] = [
  ['an error', () => ({ status: 500, body: '{"active":true,"aud":"orders"}' })],
  ['our own credentials refused', () => ({ status: 401, body: '{"error":"invalid_client"}' })],
  ['a redirect', () => ({ status: 302, body: '' })],
  ['no JSON', () => ({ status: 200, body: '<html>' })],
  ['no object', () => ({ status: 200, body: '[]' })],
  ['active as text', () => ({ status: 200, body: '{"active":"true","aud":"orders"}' })],
  ['too much', () => ({ status: 200, body: `{"active":true,"x":"${'x'.repeat(1_100_000)}"}` })],
  ['nothing in time', () => new Promise(() => {}), 100]
]
for (const [what, respond, timeoutMs = patient.timeoutMs] of outages) {
  test(`an authorization server that answers with ${what} is a 503`, async t => {
    const server = await authorizationServer(t)
    server.respond = respond
    // The outage over, a question takes what time it takes.
    const inTime: Fetch = (url, init) =>
      fetch(url, server.respond === undefined ? { ...init, signal: null } : init)
    const { ask, reporter, last } = await guarded(t, introspection(server, { timeoutMs, fetch: inTime }))
    const answer = await ask('opaque-1')
    assert.deepEqual([answer.status, answer.retryAfter, answer.challenge], [503, '1', null])
    assert.equal(last().denial?.reason, 'introspection_unavailable')
    assert.equal(reporter.counts.get('introspection'), 1)
    server.respond = undefined
    server.answers.set('opaque-1', { active: true, aud: 'orders', sub: 'x' })
    assert.equal((await ask('opaque-1')).status, 200, 'not remembered')
  })
}

test('an authorization or a fetch of one’s own that answers nothing is a 503, and holds no place', async t => {
  const never = () => new Promise(() => {})
  for (const silent of [{ authorization: never }, { fetch: never }]) {
    const server = await authorizationServer(t)
    const options = { timeoutMs: 30, maxConcurrent: 1, ...silent }
    const { ask, last, reporter } = await guarded(t, introspection(server, options))
    for (let i = 1; i <= 2; i++) {
      assert.equal((await ask(`opaque-${i}`)).status, 503)
      assert.equal(last().denial?.reason, 'introspection_unavailable')
      assert.equal(reporter.counts.get('introspection'), i)
    }
  }
})

test('junk cannot drown the authorization server', async t => {
  const server = await authorizationServer(t)
  let release: (answer: { status: number; body: string }) => void = () => {}
  const held = new Promise<{ status: number; body: string }>(resolve => {
    release = resolve
  })
  server.respond = () => held
  const { ask, last } = await guarded(t, introspection(server, { maxConcurrent: 2 }))
  const waiting = [ask('junk-1'), ask('junk-2')]
  while (server.asked.length < 2) await delay(5)
  const refused = await ask('junk-3')
  assert.deepEqual([refused.status, last().denial?.reason], [503, 'introspection_overloaded'])
  release({ status: 200, body: '{"active":false}' })
  assert.deepEqual(
    (await Promise.all(waiting)).map(({ status }) => status),
    [401, 401]
  )
})

test('JWTs, API keys and opaque tokens side by side', async t => {
  const jwts = await LocalIssuer.start({ algorithms: ['ES256'] })
  t.after(() => jwts.close())
  const server = await authorizationServer(t)
  const { keys, lookup } = keyring({})
  const revocations = new MemoryRevocationList()
  const authorization = async () => 'Bearer resource-server'
  const { ask } = await guarded(t, {
    issuer: jwts.url,
    audience: jwts.audience,
    jwksCache: patient,
    apiKeys: { lookup, prefix: 'orders_' },
    revocations,
    introspection: {
      endpoint: server.url,
      issuer,
      audience: false,
      authorization,
      machineClients: ['web'],
      ...patient
    }
  })
  server.answers.set('opaque-1', { active: true, client_id: 'web', sub: 'x' })
  const keysOf = []
  for (const token of [await jwts.issue({ sub: 'x', sid: 's' }), keys[0], 'opaque-1']) {
    const answer = await ask(token)
    assert.equal(answer.status, 200)
    keysOf.push((answer.user as { key: string }).key)
  }
  assert.deepEqual(keysOf, ['user:x', 'client:api-keys|s0', `client:${issuer}|web`])
  assert.equal(server.asked[0].authorization, 'Bearer resource-server')
  assert.equal(server.asked.length, 1)
  revocations.revoke({ issuer, digest: signingInputDigest('opaque-1') })
  assert.equal((await ask('opaque-1')).status, 401)
  assert.equal((await ask('a.b.c')).status, 401)
  assert.equal(server.asked.length, 1, 'what looks like a JWT is not asked about')
})

test('what looks like a JWT', () => {
  for (const text of ['a.b.c', 'eyJ.eyJ.', 'a.b.c.d.e', 'a...e.x']) assert.ok(looksLikeJwt(text), text)
  for (const text of ['a', 'a.b', 'a.b.c.d', '.b.c', 'a.b+.c', '']) assert.ok(!looksLikeJwt(text), text)
})

test('wrong options are named', () => {
  const lookup = () => null
  const endpoint = 'https://as.example/introspect'
  const basic = { endpoint, issuer, audience: 'a', clientId: 'a', clientSecret: 'b' }
  const wrong: [object, RegExp][] = [
    [{ apiKeys: {} }, /^TypeError: apiKeys: lookup must be a function, got undefined$/],
    [
      { apiKeys: { lookup, prefix: '' } },
      /apiKeys: prefix must be a non-empty string or a list of them, got ""/
    ],
    [{ apiKeys: { lookup, issuer: '' } }, /apiKeys: issuer must be a non-empty string, got ""/],
    [{ apiKeys: { lookup, timeoutMs: 0 } }, /apiKeys: timeoutMs must be a positive number of ms, got 0/],
    [
      { apiKeys: { lookup }, introspection: basic },
      /apiKeys must have a prefix that tells them from tokens for introspection/
    ],
    [
      { introspection: { ...basic, endpoint: 'http://as.example' } },
      /introspection: endpoint must be an https URL/
    ],
    [{ introspection: { ...basic, issuer: '' } }, /introspection: issuer must be a non-empty string, got ""/],
    [
      { introspection: { ...basic, audience: undefined } },
      /introspection: audience must be a string, a list of strings, or false/
    ],
    [{ introspection: { ...basic, audience: [] } }, /introspection: audience must be/],
    [
      { introspection: { ...basic, clientSecret: undefined } },
      /needs clientId and clientSecret, or authorization/
    ],
    [
      { introspection: { ...basic, authorization: 'Basic x' } },
      /introspection: authorization must be a function, got "Basic x"/
    ],
    [
      { introspection: { ...basic, maxConcurrent: 0 } },
      /introspection: maxConcurrent must be a positive integer, got 0/
    ],
    [
      { introspection: { ...basic, clockToleranceSeconds: -1 } },
      /clockToleranceSeconds must be a number of seconds, got -1/
    ],
    [
      { introspection: { ...basic, timeoutMs: 2 ** 32 } },
      /introspection: timeoutMs must be a positive number of ms, got 4294967296/
    ],
    [{ introspection: { ...basic, fetch: 'x' } }, /introspection: fetch must be a function, got "x"/],
    [{ introspection: { ...basic, m2m: 'nobody' } }, /introspection: m2m must be a function or one of/]
  ]
  for (const [options, message] of wrong)
    assert.throws(() => authenticate(options as AuthenticateOptions), message)
})
