import assert from 'node:assert/strict'
import { Agent, createServer, get } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { authenticate } from '../../lib/auth/authenticate.ts'
import type { Fetch } from '../../lib/auth/keys/endpoint.ts'
import { JwksCache } from '../../lib/auth/keys/jwks-cache.ts'
import { TokenVerifier } from '../../lib/auth/token/token-verifier.ts'
import { exchangeOf } from '../../lib/http/exchange.ts'
import { type GuardedRequest, pipeline } from '../../lib/http/pipeline.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { converse, listen } from '../support/server.ts'
import { guardedServer, localIssuer, patient, sharedIssuer } from './guarded-server.ts'
import { SimulatedTime } from './simulation.ts'

test('a good token lets in, and says who it is', async t => {
  const issuer = await sharedIssuer()
  const { bear, fetched, verifier } = await guardedServer(t, {
    issuer: issuer.url,
    audience: issuer.audience
  })
  for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA'] as const) {
    const token = await issuer.issue({ sub: 'ada', jti: `t-${alg}` }, { alg })
    const first = await bear(token)
    assert.deepEqual(
      [first.status, first.body['id'], first.body['same'], first.body['authMethod'], first.body['tokenId']],
      [200, 'ada', true, 'jwt', `t-${alg}`]
    )
    assert.equal((await bear(token)).status, 200)
  }
  assert.equal(verifier.stats.signatures, 4)
  assert.deepEqual([verifier.stats.cache.hits, verifier.stats.cache.misses], [4, 4])
  assert.equal(fetched.length, 2)
})

test('a token that expired while its request waited in front is refused, remembered or not', async t => {
  const issuer = await sharedIssuer()
  let aheadMs = 0
  const [monotonic, wall] = [performance.now.bind(performance), Date.now]
  t.mock.method(performance, 'now', () => monotonic() + aheadMs)
  t.mock.method(Date, 'now', () => wall() + aheadMs)
  const verifier = new TokenVerifier({ issuer: issuer.url, audience: issuer.audience })
  t.after(() => verifier.close())
  await verifier.ready()
  // Of ten minutes, while a token lives five: longer than any test stands still.
  const waiting = (req: { url?: string | undefined }, _res: unknown, next: () => void) => {
    exchangeOf(req as never)
    if (req.url === '/late') aheadMs += 600_000
    next()
  }
  const stack = pipeline(waiting, authenticate({ verifier }))
  const port = await listen(t, createServer(stack.wrap((_req, res) => res.end())))
  const token = await issuer.issue({ exp: Math.floor(wall() / 1_000) + 300 })
  const ask = async (path: string) => {
    const { status } = await fetch(`http://127.0.0.1:${port}${path}`, {
      headers: { authorization: `Bearer ${token}` }
    })
    return status
  }
  assert.deepEqual([await ask('/'), await ask('/'), await ask('/late')], [200, 200, 401])
  assert.equal(verifier.stats.cache.hits, 1)
})

test('API tokens are told from others by a claim, or by a rule', async t => {
  const issuer = await sharedIssuer()
  const token = await issuer.issue({ token_use: 'api' })
  const trust = { issuer: issuer.url, audience: issuer.audience }
  const byClaim = await guardedServer(t, trust)
  assert.equal((await byClaim.bear(token)).body['authMethod'], 'api_token')
  const byRule = await guardedServer(t, { ...trust, isApiToken: ({ claims }) => claims['kind'] === 'api' })
  assert.equal((await byRule.bear(token)).body['authMethod'], 'jwt')
  assert.equal((await byRule.bear(await issuer.issue({ kind: 'api' }))).body['authMethod'], 'api_token')
})

test('the same header again on one connection is one comparison, and another token is seen', async t => {
  const issuer = await sharedIssuer()
  const { port, verifier } = await guardedServer(t, { issuer: issuer.url, audience: issuer.audience })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => agent.destroy())
  const ask = (token: string) =>
    new Promise<string>((resolve, reject) => {
      get({ port, host: '127.0.0.1', agent, headers: { authorization: `Bearer ${token}` } }, res => {
        let body = ''
        res.on('data', chunk => (body += chunk))
        res.on('end', () => resolve(`${res.statusCode} ${JSON.parse(body).id ?? JSON.parse(body).code}`))
      }).on('error', reject)
    })
  const ada = await issuer.issue({ sub: 'ada' })
  const bob = await issuer.issue({ sub: 'bob' })
  const lookUp = t.mock.method(verifier, 'find')
  const seen = []
  for (const token of [ada, ada, ada, bob, bob, ada, 'junk', ada]) seen.push(await ask(token))
  assert.deepEqual(seen, [
    '200 ada',
    '200 ada',
    '200 ada',
    '200 bob',
    '200 bob',
    '200 ada',
    '401 invalid_token',
    '200 ada'
  ])
  // The third of the first three, and the last: junk has not taken the place of what was good.
  assert.equal(lookUp.mock.callCount(), 6)
  verifier.cache.clear()
  assert.equal(await ask(ada), '200 ada')
  assert.equal(verifier.stats.signatures, 3)
})

test('optional lets anonymous callers through, and bad tokens not', async t => {
  const issuer = await sharedIssuer()
  const { ask, bear } = await guardedServer(t, {
    issuer: issuer.url,
    audience: issuer.audience,
    optional: true
  })
  assert.deepEqual([(await ask()).status, (await ask()).body['id']], [200, undefined])
  assert.equal((await ask('Authorization: Basic eDp5')).status, 200)
  assert.equal((await bear('junk')).status, 401)
  assert.equal((await bear(await issuer.issue({ sub: 'ada' }))).body['id'], 'ada')
})

test('every validation is told, with the true reason', async t => {
  const issuer = await sharedIssuer()
  const told: unknown[] = []
  const durations: number[] = []
  const { ask, bear } = await guardedServer(t, {
    issuer: issuer.url,
    audience: issuer.audience,
    onValidation(reason, durationMs, exchange) {
      told.push(reason, exchange.path)
      durations.push(durationMs)
    }
  })
  await ask()
  await bear(await issuer.issue())
  await bear(await issuer.issue({ aud: 'other' }))
  assert.deepEqual(told, [undefined, '/orders', 'wrong_audience', '/orders'])
  // Said here: what a listener throws reaches nobody.
  assert.ok(
    durations.every(durationMs => durationMs > 0),
    String(durations)
  )
})

test('a listener that throws, or rejects, changes no answer', async t => {
  const issuer = await sharedIssuer()
  const listeners = [
    () => {
      throw new Error('listener')
    },
    async () => {
      throw new Error('listener')
    }
  ]
  for (const onValidation of listeners) {
    const { bear } = await guardedServer(t, { issuer: issuer.url, audience: issuer.audience, onValidation })
    assert.equal((await bear(await issuer.issue())).status, 200)
    assert.equal((await bear('junk')).status, 401)
  }
})

test('who leaves while keys are fetched takes nobody along: one token, one fetch, one signature', async t => {
  const issuer = await localIssuer(t)
  let letKeysCome: () => void = () => {}
  const held = new Promise<void>(resolve => {
    letKeysCome = resolve
  })
  let fetches = 0
  const slow: Fetch = async (url, init) => {
    fetches++
    await held
    return fetch(url, init)
  }
  const gate = authenticate({
    issuer: issuer.url,
    jwksUri: issuer.jwksUri,
    audience: issuer.audience,
    fetch: slow,
    jwksCache: patient
  })
  t.after(() => gate.verifier.close())
  const ends: string[] = []
  const handled: string[] = []
  const handler = pipeline(gate).wrap((req, res) => {
    handled.push(req.url as string)
    res.end(exchangeOf(req).user?.id)
  })
  const port = await listen(
    t,
    createServer((req, res) => {
      handler(req, res)
      exchangeOf(req).onEnd(({ path, outcome, statusCode }) => ends.push(`${path} ${outcome} ${statusCode}`))
    })
  )
  const token = await issuer.issue({ sub: 'ada' })
  const request = (path: string) =>
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n\r\n`
  const leaver = connect(port, '127.0.0.1')
  leaver.write(request('/leaver'))
  await until(() => gate.verifier.stats.cache.misses === 1)
  const stayer = converse(port, request('/stayer'))
  await until(() => gate.verifier.stats.joined === 1)
  leaver.destroy()
  await until(() => ends.length === 1)
  assert.deepEqual(ends, ['/leaver aborted 0'])
  letKeysCome()
  assert.match(await stayer, /^HTTP\/1\.1 200 OK\r\n.*ada/s)
  await until(() => ends.length === 2)
  assert.equal(ends[1], '/stayer completed 200')
  assert.match(await converse(port, request('/later')), /^HTTP\/1\.1 200 OK\r\n/)
  assert.deepEqual(handled, ['/stayer', '/later'])
  const { signatures, joined, cache } = gate.verifier.stats
  assert.deepEqual(
    { fetches, signatures, joined, hits: cache.hits },
    { fetches: 1, signatures: 1, joined: 1, hits: 1 }
  )
})

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await delay(5)
}

test('an identity provider that is down at start: 503 until keys arrive', async t => {
  const issuer = await localIssuer(t)
  issuer.fault = 'down'
  // Timers stand still: no attempt fails in the meantime but that of `ready`, if the first has failed by then.
  const clock = new SimulatedTime()
  const { bear, verifier } = await guardedServer(t, {
    issuer: issuer.url,
    audience: issuer.audience,
    jwksCache: { random: () => 0.5 },
    clock
  })
  const token = await issuer.issue()
  clock.wallShift = Date.now() - clock.now()
  await assert.rejects(verifier.ready(), /JWKS of http:.*openid-configuration/)
  const refused = await bear(token)
  assert.equal(refused.status, 503)
  const failures = verifier.stats.jwks[issuer.url]?.consecutiveFailures as number
  assert.equal(refused.headers['retry-after'], String(2 ** (failures - 1)))
  assert.equal(refused.headers['www-authenticate'], undefined)
  assert.equal(refused.reason, 'keys_unavailable')
  assert.ok(!refused.raw.includes(issuer.url))
  issuer.fault = 'none'
  await verifier.ready()
  assert.equal((await bear(token)).status, 200)
})

test('options are checked at construction', () => {
  const trust = { issuer: 'https://id.example.com/', audience: 'api', jwks: { keys: [] } }
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ issuer: '' }, /issuer must be a non-empty string, got ""/],
    [{ issuer: undefined }, /issuer must be a non-empty string, got undefined/],
    [{ issuer: 'id.example.com', jwks: undefined }, /issuer must be an https URL .*"id.example.com"/],
    [{ issuer: 'http://id.example.com', jwks: undefined }, /issuer must be an https URL/],
    [{ issuer: 'https://u:p@id.example.com', jwks: undefined }, /issuer must be an https URL/],
    [{ jwks: undefined, jwksUri: 'http://id.example.com/jwks' }, /jwksUri must be an https URL/],
    [{ jwksUri: 'https://id.example.com/jwks' }, /jwks and jwksUri exclude each other/],
    [{ jwks: [] }, /jwks must be a JWK set/],
    [{ audience: '' }, /audience must be .*got ""/],
    [{ audience: [] }, /audience must be .*got \[\]/],
    [{ audience: undefined }, /audience must be .*got undefined/],
    [{ audience: ['a', 1] }, /audience must be .*got \["a",1\]/],
    [{ algorithms: [] }, /algorithms must be a list/],
    [{ algorithms: ['HS256'] }, /algorithms must be .*got "HS256"/],
    [{ algorithms: ['none'] }, /algorithms must be .*got "none"/],
    [{ algorithms: 'RS256' }, /algorithms must be .*got "RS256"/],
    [{ clockToleranceSeconds: -1 }, /clockToleranceSeconds must be .*got -1/],
    [{ maxLifetimeSeconds: Number.NaN }, /maxLifetimeSeconds must be .*got NaN/],
    [{ maxTokenBytes: 0 }, /maxTokenBytes must be a positive integer, got 0/],
    [{ preset: 'okto' }, /preset must be one of .*got "okto"/],
    [{ preset: 'toString' }, /preset must be one of .*got "toString"/],
    [{ preset: 'auth0', issuer: 'https://x.eu.auth0.com' }, /"https:\/\/x.eu.auth0.com"/],
    [{ cache: { maxEntries: -1 } }, /maxEntries must be a non-negative integer, got -1/],
    [{ cache: { maxAgeSeconds: 0 } }, /maxAgeSeconds must be a positive number, got 0/],
    [{ cache: { maxAgeSeconds: '60' } }, /maxAgeSeconds must be a positive number, got 60/],
    [{ cache: { hashTokens: 'no' } }, /hashTokens must be true or false, got no/],
    [{ cache: null }, /cache must be an object, got null/],
    [{ optional: 'false' }, /optional must be true or false, got false/],
    [{ passPreflight: 0 }, /passPreflight must be true or false, got 0/],
    [{ acceptIdTokens: 'false' }, /acceptIdTokens must be true or false, got false/],
    [{ requiredClaims: 'sub' }, /requiredClaims must be a list of non-empty strings, got "sub"/],
    [{ audienceClaim: 5 }, /audienceClaim must be a non-empty string, got 5/],
    [{ confirmations: 'jkt' }, /confirmations must be a list of non-empty strings, got "jkt"/],
    [{ memberships: null }, /memberships must be an object, got null/],
    [{ dpop: null }, /dpop must be an object, got null/],
    [{ certificateBound: 'yes' }, /certificateBound must be an object, got "yes"/],
    [{ jwks: undefined, jwksCache: 5 }, /jwksCache must be an object, got 5/],
    [{ fetch: 'x' }, /fetch must be a function, got x/],
    [{ m2m: 'nobody' }, /m2m must be .*got "nobody"/],
    [{ realm: 'a\nb' }, /realm must be printable ASCII, got "a\\nb"/],
    [{ resourceMetadata: 'nowhere' }, /resourceMetadata must be an https URL .*got "nowhere"/],
    [{ isApiToken: 'api' }, /isApiToken must be a function, got api/],
    [{ onValidation: 1 }, /onValidation must be a function, got 1/],
    [{ verifier: {} }, /verifier must be a TokenVerifier, got \[object Object\]/],
    [{ issuers: [] }, /issuer and issuers exclude each other/]
  ]
  for (const [option, message] of wrong) {
    const options = { ...trust, ...option } as unknown as Parameters<typeof authenticate>[0]
    assert.throws(() => authenticate(options), { name: 'TypeError', message }, JSON.stringify(option))
  }
  assert.throws(
    () => authenticate(undefined as never),
    /authenticate: options must be an object, got undefined/
  )
  assert.throws(() => new TokenVerifier(null as never), /TokenVerifier: options must be an object, got null/)
  const several = (issuers: unknown) => () => new TokenVerifier({ issuers } as never)
  assert.throws(several([]), /issuers must be a list of at least one issuer/)
  assert.throws(several('x'), /issuers must be a list/)
  assert.throws(several([trust, trust]), /"https:\/\/id.example.com\/" is configured twice/)
})

test('an issuer that calls itself otherwise: told with both strings, and requests get 503', async t => {
  const issuer = await localIssuer(t)
  const reports: string[] = []
  const reporter = new Reporter({ onReport: ({ what, error }) => reports.push(`${what}: ${error}`) })
  const { bear, verifier } = await guardedServer(t, {
    issuer: `${issuer.url}/`,
    audience: issuer.audience,
    reporter
  })
  const message = `issuer mismatch: configured "${issuer.url}/", but its metadata says "${issuer.url}"`
  await assert.rejects(verifier.ready(), (error: Error) => error.message.startsWith(message))
  assert.ok(reports[0]?.startsWith(`jwks_refresh: DiscoveryError: ${message}`))
  const answer = await bear(await issuer.issue({ iss: `${issuer.url}/` }))
  assert.deepEqual([answer.status, answer.reason], [503, 'keys_unavailable'])
})

test('a verifier and a key cache that are shared are closed by who made them', async t => {
  const issuer = await sharedIssuer()
  const jwksCache = new JwksCache({ issuer: issuer.url, ...patient })
  t.after(() => jwksCache.close())
  const trust = { issuer: issuer.url, audience: issuer.audience, jwksCache }
  const first = new TokenVerifier(trust)
  const second = new TokenVerifier(trust)
  const token = await issuer.issue({ sub: 'ada' })
  await first.verify(token)
  first.close()
  await second.verify(token)
  assert.equal(jwksCache.stats.refreshes, 1)
  assert.deepEqual(Object.keys(second.stats.jwks), [issuer.url])
  const { bear } = await guardedServer(t, { verifier: second })
  assert.equal((await bear(token)).body['id'], 'ada')
})

test('hashTokens: a connection remembers no header either', async t => {
  const issuer = await sharedIssuer()
  const seen: unknown[] = []
  const trust = { issuer: issuer.url, audience: issuer.audience, cache: { hashTokens: true } }
  const { bear, verifier } = await guardedServer(t, trust, (req, _res, next) => {
    seen.push(exchangeOf(req).connection.credential)
    next()
  })
  const token = await issuer.issue()
  for (let i = 0; i < 3; i++) assert.equal((await bear(token)).status, 200)
  assert.deepEqual(seen, [undefined, undefined, undefined])
  assert.deepEqual([verifier.stats.cache.hits, verifier.stats.signatures], [2, 1])
})

test('http/2 requests are authenticated alike', async t => {
  const issuer = await sharedIssuer()
  const gate = authenticate({ issuer: issuer.url, audience: issuer.audience, jwksCache: patient })
  t.after(() => gate.verifier.close())
  const server = createHttp2Server(
    gate.wrap((req, res) => {
      res.end((req as GuardedRequest).user?.id)
    }) as never
  )
  const port = await listen(t, server)
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  t.after(() => session.destroy())
  const ask = (headers: Record<string, string>) =>
    new Promise<string>((resolve, reject) => {
      const stream = session.request({ ':path': '/', ...headers })
      let status = 0
      let body = ''
      stream.on('response', head => {
        status = head[':status'] as number
      })
      stream.on('data', chunk => {
        body += chunk
      })
      stream.on('end', () => resolve(`${status} ${status === 200 ? body : JSON.parse(body).code}`))
      stream.on('error', reject)
    })
  const token = await issuer.issue({ sub: 'ada' })
  for (let i = 0; i < 2; i++) assert.equal(await ask({ authorization: `Bearer ${token}` }), '200 ada')
  assert.equal(await ask({ authorization: 'Bearer junk' }), '401 invalid_token')
  assert.equal(await ask({}), '401 authentication_required')
})
