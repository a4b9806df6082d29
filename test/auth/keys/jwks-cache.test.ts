import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { JwksCache, type JwksCacheOptions, type JwksSnapshot } from '../../../lib/auth/keys/jwks-cache.ts'
import { UnknownKeys } from '../../../lib/auth/keys/unknown-keys.ts'
import { Reporter } from '../../../lib/http/reporter.ts'
import { localIssuer, patient } from '../guarded-server.ts'
import { ScriptedProvider, SimulatedTime } from '../simulation.ts'

const jwksUri = 'https://id.example.com/jwks'
const minute = 60_000
let oldKey: JWK
let newKey: JWK

before(async () => {
  const make = async (kid: string) => {
    const { publicKey } = await generateKeyPair('ES256')
    return { ...(await exportJWK(publicKey)), kid, alg: 'ES256' }
  }
  oldKey = await make('old')
  newKey = await make('new')
})

function simulated(options: Partial<JwksCacheOptions> = {}) {
  const time = new SimulatedTime()
  const provider = new ScriptedProvider(time, { keys: [oldKey] })
  const reporter = new Reporter({ onReport() {} })
  const cache = new JwksCache({
    jwksUri,
    fetch: provider.fetch,
    clock: time,
    random: () => 0.5,
    reporter,
    ...options
  })
  provider.cache = cache
  return { time, provider, cache, reporter }
}

const has = (cache: JwksCache, kid: string) => cache.candidates(kid, 'ES256').length > 0

test('time: refreshed at 0.8 of the interval, and again and again', async () => {
  const { time, provider, cache } = simulated({ strategy: 'time', intervalMinutes: 10 })
  const fetchedAt: number[] = []
  for (let at = 0; at <= 41; at++) {
    const before = provider.fetches
    await time.run(at * minute)
    if (provider.fetches > before) fetchedAt.push(at)
  }
  // Each a little after 8, 16, 24 … minutes: a fetch takes its time.
  assert.deepEqual(fetchedAt, [0, 9, 17, 25, 33, 41])
  assert.equal(cache.stats.failures, 0)
})

test('usage: after so many uses, at most once in five minutes, and never while nothing is used', async () => {
  const { time, provider, cache } = simulated({ strategy: 'usage', usages: 100 })
  await time.run(10 * minute)
  assert.equal(provider.fetches, 1)
  const use = (times: number) => {
    for (let i = 0; i < times; i++) cache.countUse()
  }
  use(99)
  await time.run(11 * minute)
  assert.equal(provider.fetches, 1)
  use(1)
  await time.run(12 * minute)
  assert.equal(provider.fetches, 2)
  use(1_000)
  await time.run(15 * minute)
  assert.equal(provider.fetches, 2)
  await time.run(17 * minute)
  assert.equal(provider.fetches, 3)
})

test('without a background refresh the first look-up after the time starts one, and does not wait', async () => {
  const { time, provider, cache } = simulated({ strategy: 'time', backgroundRefresh: false })
  await time.run(60 * minute)
  assert.equal(provider.fetches, 1)
  provider.document = { keys: [newKey] }
  assert.ok(has(cache, 'old'))
  await time.run(61 * minute)
  assert.equal(provider.fetches, 2)
  assert.ok(has(cache, 'new') && !has(cache, 'old'))
})

test('without a background refresh a provider that was down is asked again when its time has come', async () => {
  const { time, provider, cache } = simulated({ backgroundRefresh: false })
  provider.status = 500
  await time.run(500)
  assert.equal(cache.seek('old'), undefined)
  await time.run(5_000)
  provider.status = 200
  const asked = cache.seek('old')
  assert.ok(asked !== undefined)
  await time.run(6_000)
  await asked
  assert.ok(has(cache, 'old'))
})

test('failed refreshes: the old keys stay, the next attempt comes later and later, all are told', async () => {
  const { time, provider, cache, reporter } = simulated({ strategy: 'time', intervalMinutes: 10 })
  await time.run(7 * minute)
  const bad: [number, unknown][] = [
    [500, {}],
    [204, undefined],
    [302, {}],
    [200, []],
    [200, null],
    [200, 'x'],
    [200, {}],
    [200, { keys: 'x' }],
    [200, { keys: [] }],
    [200, { keys: [null, {}, 1] }]
  ]
  for (const [status, document] of bad) {
    provider.status = status === 204 ? 500 : status
    provider.document = document
    const { failures } = cache.stats
    while (cache.stats.failures === failures) await time.run(time.elapsed + 1_000)
    assert.ok(has(cache, 'old'), `${status} ${JSON.stringify(document)}`)
  }
  assert.equal(cache.stats.consecutiveFailures, bad.length)
  assert.equal(reporter.counts.get('jwks_refresh'), bad.length)
  assert.ok(cache.retryAfterSeconds >= 1)
  const { fetches } = provider
  await time.run(time.elapsed + 10 * minute)
  assert.ok(provider.fetches - fetches <= 11)
  assert.equal(cache.stats.stale, true)
  provider.status = 200
  provider.document = { keys: [newKey] }
  await time.run(time.elapsed + 2 * minute)
  assert.deepEqual(
    [cache.stats.stale, cache.stats.consecutiveFailures, cache.retryAfterSeconds],
    [false, 0, 0]
  )
  assert.ok(has(cache, 'new'))
})

test('no request waits for a provider that failed, and each is told when to come again', async () => {
  const { time, provider, cache } = simulated()
  provider.status = 500
  const first = cache.seek('old')
  assert.ok(first !== undefined)
  await time.run(300)
  await first
  assert.equal(cache.seek('old'), undefined)
  assert.equal(cache.retryAfterSeconds, 1)
  assert.equal(provider.fetches, 1)
})

test('while a failed load is tried again, nobody is told to come back never', async () => {
  const { time, provider, cache } = simulated()
  provider.status = 500
  await time.run(500)
  provider.blackHole = true
  await time.run(2_000)
  assert.deepEqual([provider.fetches, cache.seek('old'), cache.retryAfterSeconds], [2, undefined, 1])
})

test('a key id that a refresh did not bring is not asked for again for half a minute', async () => {
  const { time, provider, cache } = simulated()
  await time.run(10 * minute)
  const asked = cache.seek('made-up')
  assert.ok(asked !== undefined)
  await time.run(time.elapsed + 1_000)
  await asked
  assert.equal(cache.seek('made-up'), undefined)
  assert.equal(provider.fetches, 2)
  await time.run(time.elapsed + 30_000)
  assert.ok(cache.seek('made-up') !== undefined)
  assert.equal(cache.seek(undefined), undefined)
  assert.equal(cache.stats.unknownKeys, 3)
})

test('what is remembered of made-up key ids is bounded: the oldest is forgotten', () => {
  const unknown = new UnknownKeys(0)
  unknown.missing('first', 0)
  for (let i = 0; i < 1_000; i++) unknown.missing(`made-up-${i}`, 0)
  assert.equal(unknown.mayAsk('made-up-0', 1), false)
  assert.equal(unknown.mayAsk('first', 1), true)
})

test('a process that slept longer than keys may be old waits for new ones', async () => {
  const { time, provider, cache } = simulated()
  await time.run(1_000)
  time.elapsed += 25 * 60 * minute
  assert.ok(!has(cache, 'old') && !cache.has('old'))
  const asked = [cache.seek(undefined), cache.seek('old')]
  assert.ok(asked.every(promise => promise !== undefined))
  await time.run(time.elapsed + 1_000)
  await Promise.all(asked)
  assert.equal(provider.fetches, 2)
  assert.ok(has(cache, 'old'))
})

test('ready resolves with the keys, or rejects with what went wrong and goes on trying', async () => {
  const { time, provider, cache } = simulated()
  provider.status = 500
  const failing = cache.ready()
  failing.catch(() => {})
  await time.run(500)
  await assert.rejects(failing, { message: `JWKS of ${jwksUri}: GET ${jwksUri}: status 500` })
  provider.status = 200
  await time.run(5_000)
  await cache.ready()
  cache.close()
  await cache.ready()
})

test('closed before there were keys, it says so', async () => {
  const { time, provider, cache } = simulated()
  cache.close()
  await time.run(10 * minute)
  assert.equal(provider.fetches, 0)
  assert.equal(cache.seek('x'), undefined)
  await assert.rejects(cache.ready(), /JWKS of .*: closed/)
})

test('closed, it stops to refresh, and its keys go on serving', async () => {
  const { time, provider, cache } = simulated()
  await time.run(minute)
  cache.close()
  await time.run(120 * minute)
  assert.equal(provider.fetches, 1)
  assert.ok(has(cache, 'old'))
})

test('closed while it loads, it gives up quietly', async () => {
  const { time, provider, cache, reporter } = simulated()
  provider.blackHole = true
  await time.run(100)
  assert.equal(provider.fetches, 1)
  cache.close()
  await time.run(10 * minute)
  assert.equal(provider.fetches, 1)
  assert.equal(reporter.counts.size, 0)
})

test('exported keys save the first fetch of another process, until they are due', async () => {
  const first = simulated()
  await first.time.run(1_000)
  const snapshot = first.cache.export()
  assert.ok(snapshot !== undefined)
  assert.deepEqual(JSON.parse(JSON.stringify(snapshot)), snapshot)
  const second = simulated()
  second.time.elapsed = 10 * minute
  await second.cache.import(snapshot)
  assert.ok(has(second.cache, 'old'))
  await second.time.run(11 * minute)
  assert.equal(second.provider.fetches, 0)
  await second.time.run(17 * minute)
  assert.equal(second.provider.fetches, 1)
})

test('a snapshot that is late changes nothing, one that is wrong is refused and the keys are fetched', async () => {
  const source = simulated()
  assert.equal(source.cache.export(), undefined)
  await source.time.run(1_000)
  const snapshot = source.cache.export() as JwksSnapshot
  const late = simulated()
  late.provider.document = { keys: [newKey] }
  await late.time.run(1_000)
  await late.cache.import(snapshot)
  assert.ok(has(late.cache, 'new') && !has(late.cache, 'old'))

  const wrong: [Partial<JwksSnapshot>, RegExp][] = [
    [{ source: 'https://other.example.com/jwks' }, /the snapshot is of https:\/\/other.example.com\/jwks/],
    [{ fetchedAt: 0 }, /too old/],
    [{ fetchedAt: Number.NaN }, /too old/],
    [{ jwks: { keys: [] } }, /no usable key/],
    [{ jwks: null as never }, /not a JWK set/]
  ]
  for (const [change, message] of wrong) {
    const { time, provider, cache } = simulated()
    await assert.rejects(cache.import({ ...snapshot, ...change }), message)
    await time.run(1_000)
    assert.equal(provider.fetches, 1)
    assert.ok(has(cache, 'old'))
  }
})

test('options are checked at construction', () => {
  const wrong: [object, RegExp][] = [
    [{ jwksUri: undefined }, /JwksCache: issuer must be an https URL .*got undefined/],
    [{ jwksUri: 'ftp://x' }, /JwksCache: jwksUri must be an https URL .*got "ftp:\/\/x"/],
    [{ strategy: 'never' }, /strategy must be 'time', 'usage' or 'both', got never/],
    [{ intervalMinutes: 0 }, /intervalMinutes must be a positive number, got 0/],
    [{ usages: 1.5 }, /usages must be a positive integer, got 1.5/],
    [{ backgroundRefreshThreshold: 1.1 }, /backgroundRefreshThreshold must be .*got 1.1/],
    [{ backgroundRefreshThreshold: 0 }, /backgroundRefreshThreshold must be .*got 0/],
    [{ maxStaleSeconds: Number.POSITIVE_INFINITY }, /maxStaleSeconds must be .*got Infinity/],
    [{ timeoutMs: '5' }, /timeoutMs must be a positive number of ms, got 5/],
    [{ timeoutMs: 2 ** 31 }, /timeoutMs must be a positive number of ms, got 2147483648/],
    [{ backgroundRefreshThreshold: '0.5' }, /backgroundRefreshThreshold must be .*got 0.5/],
    [{ backgroundRefresh: 'no' }, /backgroundRefresh must be true or false, got no/],
    [{ fetch: 'x' }, /fetch must be a function, got x/]
  ]
  for (const [option, message] of wrong) {
    assert.throws(() => simulated(option as Partial<JwksCacheOptions>), { name: 'TypeError', message })
  }
})

test('over a real socket: discovered once, and everything that is no key set is refused', async t => {
  const issuer = await localIssuer(t, { path: '/realms/orders' })
  const open = (options: Partial<JwksCacheOptions> = {}) => {
    const cache = new JwksCache({
      issuer: issuer.url,
      reporter: new Reporter({ onReport() {} }),
      ...patient,
      ...options
    })
    t.after(() => cache.close())
    return cache
  }
  await open().ready()
  assert.deepEqual([issuer.requests.discovery, issuer.requests.jwks], [1, 1])
  issuer.slowMs = 1_000
  const messages = {
    down: /socket|ECONNRESET|other side closed/,
    error: /status 503/,
    html: /not valid JSON|Unexpected token/,
    redirect: /status 302/,
    empty: /no usable key among 0/,
    huge: /more than 1048576 bytes/,
    slow: /no answer within 100 ms/
  } as const
  for (const [fault, message] of Object.entries(messages)) {
    issuer.fault = fault as keyof typeof messages
    const options = { jwksUri: issuer.jwksUri, ...(fault === 'slow' && { timeoutMs: 100 }) }
    await assert.rejects(open(options).ready(), message, fault)
  }
})

test('an interval longer than a timer can wait is not an interval of nothing', async () => {
  const { time, provider } = simulated({ intervalMinutes: 60 * 24 * 60 })
  const delays: number[] = []
  time.setTimeout = (run, ms) => {
    delays.push(ms)
    return SimulatedTime.prototype.setTimeout.call(time, run, ms)
  }
  await time.run(minute)
  assert.equal(provider.fetches, 1)
  assert.equal(Math.max(...delays), 2 ** 31 - 1)
})

test('a fetch of one’s own that answers nothing and heeds no signal is given up, and tried again', async () => {
  const asked: string[] = []
  const { time, cache } = simulated({
    timeoutMs: 100,
    fetch: url => {
      asked.push(url)
      return new Promise(() => {})
    }
  })
  const ready = assert.rejects(cache.ready(), /no answer within 100 ms/)
  await time.run(2_000)
  await ready
  assert.equal(asked.length, 2)
  assert.equal(cache.stats.failures, 2)
})

test('issuer typos fail with both strings, and what differs', async t => {
  const issuer = await localIssuer(t)
  const ready = async (options: Partial<JwksCacheOptions> = {}) => {
    const cache = new JwksCache({
      issuer: issuer.url,
      reporter: new Reporter({ onReport() {} }),
      ...patient,
      ...options
    })
    t.after(() => cache.close())
    await cache.ready()
  }
  await assert.rejects(ready({ issuer: `${issuer.url}/` }), {
    name: 'DiscoveryError',
    code: 'ERR_DISCOVERY',
    message: `issuer mismatch: configured "${issuer.url}/", but its metadata says "${issuer.url}" (they differ in the trailing slash)`
  })
  issuer.metadata = { issuer: 'https://elsewhere.example.com' }
  await assert.rejects(ready(), {
    message: `issuer mismatch: configured "${issuer.url}", but its metadata says "https://elsewhere.example.com"`
  })
  issuer.metadata = { issuer: issuer.url.replace('http', 'HTTP') }
  await assert.rejects(ready(), /they differ in upper and lower case/)
  issuer.metadata = { issuer: undefined }
  await assert.rejects(ready(), /its metadata says undefined/)
  issuer.metadata = { jwks_uri: 'http://example.com/jwks' }
  await assert.rejects(ready(), /jwks_uri of .* must be an https URL .*"http:\/\/example.com\/jwks"/)
})

test('a jwks_uri that moved is found again', async t => {
  const issuer = await localIssuer(t)
  const time = new SimulatedTime()
  const cache = new JwksCache({
    issuer: issuer.url,
    clock: time,
    reporter: new Reporter({ onReport() {} })
  })
  t.after(() => cache.close())
  issuer.metadata = { jwks_uri: `${issuer.url}/gone` }
  await assert.rejects(cache.ready(), /\/gone: status 404/)
  issuer.metadata = {}
  await cache.ready()
  assert.equal(cache.stats.keys, 1)
})

test('the metadata of an authorization server serves as well (RFC 8414)', async () => {
  const asked: string[] = []
  const cache = new JwksCache({
    issuer: 'https://id.example.com/tenant/',
    fetch: async url => {
      asked.push(url)
      if (url.includes('openid')) return new Response('', { status: 404 })
      const metadata = { issuer: 'https://id.example.com/tenant/', jwks_uri: jwksUri }
      return Response.json(url === jwksUri ? { keys: [oldKey] } : metadata)
    }
  })
  await cache.ready()
  cache.close()
  assert.deepEqual(asked, [
    'https://id.example.com/tenant/.well-known/openid-configuration',
    'https://id.example.com/.well-known/oauth-authorization-server/tenant',
    jwksUri
  ])
})

test('metadata that is no object is no metadata', async () => {
  for (const document of [null, 1, '"x"']) {
    const cache = new JwksCache({
      issuer: 'https://id.example.com',
      reporter: new Reporter({ onReport() {} }),
      fetch: async () => new Response(JSON.stringify(document))
    })
    await assert.rejects(cache.ready(), /issuer mismatch|is not a JSON object/)
    cache.close()
  }
})
