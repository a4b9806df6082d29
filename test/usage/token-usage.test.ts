import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { exchangeOf, type Identity } from '../../lib/http/exchange.ts'
import { type Middleware, pipeline } from '../../lib/http/pipeline.ts'
import { refuse } from '../../lib/http/problem.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { MemoryUsageStore } from '../../lib/usage/memory-usage-store.ts'
import { sqliteDriver } from '../../lib/usage/sqlite-driver.ts'
import { type TokenUsageOptions, tokenUsage } from '../../lib/usage/token-usage.ts'
import { UsageRecorder } from '../../lib/usage/usage-recorder.ts'
import { converse, listen } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const ann: Identity = {
  id: 'u-ann',
  key: 'user:u-ann',
  name: 'Ann',
  email: 'ann@example.com',
  kind: 'human',
  isM2M: false,
  clientId: null,
  scopes: []
}

const identify: Middleware = (req, _res, next) => {
  const exchange = exchangeOf(req)
  exchange.user = ann
  exchange.authMethod = req.headers['x-plain'] === undefined ? 'api_token' : 'jwt'
  exchange.tokenId = 'jti-1'
  next()
}

/** A real server behind `tokenUsage`; the path `/404` is answered with that status. */
async function used(t: TestContext, options: TokenUsageOptions) {
  const usage = tokenUsage(options)
  t.after(() => usage.recorder.close())
  const server = createServer(
    pipeline(usage, identify).wrap((req, res) => {
      const status = /^\/(\d{3})$/.exec(req.url ?? '')
      if (req.url === '/refused') refuse(exchangeOf(req), 'rate_limit', 'limit', { status: 429 })
      else res.writeHead(status === null ? 200 : Number(status[1])).end('ok')
    })
  )
  const port = await listen(t, server)
  const get = (target: string, headers = '') =>
    converse(
      port,
      `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: curl/8\r\n${headers}\r\n`
    )
  return { get, recorder: usage.recorder }
}

test('from the socket to the SQLite file', async t => {
  const folder = temporaryFolder()
  const path = join(folder, 'usage.db')
  const { get, recorder } = await used(t, { sqlite: path })
  const before = Date.now()
  for (const target of ['/orders?token=secret', '/404', '/refused', '/500']) await get(target)
  await get('/orders', 'X-Plain: 1\r\n')
  const stats = await recorder.getTokenUsageStats('ann@example.com')
  assert.equal(stats.totalRequests, 4)
  assert.equal(stats.successfulRequests, 1)
  assert.equal(stats.blockedRequests, 2)
  assert.ok(stats.p50ResponseTimeMs > 0 && stats.p99ResponseTimeMs >= stats.p50ResponseTimeMs)
  const lastUsedAt = stats.lastUsedAt!.getTime()
  assert.ok(lastUsedAt >= before - 5 && lastUsedAt <= Date.now() + 5, `${lastUsedAt} after ${before}`)
  await recorder.close()
  const database = sqliteDriver().open(path)
  t.after(() => database.close())
  const rows = database
    .prepare(
      'SELECT endpoint, method, ip_address, user_agent, status_code, blocked, block_reason FROM token_usage ORDER BY id'
    )
    .all()
    .map(row => Object.values(row as object))
  assert.deepEqual(rows, [
    ['/orders', 'GET', '127.0.0.1', 'curl/8', 200, 0, null],
    ['/404', 'GET', '127.0.0.1', 'curl/8', 404, 1, 'http_404'],
    ['/refused', 'GET', '127.0.0.1', 'curl/8', 429, 1, 'http_429'],
    ['/500', 'GET', '127.0.0.1', 'curl/8', 500, 0, null]
  ])
})

test('a locked database harms no request, and gets its records when the lock is gone', async t => {
  const folder = temporaryFolder()
  const path = join(folder, 'usage.db')
  const reporter = new Reporter({ onReport: () => {} })
  const { get, recorder } = await used(t, { sqlite: path, reporter })
  const other = sqliteDriver().open(path)
  other.exec('BEGIN IMMEDIATE')
  for (let i = 0; i < 10; i++) assert.match(await get('/orders'), /^HTTP\/1.1 200/)
  await assert.rejects(recorder.flush(), /locked/)
  assert.ok(reporter.counts.get('usage_write')! >= 1)
  assert.match(await get('/orders'), /^HTTP\/1.1 200/)
  other.exec('COMMIT')
  other.close()
  // An attempt that began under the lock may still fail.
  while (recorder.stats.queued > 0) await recorder.flush().catch(() => undefined)
  assert.equal((await recorder.getTokenUsageStats('ann@example.com')).totalRequests, 11)
  assert.equal(recorder.stats.lost, 0)
})

test('health checks, metrics and static files leave no record, unless told otherwise', async t => {
  const paths = ['/health', '/healthz', '/ready', '/metrics', '/static/a.css', '/orders']
  const usual = await used(t, { store: new MemoryUsageStore() })
  for (const path of paths) await usual.get(path)
  assert.deepEqual((await usual.recorder.getTokenUsageStats('ann@example.com')).topEndpoints, [
    { endpoint: '/orders', count: 1 }
  ])
  const all = await used(t, { store: new MemoryUsageStore(), skip: {} })
  for (const path of paths) await all.get(path)
  assert.equal((await all.recorder.getTokenUsageStats('ann@example.com')).totalRequests, 6)
})

test('several stacks may share a recorder', async t => {
  const recorder = new UsageRecorder({ store: new MemoryUsageStore() })
  const [one, two] = [await used(t, { recorder }), await used(t, { recorder })]
  assert.equal(one.recorder, recorder)
  await one.get('/a')
  await two.get('/b')
  assert.equal((await recorder.getTokenUsageStats('ann@example.com')).totalRequests, 2)
})

const wrong: [Record<string, unknown> | null, RegExp][] = [
  [null, /tokenUsage: options must be an object, got null/],
  [{}, /tokenUsage: give one of sqlite, store and recorder, got 0/],
  [
    { sqlite: 'x', store: new MemoryUsageStore() },
    /tokenUsage: give one of sqlite, store and recorder, got 2/
  ],
  [{ recorder: {} }, /tokenUsage: recorder must be a UsageRecorder, got \[object Object\]/],
  [{ store: 'usage.db' }, /UsageRecorder: store must be a UsageStore, got usage.db/],
  [{ sqlite: 5 }, /SqliteUsageStore: path must name a file, got 5/],
  [
    { store: new MemoryUsageStore(), skip: { exact: ['x'] } },
    /PathFilter: exact entries must start with a slash, got "x"/
  ]
]

for (const [options, message] of wrong) {
  test(`refuses: ${message.source}`, () => assert.throws(() => tokenUsage(options as never), message))
}
