import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { type Exchange, type Identity, openExchange } from '../../lib/http/exchange.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { MemoryUsageStore } from '../../lib/usage/memory-usage-store.ts'
import { sqliteDriver } from '../../lib/usage/sqlite-driver.ts'
import { SqliteUsageStore } from '../../lib/usage/sqlite-usage-store.ts'
import { UsageRecorder } from '../../lib/usage/usage-recorder.ts'
import type { UsageRuns } from '../../lib/usage/usage-runs.ts'
import type { UsageRecord, UsageStats, UsageStore } from '../../lib/usage/usage-store.ts'
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

interface Ended {
  path?: string
  status?: number
  user?: Identity | undefined
  tokenId?: string | undefined
  authMethod?: 'jwt' | 'api_token'
  userAgent?: string
}

/** An exchange that has ended, as the recorder sees it. */
function ended(options: Ended = {}): Exchange {
  const req = new IncomingMessage(new Socket())
  req.url = options.path ?? '/orders?page=2'
  req.method = 'GET'
  if (options.userAgent !== undefined) req.headers['user-agent'] = options.userAgent
  const res = new ServerResponse(req)
  const exchange = openExchange(req, res)
  exchange.authMethod = options.authMethod ?? 'api_token'
  exchange.tokenId = 'tokenId' in options ? options.tokenId : 'jti-1'
  exchange.user = 'user' in options ? options.user : ann
  res.writeHead(options.status ?? 200)
  exchange.end(true)
  return exchange
}

/** A store whose answers the test gives. */
class HeldStore implements UsageStore {
  readonly batches: UsageRecord[][] = []
  readonly answers: { resolve(): void; reject(error: Error): void }[] = []
  closed = 0

  append(records: UsageRecord[]): Promise<void> {
    this.batches.push(records)
    return new Promise((resolve, reject) => this.answers.push({ resolve, reject }))
  }

  async stats(): Promise<UsageStats> {
    throw new Error('not asked here')
  }

  async close(): Promise<void> {
    this.closed++
  }
}

/** Keeps records in an array. */
class ListStore extends HeldStore {
  override async append(records: UsageRecord[]): Promise<void> {
    this.batches.push(records)
  }
}

const quiet = () => new Reporter({ onReport: () => {} })
const turn = () => new Promise(resolve => setImmediate(resolve))

test('a record has every field', async () => {
  const store = new ListStore()
  const recorder = new UsageRecorder({ store })
  const before = Date.now()
  const exchange = ended({ status: 201, userAgent: 'curl/8' })
  recorder.record(exchange)
  await recorder.flush()
  const [[{ timestamp, ...rest }]] = store.batches
  assert.deepEqual(rest, {
    tokenJti: 'jti-1',
    userEmail: 'ann@example.com',
    endpoint: '/orders',
    method: 'GET',
    ipAddress: null,
    userAgent: 'curl/8',
    statusCode: 201,
    responseTimeMs: Math.round(exchange.durationMs * 1_000) / 1_000,
    blocked: false,
    blockReason: null
  })
  assert.ok(timestamp.getTime() >= before - 5 && timestamp.getTime() <= Date.now() + 5)
  await recorder.close()
})

const statuses: [number, boolean, string | null][] = [
  [200, false, null],
  [304, false, null],
  [400, true, 'http_400'],
  [401, true, 'http_401'],
  [403, true, 'http_403'],
  [429, true, 'http_429'],
  [499, true, 'http_499'],
  [500, false, null],
  [503, false, null]
]

test('a 4xx is blocked and says why; a 5xx is not', async () => {
  const store = new ListStore()
  const recorder = new UsageRecorder({ store })
  for (const [status] of statuses) recorder.record(ended({ status }))
  const refused = ended({ status: 401 })
  refused.denial = { stage: 'authenticate', reason: 'token_revoked' }
  recorder.record(refused)
  await recorder.close()
  assert.deepEqual(
    store.batches.flat().map(({ statusCode, blocked, blockReason }) => [statusCode, blocked, blockReason]),
    [...statuses, [401, true, 'revoked_or_expired']]
  )
})

/** Keeps what it gets, of either kind. */
class RunListStore extends ListStore {
  readonly runs: UsageRuns[] = []

  override append(records: UsageRecord[]): Promise<void> {
    return super.append(records)
  }

  async appendRuns(runs: UsageRuns): Promise<void> {
    this.runs.push(runs)
  }
}

test('a store that takes runs gets runs, whose records share what they have in common', async () => {
  const store = new RunListStore()
  const recorder = new UsageRecorder({ store })
  for (let i = 0; i < 1_500; i++) recorder.record(ended({ path: i % 3 === 0 ? '/a' : '/b' }))
  await recorder.flush()
  assert.deepEqual(store.batches, [])
  assert.deepEqual(
    store.runs.map(({ groups, sizes }) => groups.map(({ endpoint }, i) => [endpoint, sizes[i]])),
    [
      [
        ['/a', 342],
        ['/b', 682]
      ],
      [
        ['/b', 318],
        ['/a', 158]
      ]
    ]
  )
  assert.equal(recorder.stats.stored, 1_500)
  await recorder.close()
})

test('who puts an append of their own before that of such a store sees the records', async () => {
  class Seeing extends RunListStore {
    override append(records: UsageRecord[]): Promise<void> {
      return super.append(records)
    }
  }
  const mended = new RunListStore()
  mended.append = records => ListStore.prototype.append.call(mended, records)
  for (const store of [new Seeing(), mended]) {
    const recorder = new UsageRecorder({ store })
    recorder.record(ended())
    await recorder.close()
    assert.deepEqual(store.runs, [])
    assert.equal(store.batches.flat().length, 1)
  }
})

test('only requests with an API token leave a record; one without an id or an owner is counted', async () => {
  const store = new ListStore()
  const recorder = new UsageRecorder({ store })
  recorder.record(ended({ authMethod: 'jwt' }))
  recorder.record(ended({ user: undefined }))
  recorder.record(ended({ tokenId: undefined }))
  recorder.record(ended({ tokenId: '' }))
  recorder.record(ended({ user: { ...ann, email: null, id: '' } }))
  assert.deepEqual(recorder.stats, { queued: 0, stored: 0, lost: 0, unattributed: 4 })
  recorder.record(ended({ user: { ...ann, email: null } }))
  await recorder.close()
  assert.deepEqual(
    store.batches.flat().map(record => record.userEmail),
    ['u-ann']
  )
})

test('records are stored by themselves, in batches and in order', async () => {
  const store = new ListStore()
  const recorder = new UsageRecorder({ store, flushIntervalMs: 5, batchSize: 10 })
  for (let i = 0; i < 35; i++) recorder.record(ended({ path: `/${i}` }))
  while (recorder.stats.stored < 35) await turn()
  assert.deepEqual(
    store.batches.flat().map(record => record.endpoint),
    Array.from({ length: 35 }, (_, i) => `/${i}`)
  )
  assert.ok(store.batches.every(batch => batch.length <= 10))
  assert.equal(recorder.stats.queued, 0)
  await recorder.close()
})

test('one batch at a time; what comes meanwhile follows', async () => {
  const store = new HeldStore()
  const recorder = new UsageRecorder({ store, batchSize: 2, reporter: quiet() })
  for (let i = 0; i < 3; i++) recorder.record(ended({ path: `/${i}` }))
  const flushed = recorder.flush()
  recorder.record(ended({ path: '/3' }))
  assert.equal(store.batches.length, 1)
  store.answers[0].resolve()
  await turn()
  assert.equal(store.batches.length, 2)
  store.answers[1].resolve()
  await flushed
  assert.deepEqual(
    store.batches.flat().map(record => record.endpoint),
    ['/0', '/1', '/2', '/3']
  )
  await recorder.close()
})

test('a refused batch is tried again, later and later, and nothing is lost or doubled', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const reporter = quiet()
  const store = new HeldStore()
  const recorder = new UsageRecorder({ store, batchSize: 2, flushIntervalMs: 100, reporter })
  for (let i = 0; i < 3; i++) recorder.record(ended({ path: `/${i}` }))
  t.mock.timers.tick(100)
  for (const waitMs of [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]) {
    store.answers.at(-1)!.reject(new Error('database is locked'))
    await turn()
    const before = store.batches.length
    t.mock.timers.tick(waitMs - 1)
    assert.equal(store.batches.length, before)
    t.mock.timers.tick(1)
    assert.equal(store.batches.length, before + 1)
  }
  assert.equal(recorder.stats.queued, 3)
  assert.equal(reporter.counts.get('usage_write'), 7)
  store.answers.at(-1)!.resolve()
  await turn()
  t.mock.timers.tick(100)
  assert.deepEqual(
    store.batches.at(-1)!.map(record => record.endpoint),
    ['/2']
  )
  store.answers.at(-1)!.resolve()
  await turn()
  assert.deepEqual(recorder.stats, { queued: 0, stored: 3, lost: 0, unattributed: 0 })
  await recorder.close()
})

test('a full queue loses the newest, counts them, and tells once', async () => {
  const told: number[] = []
  const reporter = new Reporter({
    onReport: ({ what, count }) => void (what === 'usage_lost' && told.push(count))
  })
  const store = new HeldStore()
  const recorder = new UsageRecorder({ store, maxQueued: 5, batchSize: 2, reporter })
  for (let i = 0; i < 9; i++) recorder.record(ended({ path: `/${i}` }))
  assert.deepEqual(recorder.stats, { queued: 5, stored: 0, lost: 4, unattributed: 0 })
  assert.deepEqual(told, [1])
  assert.equal(reporter.counts.get('usage_lost'), 4)
  const flushed = recorder.flush()
  for (let i = 0; i < 3; i++) {
    store.answers[i].resolve()
    await turn()
  }
  await flushed
  // The ring goes on where it was.
  for (let i = 9; i < 13; i++) recorder.record(ended({ path: `/${i}` }))
  const closing = recorder.close()
  for (let i = 3; i < 5; i++) {
    store.answers[i].resolve()
    await turn()
  }
  await closing
  assert.deepEqual(
    store.batches.flat().map(record => record.endpoint),
    ['/0', '/1', '/2', '/3', '/4', '/9', '/10', '/11', '/12']
  )
})

for (const [batchSize, perTurn] of [
  [1_024, 1_024],
  [300, 1_000],
  [1, 1_024],
  [5_000, 5_000]
]) {
  test(`in batches of ${batchSize}, a turn of the event loop hands over ${perTurn} records at most`, async () => {
    const store = new ListStore()
    const recorder = new UsageRecorder({ store, batchSize, flushIntervalMs: 60_000 })
    const exchange = ended()
    for (let i = 0; i < 10_000; i++) recorder.record(exchange)
    const handedOver = () => store.batches.reduce((sum, batch) => sum + batch.length, 0)
    const turns: number[] = []
    const flushed = recorder.flush()
    for (let before = 0; before < 10_000; before = handedOver()) {
      await turn()
      turns.push(handedOver() - before)
    }
    await flushed
    assert.equal(Math.max(...turns), perTurn)
    assert.ok(store.batches.every(batch => batch.length <= batchSize))
    await recorder.close()
  })
}

test('a store that does not answer holds one batch; the rest waits in bounded memory', async () => {
  const reporter = quiet()
  const store = new HeldStore()
  const recorder = new UsageRecorder({
    store,
    batchSize: 100,
    maxQueued: 1_000,
    flushIntervalMs: 1,
    reporter
  })
  const exchange = ended()
  for (let n = 0; n < 50; n++) {
    for (let i = 0; i < 40; i++) recorder.record(exchange)
    recorder.flush().catch(() => undefined)
    await turn()
  }
  assert.deepEqual(
    store.batches.map(batch => batch.length),
    [40]
  )
  assert.deepEqual(recorder.stats, { queued: 1_000, stored: 0, lost: 1_000, unattributed: 0 })
  store.append = async () => {}
  store.answers[0].resolve()
  await recorder.close()
  assert.equal(recorder.stats.stored, 1_000)
})

test('a record that waits for another turn does not wait for another record', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const store = new ListStore()
  const recorder = new UsageRecorder({ store, batchSize: 1_024, flushIntervalMs: 100 })
  const exchange = ended()
  for (let i = 0; i < 1_024; i++) recorder.record(exchange)
  t.mock.timers.tick(0)
  // The batch is stored within this turn, and the interval passes for the record after it.
  for (let i = 0; i < 10; i++) await Promise.resolve()
  assert.equal(recorder.stats.stored, 1_024)
  recorder.record(exchange)
  t.mock.timers.tick(100)
  assert.equal(store.batches.length, 1)
  for (let n = 0; n < 3; n++) await turn()
  assert.deepEqual(
    store.batches.map(batch => batch.length),
    [1_024, 1]
  )
  await recorder.close()
})

test('flush rejects with what the store said; close counts what stays unstored, and happens once', async () => {
  const reporter = quiet()
  const store = new HeldStore()
  const recorder = new UsageRecorder({ store, reporter })
  recorder.record(ended())
  recorder.record(ended())
  const flushed = recorder.flush()
  store.answers[0].reject(new Error('disk full'))
  await assert.rejects(flushed, /disk full/)
  const closing = recorder.close()
  assert.equal(recorder.close(), closing)
  store.answers[1].reject(new Error('disk full'))
  await closing
  assert.equal(store.closed, 1)
  assert.equal(recorder.stats.lost, 2)
  assert.equal(reporter.counts.get('usage_lost'), 2)
  recorder.record(ended())
  assert.equal(recorder.stats.lost, 3)
})

test('a store that throws where it should reject, and one that cannot close, harm nothing', async () => {
  const reporter = quiet()
  const store = new ListStore()
  store.append = () => {
    throw new Error('thrown')
  }
  store.close = () => Promise.reject(new Error('stuck'))
  const recorder = new UsageRecorder({ store, reporter })
  recorder.record(ended())
  await recorder.close()
  assert.equal(reporter.counts.get('usage_lost'), 1)
  assert.equal(reporter.counts.get('usage_write'), 2)
})

test('a store that throws when it is closed is told, and closing still succeeds', async () => {
  for (const close of [
    () => {
      throw new Error('thrown')
    },
    undefined
  ]) {
    const reporter = quiet()
    const recorder = new UsageRecorder({ store: Object.assign(new ListStore(), { close }), reporter })
    await recorder.close()
    assert.deepEqual([...reporter.counts], [['usage_write', 1]])
  }
})

test('statistics do not wait for ever for records that the store does not take', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const store = new HeldStore()
  const recorder = new UsageRecorder({ store, reporter: quiet() })
  recorder.record(ended())
  const asking = recorder.getTokenUsageStats('ann@example.com')
  t.mock.timers.tick(5_000)
  await assert.rejects(asking, /not asked here/)
  assert.equal(store.batches.length, 1)
  assert.equal(recorder.stats.queued, 1)
  const closing = recorder.close()
  t.mock.timers.tick(5_000)
  await closing
})

test('closing does not wait for ever for a store that does not answer', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const reporter = quiet()
  const store = new HeldStore()
  store.close = () => new Promise(() => {})
  const recorder = new UsageRecorder({ store, reporter })
  recorder.record(ended())
  const closing = recorder.close()
  t.mock.timers.tick(5_000)
  await turn()
  t.mock.timers.tick(5_000)
  await closing
  assert.equal(recorder.stats.lost, 1)
  assert.deepEqual(
    [...reporter.counts],
    [
      ['usage_lost', 1],
      ['usage_write', 1]
    ]
  )
})

test('long texts are cut', async () => {
  const store = new ListStore()
  const recorder = new UsageRecorder({ store })
  recorder.record(ended({ path: `/${'p'.repeat(5_000)}`, userAgent: 'u'.repeat(5_000) }))
  await recorder.close()
  const [[record]] = store.batches
  assert.equal(record.endpoint, `/${'p'.repeat(1_023)}`)
  assert.equal(record.userAgent, 'u'.repeat(1_024))
})

test('statistics include what still waited', async () => {
  const recorder = new UsageRecorder({ store: new MemoryUsageStore() })
  for (let i = 0; i < 10; i++) recorder.record(ended({ status: i < 8 ? 200 : 403, tokenId: `jti-${i % 2}` }))
  const stats = await recorder.getTokenUsageStats('ann@example.com')
  assert.equal(stats.totalRequests, 10)
  assert.equal(stats.blockedRequests, 2)
  assert.equal(stats.successRate, 0.8)
  assert.equal(
    (await recorder.getTokenUsageStats('ann@example.com', { tokenId: 'jti-1', days: 1 })).totalRequests,
    5
  )
  await recorder.close()
  assert.equal((await recorder.getTokenUsageStats('ann@example.com')).totalRequests, 10)
})

test('a locked database: requests go on, statistics answer, and the records follow', async () => {
  const folder = temporaryFolder()
  const path = join(folder, 'usage.db')
  const reporter = quiet()
  const recorder = new UsageRecorder({ store: new SqliteUsageStore({ path, busyTimeoutMs: 5 }), reporter })
  recorder.record(ended())
  await recorder.flush()
  const other = sqliteDriver().open(path)
  other.exec('BEGIN IMMEDIATE')
  for (let i = 0; i < 100; i++) recorder.record(ended())
  assert.equal((await recorder.getTokenUsageStats('ann@example.com')).totalRequests, 1)
  assert.ok(reporter.counts.get('usage_write')! >= 1)
  assert.deepEqual(recorder.stats, { queued: 100, stored: 1, lost: 0, unattributed: 0 })
  other.exec('COMMIT')
  other.close()
  // An attempt that began under the lock may still fail.
  while (recorder.stats.queued > 0) await recorder.flush().catch(() => undefined)
  assert.equal((await recorder.getTokenUsageStats('ann@example.com')).totalRequests, 101)
  await recorder.close()
})

const endings: [how: string, ending: string, records?: number][] = [
  ['just exits', 'process.exit(0)'],
  ['has nothing else to do', ''],
  ['exits with a batch under way', 'recorder.flush(); setTimeout(() => process.exit(0))'],
  [
    'exits with a batch under way and more behind it',
    'recorder.flush(); for (let i = 0; i < 50; i++) recorder.record(exchange); process.exit(0)',
    750
  ]
]

for (const [how, ending, records = 700] of endings) {
  test(`a process that ${how} loses no record`, t => {
    const { path, count } = exiting(t, ending)
    assert.equal(count(path), records)
  })
}

/** Runs a process that records 700 requests and ends. */
function exiting(t: TestContext, ending: string): { path: string; count(path: string): number } {
  const folder = temporaryFolder()
  const path = join(folder, 'usage.db')
  const url = (name: string) =>
    JSON.stringify(pathToFileURL(join(import.meta.dirname, `../../lib/usage/${name}.ts`)).href)
  const program = `
    import { SqliteUsageStore } from ${url('sqlite-usage-store')}
    import { UsageRecorder } from ${url('usage-recorder')}
    // On a busy machine the thread may take longer than an exit waits for it, which is not what is asked here.
    const { wait } = Atomics
    Atomics.wait = (words, index, value) => wait(words, index, value)
    const recorder = new UsageRecorder({ store: new SqliteUsageStore({ path: ${JSON.stringify(path)} }), flushIntervalMs: 60_000 })
    const exchange = { authMethod: 'api_token', tokenId: 'jti-1', user: { id: 'u1', email: null }, path: '/', statusCode: 200,
      durationMs: 1, endedAt: performance.now(), denial: undefined, clientAddress: undefined, req: { method: 'GET', headers: {} } }
    for (let i = 0; i < 700; i++) recorder.record(exchange)
    ${ending}`
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', program],
    { encoding: 'utf8' }
  )
  assert.equal(status, 0, stderr)
  return {
    path,
    count(file) {
      const database = sqliteDriver().open(file)
      t.after(() => database.close())
      return (database.prepare('SELECT count(*) AS count FROM token_usage').all()[0] as { count: number })
        .count
    }
  }
}

const wrong: [Record<string, unknown> | undefined, RegExp][] = [
  [{}, /UsageRecorder: store must be a UsageStore, got undefined/],
  [{ store: {} }, /UsageRecorder: store must be a UsageStore, got \[object Object\]/],
  [
    { store: new HeldStore(), flushIntervalMs: 2 ** 31 },
    /UsageRecorder: flushIntervalMs must be a positive number of ms, got 2147483648/
  ],
  [undefined, /UsageRecorder: options must be an object, got undefined/],
  [
    { store: new HeldStore(), flushIntervalMs: 0 },
    /UsageRecorder: flushIntervalMs must be a positive integer, got 0/
  ],
  [
    { store: new HeldStore(), batchSize: 1.5 },
    /UsageRecorder: batchSize must be a positive integer, got 1.5/
  ],
  [{ store: new HeldStore(), maxQueued: '9' }, /UsageRecorder: maxQueued must be a positive integer, got 9/]
]

for (const [options, message] of wrong) {
  test(`refuses: ${message.source}`, () => assert.throws(() => new UsageRecorder(options as never), message))
}
