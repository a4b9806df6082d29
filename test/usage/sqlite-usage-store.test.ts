import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import type { Exchange, Identity } from '../../lib/http/exchange.ts'
import { MemoryUsageStore } from '../../lib/usage/memory-usage-store.ts'
import { type SqliteDatabase, type SqliteDriverName, sqliteDriver } from '../../lib/usage/sqlite-driver.ts'
import { usageQueries } from '../../lib/usage/sqlite-usage-schema.ts'
import { SqliteUsageStore } from '../../lib/usage/sqlite-usage-store.ts'
import { UsageQueue } from '../../lib/usage/usage-queue.ts'
import type { UsageRecord } from '../../lib/usage/usage-store.ts'
import { fc } from '../support/seeded.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { now, record, storeContract } from './store-contract.ts'

const drivers: SqliteDriverName[] = ['libsql']
if (sqliteDriver().name === 'node:sqlite') drivers.push('node:sqlite')

/** Each makes a record another than the one before; nothing else about it changes. */
const oneChange: Partial<UsageRecord>[] = [
  {},
  { timestamp: new Date(now - 5_000) },
  { tokenJti: 'jti-2' },
  { tokenJti: 'jti' },
  { userEmail: 'bob@example.com' },
  { endpoint: '/a' },
  { endpoint: '/\u{1f600}' },
  { endpoint: '' },
  { method: 'POST' },
  { ipAddress: null },
  { userAgent: null },
  { userAgent: '' },
  { statusCode: 401 },
  { blocked: true },
  { blockReason: 'http_401' }
]
const anyMixture = fc.array(fc.constantFrom(...oneChange), { minLength: 20, maxLength: 120 })

/** Requests as they end: few kinds, so that there are runs, at times on both sides of where a period begins. */
const anyRequests = fc.array(
  fc
    .record({
      path: fc.constantFrom('/a', '/b'),
      statusCode: fc.constantFrom(200, 401, 500),
      refused: fc.boolean(),
      tokenId: fc.constantFrom('jti-1', 'jti-2'),
      email: fc.constantFrom('ann@example.com', 'bob@example.com'),
      ago: fc.oneof(fc.integer({ min: -3, max: 3 }), fc.integer({ min: 0, max: 100_000 })),
      durationMs: fc.double({ min: 0, max: 5, noNaN: true })
    })
    .map(({ tokenId, email, ago, refused, ...rest }) => ({
      exchange: {
        req: { method: 'GET', headers: {} },
        clientAddress: undefined,
        denial: refused ? { stage: 'auth', reason: 'expired' } : undefined,
        ...rest
      } as unknown as Exchange,
      user: { id: 'id', email } as Identity,
      tokenId,
      at: now - 86_400_000 + ago
    })),
  { maxLength: 120 }
)

const noShell = existsSync('/bin/sh') ? false : 'there is no /bin/sh'

function moduleUrl(name: string): string {
  return JSON.stringify(pathToFileURL(join(import.meta.dirname, `../../lib/usage/${name}.ts`)).href)
}

function databaseAt(t: TestContext, path: string, driver?: SqliteDriverName): SqliteDatabase {
  const database = sqliteDriver(driver).open(path)
  t.after(() => database.close())
  return database
}

for (const driver of drivers) {
  /** Threads of one store get in each other's way for a moment while they connect: by default they wait as long as it takes. */
  const open = (
    t: TestContext,
    path = join(temporaryFolder(), 'usage.db'),
    busyTimeoutMs = 600_000
  ): SqliteUsageStore => {
    const store = new SqliteUsageStore({ path, driver, busyTimeoutMs, clock: () => now })
    t.after(() => store.close())
    return store
  }

  storeContract(driver, t => open(t))

  test(`${driver}: a private file in WAL mode, and one clean file after closing`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const store = open(t, path)
    assert.equal(store.driver, driver)
    await store.append([record()])
    for (const file of [path, `${path}-wal`]) assert.equal(statSync(file).mode & 0o777, 0o600)
    const { journal_mode } = databaseAt(t, path, driver).prepare('PRAGMA journal_mode').all()[0] as {
      journal_mode: string
    }
    assert.equal(journal_mode, 'wal')
  })

  test(`${driver}: the row has the fields, under their snake_case names`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const store = open(t, path)
    await store.append([
      record({
        statusCode: 401,
        blocked: true,
        blockReason: 'revoked_or_expired',
        responseTimeMs: 1.25,
        userAgent: null
      })
    ])
    const row = databaseAt(t, path, driver).prepare('SELECT * FROM token_usage').all()[0] as Record<
      string,
      unknown
    >
    assert.deepEqual(
      { ...row },
      {
        id: 1,
        token_jti: 'jti-1',
        user_email: 'ann@example.com',
        timestamp: now - 1_000,
        endpoint: '/orders',
        method: 'GET',
        ip_address: '192.0.2.1',
        user_agent: null,
        status_code: 401,
        response_time_ms: 1.25,
        blocked: 1,
        block_reason: 'revoked_or_expired'
      }
    )
  })

  test(`${driver}: statistics look up the user's rows in the index, and so does a look by hand`, t => {
    const path = join(temporaryFolder(), 'usage.db')
    open(t, path)
    const database = databaseAt(t, path, driver)
    const byHand = ['token_usage', 'token_usage_runs'].map(name => ({
      sql: `SELECT * FROM ${name} WHERE user_email = ?`,
      values: ['a']
    }))
    for (const { sql, values } of [...usageQueries('a', 'jti', 0), ...byHand]) {
      const plan = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...values) as { detail: string }[]
      const onTable = plan.map(({ detail }) => detail).filter(detail => detail.includes('token_usage_runs'))
      assert.ok(onTable.length > 0)
      for (const detail of onTable) {
        assert.match(
          detail,
          /SEARCH .* INDEX token_usage_by_user \(ANY\(<expr>\) AND user_email=\?( AND last_at>\?)?\)/
        )
      }
    }
  })

  test(`${driver}: many users' rows in one batch dirty few pages`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const store = open(t, path)
    // Enough of them that an index by user would have far more pages than a batch should dirty.
    const batch = (from: number) =>
      Array.from({ length: 2_000 }, (_, i) =>
        record({ userEmail: `user-${(from + i * 7) % 9_973}@example.com` })
      )
    for (let n = 0; n < 20; n++) await store.append(batch(n * 2_000))
    const database = databaseAt(t, path, driver)
    database.exec('PRAGMA wal_checkpoint(RESTART)')
    await store.append(batch(40_000))
    const [{ log }] = database.prepare('PRAGMA wal_checkpoint(PASSIVE)').all() as { log: number }[]
    assert.ok(log > 0 && log < 200, `${log} pages`)
  })

  test(`${driver}: a file with another index goes on being used`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    await open(t, path).append([record()])
    const database = databaseAt(t, path, driver)
    database.exec('DROP INDEX token_usage_by_user')
    database.exec('CREATE INDEX token_usage_by_user ON token_usage_runs (user_email, last_at)')
    database.exec('DROP TABLE sqlite_stat1')
    const again = open(t, path)
    await again.append([record()])
    assert.equal((await again.stats({ userEmail: 'ann@example.com' })).totalRequests, 2)
  })

  test(`${driver}: any mixture of records is stored as it was`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const store = open(t, path)
    const database = databaseAt(t, path, driver)
    let n = 0
    await fc.assert(
      fc.asyncProperty(anyMixture, async mixture => {
        const from = n
        const records = mixture.map(change => record({ ...change, responseTimeMs: ++n }))
        await store.append(records)
        const rows = database
          .prepare('SELECT * FROM token_usage WHERE response_time_ms > ? ORDER BY response_time_ms')
          .all(from) as Record<string, unknown>[]
        assert.deepEqual(
          rows.map(({ id: _, ...row }) => ({ ...row })),
          records.map(one => ({
            token_jti: one.tokenJti,
            user_email: one.userEmail,
            timestamp: one.timestamp.getTime(),
            endpoint: one.endpoint,
            method: one.method,
            ip_address: one.ipAddress,
            user_agent: one.userAgent,
            status_code: one.statusCode,
            response_time_ms: one.responseTimeMs,
            blocked: one.blocked ? 1 : 0,
            block_reason: one.blockReason
          }))
        )
      }),
      { numRuns: 30 }
    )
  })

  test(`${driver}: what a queue hands over in runs is what it hands over as records`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const store = open(t, path)
    const memory = new MemoryUsageStore({ clock: () => now })
    const database = databaseAt(t, path, driver)
    await fc.assert(
      fc.asyncProperty(anyRequests, fc.integer({ min: 1, max: 60 }), async (requests, batchSize) => {
        const queue = new UsageQueue(64)
        while (requests.length > 0 || queue.size > 0) {
          for (const { exchange, user, tokenId, at } of requests.splice(0, 40)) {
            if (!queue.add(exchange, user, tokenId, at)) break
          }
          const count = Math.min(batchSize, queue.size)
          await store.appendRuns(queue.readRuns(count))
          await memory.append(queue.read(count))
          queue.release(count)
        }
        for (const query of [
          { userEmail: 'ann@example.com', days: 1 },
          { userEmail: 'ann@example.com', tokenId: 'jti-2', days: 1 },
          { userEmail: 'bob@example.com' }
        ]) {
          const { averageResponseTimeMs, ...stats } = await store.stats(query)
          const { averageResponseTimeMs: expectedAverage, ...expected } = await memory.stats(query)
          assert.deepEqual(stats, expected)
          assert.ok(Math.abs(averageResponseTimeMs - expectedAverage) < 1e-6)
        }
        const [{ total, ids }] = database
          .prepare('SELECT count(*) AS total, count(DISTINCT id) AS ids FROM token_usage')
          .all() as { total: number; ids: number }[]
        assert.deepEqual([total, ids], [memory.stored.records, memory.stored.records])
      }),
      { numRuns: 20 }
    )
  })

  test(`${driver}: a run has one row, unless it is too long for one`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const store = open(t, path)
    await store.append(
      Array.from({ length: 2_500 }, (_, i) =>
        record({ timestamp: new Date(now - i), responseTimeMs: 1 + i / 1_000, tokenJti: `jti-${i & 1}` })
      )
    )
    const database = databaseAt(t, path, driver)
    const rows = database
      .prepare(
        'SELECT token_jti AS jti, request_count AS count, last_at - first_at AS lasted, total_us AS us FROM token_usage_runs'
      )
      .all() as { jti: string; count: number; lasted: number; us: number }[]
    const sum = (from: number, count: number) => count * (1_000 + from) + count * (count - 1)
    assert.deepEqual(rows.map(({ jti, count, lasted, us }) => [jti, count, lasted, us]).sort(), [
      ['jti-0', 1_024, 2_046, sum(0, 1_024)],
      ['jti-0', 226, 450, sum(2_048, 226)],
      ['jti-1', 1_024, 2_046, sum(1, 1_024)],
      ['jti-1', 226, 450, sum(2_049, 226)]
    ])
    const requests = database
      .prepare('SELECT id, timestamp, response_time_ms AS ms FROM token_usage ORDER BY timestamp DESC')
      .all() as { id: number; timestamp: number; ms: number }[]
    assert.equal(new Set(requests.map(({ id }) => id)).size, 2_500)
    assert.deepEqual(
      requests.map(({ timestamp, ms }) => [timestamp, ms]),
      Array.from({ length: 2_500 }, (_, i) => [now - i, (1_000 + i) / 1_000])
    )
  })

  test(`${driver}: response times are kept in whole µs`, async t => {
    const store = open(t)
    await store.append([record({ responseTimeMs: 1.0004 }), record({ responseTimeMs: 2.0006 })])
    const { p50ResponseTimeMs, p99ResponseTimeMs } = await store.stats({ userEmail: 'ann@example.com' })
    assert.deepEqual([p50ResponseTimeMs, p99ResponseTimeMs], [1, 2.001])
  })

  for (const wrong of [
    { responseTimeMs: Number.NaN },
    { responseTimeMs: Number.POSITIVE_INFINITY },
    { responseTimeMs: undefined as never },
    { timestamp: new Date(Number.NaN) }
  ]) {
    test(`${driver}: a batch with ${JSON.stringify(wrong)} is stored not at all`, async t => {
      const store = open(t)
      await assert.rejects(store.append([record(), record(wrong)]), /no timestamp or no responseTimeMs/)
      assert.equal((await store.stats({ userEmail: 'ann@example.com' })).totalRequests, 0)
    })
  }

  test(`${driver}: more questions at once than it queues are refused, not hoarded`, async t => {
    const store = open(t)
    const asked = await Promise.allSettled(
      Array.from({ length: 103 }, () => store.stats({ userEmail: 'ann@example.com' }))
    )
    assert.equal(asked.filter(({ status }) => status === 'fulfilled').length, 100)
    assert.match(
      String((asked[102] as PromiseRejectedResult).reason),
      /100 statistics are being worked on; ask again later/
    )
    assert.equal((await store.stats({ userEmail: 'ann@example.com' })).totalRequests, 0)
  })

  test(`${driver}: what was stored is there when the file is opened again`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const first = open(t, path)
    await first.append([record(), record()])
    await first.close()
    assert.equal(existsSync(`${path}-wal`), false)
    const second = open(t, path)
    await second.append([record()])
    assert.equal((await second.stats({ userEmail: 'ann@example.com' })).totalRequests, 3)
  })

  test(`${driver}: a locked database rejects the batch, stores none of it, and takes it later`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const store = open(t, path, 20)
    await store.append([record()])
    const other = databaseAt(t, path, driver)
    other.exec('BEGIN IMMEDIATE')
    await assert.rejects(store.append([record(), record()]), { message: 'database is locked', sqliteCode: 5 })
    // Readers go on.
    assert.equal((await store.stats({ userEmail: 'ann@example.com' })).totalRequests, 1)
    other.exec('COMMIT')
    await store.append([record(), record()])
    assert.equal((await store.stats({ userEmail: 'ann@example.com' })).totalRequests, 3)
  })

  test(`${driver}: a database that is locked at the start is used when the lock is gone`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const other = databaseAt(t, path, driver)
    other.exec('BEGIN EXCLUSIVE')
    const store = open(t, path, 20)
    await assert.rejects(store.append([record()]), /locked/)
    other.exec('COMMIT')
    await store.append([record()])
    assert.equal((await store.stats({ userEmail: 'ann@example.com' })).totalRequests, 1)
  })

  test(`${driver}: a file that went away before the first batch is made again`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const store = open(t, path)
    rmSync(path)
    await assert.rejects(store.append([record()]), /no such table/)
    await store.append([record()])
    assert.equal((await store.stats({ userEmail: 'ann@example.com' })).totalRequests, 1)
  })

  test(`${driver}: a batch with a record that does not fit is stored not at all`, async t => {
    const store = open(t)
    await assert.rejects(
      store.append([record(), record({ endpoint: null as never })]),
      /NOT NULL constraint failed/
    )
    await store.append([record()])
    assert.equal((await store.stats({ userEmail: 'ann@example.com' })).totalRequests, 1)
  })

  test(`${driver}: when the disk takes no more, batches are rejected whole`, { skip: noShell }, t => {
    const path = join(temporaryFolder(), 'usage.db')
    const program = `
      import { SqliteUsageStore } from ${moduleUrl('sqlite-usage-store')}
      const store = new SqliteUsageStore({ path: ${JSON.stringify(path)}, driver: '${driver}' })
      const batch = ${JSON.stringify(Array.from({ length: 100 }, () => record()))}
      for (const one of batch) one.timestamp = new Date(one.timestamp)
      let stored = 0
      try {
        for (; stored < 10_000; stored += batch.length) await store.append(batch)
      } catch (error) {
        console.log(JSON.stringify({ stored, message: error.message }))
      }
      process.reallyExit(0)`
    // A file size limit is the full disk that needs no privilege; the signal that comes with it is ignored.
    const { stdout, stderr } = spawnSync(
      'sh',
      [
        '-c',
        `trap '' XFSZ; ulimit -f 200; exec "$0" --import tsx --input-type=module --eval "$1"`,
        process.execPath,
        program
      ],
      { encoding: 'utf8' }
    )
    assert.match(stdout, /^\{/, stderr)
    const { stored, message } = JSON.parse(stdout) as { stored: number; message: string }
    assert.match(message, /disk/)
    assert.ok(stored > 0 && stored < 10_000)
    const [{ count }] = databaseAt(t, path, driver)
      .prepare('SELECT count(*) AS count FROM token_usage')
      .all() as {
      count: number
    }[]
    assert.equal(count, stored)
  })

  test(`${driver}: a store that wrote nothing yet does not keep a process alive`, () => {
    const path = join(temporaryFolder(), 'usage.db')
    const program = `
      import { SqliteUsageStore } from ${moduleUrl('sqlite-usage-store')}
      new SqliteUsageStore({ path: ${JSON.stringify(path)}, driver: '${driver}' })`
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', program],
      // Far longer than it takes: it would live for ever.
      { encoding: 'utf8', timeout: 600_000 }
    )
    assert.equal(status, 0, stderr)
  })

  test(`${driver}: several writers share one file`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const stores = Array.from({ length: 3 }, () => open(t, path))
    await Promise.all(
      stores.flatMap(store =>
        Array.from({ length: 10 }, () => store.append(Array.from({ length: 50 }, () => record())))
      )
    )
    assert.equal((await stores[0].stats({ userEmail: 'ann@example.com' })).totalRequests, 1_500)
  })

  test(`${driver}: close while writing keeps every batch that was taken`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const store = open(t, path)
    const writing = Array.from({ length: 20 }, () =>
      store.append(Array.from({ length: 100 }, () => record()))
    )
    const asking = store.stats({ userEmail: 'ann@example.com' })
    await store.close()
    await Promise.all([...writing, asking])
    await assert.rejects(store.append([record()]), /append after close/)
    await assert.rejects(store.stats({ userEmail: 'a' }), /stats after close/)
    const again = open(t, path)
    assert.equal((await again.stats({ userEmail: 'ann@example.com' })).totalRequests, 2_000)
  })

  test(`${driver}: appendSync stores after what is under way`, async t => {
    const path = join(temporaryFolder(), 'usage.db')
    const store = open(t, path)
    const writing = store.append(Array.from({ length: 2_000 }, () => record()))
    // As long as it takes: a busy machine may need more than an exit has.
    const { wait } = Atomics
    t.mock.method(Atomics, 'wait', (words: Int32Array, index: number, value: number) =>
      wait(words, index, value)
    )
    store.appendSync([record()])
    const { count } = databaseAt(t, path, driver)
      .prepare('SELECT count(*) AS count FROM token_usage')
      .all()[0] as { count: number }
    assert.equal(count, 2_001)
    await writing
  })

  const unusable: [string, (dir: string) => string, RegExp][] = [
    ['a folder that does not exist', dir => join(dir, 'no', 'usage.db'), /ENOENT/],
    ['a folder', dir => dir, /EISDIR/],
    ['a read-only folder', dir => readOnly(dir, join(dir, 'usage.db')), /EACCES/],
    ['a read-only file', dir => readOnly(written(join(dir, 'usage.db'), '')), /EACCES/],
    [
      'a file that is no database',
      dir => written(join(dir, 'usage.db'), 'no database '.repeat(500)),
      /file is not a database/
    ],
    ["another program's database", foreign, /belongs to another program/],
    ['a later schema', dir => versioned(dir, 9), /schema version 9, and this version of ostiary knows 2/],
    ['an earlier schema', dir => versioned(dir, 1), /schema version 1, and this version of ostiary knows 2/]
  ]

  function readOnly(path: string, answer = path): string {
    chmodSync(path, 0o555)
    return answer
  }

  function written(path: string, text: string): string {
    writeFileSync(path, text)
    return path
  }

  function foreign(dir: string): string {
    const path = join(dir, 'usage.db')
    const database = sqliteDriver(driver).open(path)
    database.exec('CREATE TABLE theirs (a)')
    database.close()
    return path
  }

  function versioned(dir: string, version: number): string {
    const path = join(dir, 'usage.db')
    const database = sqliteDriver(driver).open(path)
    database.exec(`PRAGMA application_id = 0x4f737469; PRAGMA user_version = ${version}`)
    database.close()
    return path
  }

  for (const [what, pathIn, cause] of unusable) {
    test(`${driver}: ${what} is a clear error at construction`, () => {
      const dir = temporaryFolder()
      chmodSync(dir, 0o755)
      const path = pathIn(dir)
      const before = existsSync(path) && statSync(path).isFile() ? readFileSync(path) : undefined
      assert.throws(
        () => unprivileged(/EACCES/.test(cause.source), () => new SqliteUsageStore({ path, driver })),
        (error: Error) => {
          assert.ok(
            error.message.startsWith(`SqliteUsageStore: path ${JSON.stringify(path)} cannot be used: `)
          )
          assert.match(error.message, cause)
          return true
        }
      )
      if (before !== undefined) assert.deepEqual(readFileSync(path), before)
    })
  }
}

/** Runs as nobody when the tests run as root, who may write anywhere. */
function unprivileged<T>(wanted: boolean, run: () => T): T {
  const privileged = wanted && process.geteuid?.() === 0
  if (privileged) process.seteuid?.(65_534)
  try {
    return run()
  } finally {
    if (privileged) process.seteuid?.(0)
  }
}

const wrong: [Record<string, unknown>, RegExp][] = [
  [{}, /SqliteUsageStore: path must name a file, got undefined/],
  [{ path: '' }, /SqliteUsageStore: path must name a file, got ""/],
  [{ path: ':memory:' }, /SqliteUsageStore: path must name a file, got ":memory:"/],
  [{ path: 'x', driver: 'mysql' }, /SqliteUsageStore: driver must be 'node:sqlite' or 'libsql', got "mysql"/],
  [{ path: 'x', busyTimeoutMs: -1 }, /SqliteUsageStore: busyTimeoutMs must be a non-negative integer, got -1/]
]

for (const [options, message] of wrong) {
  test(`refuses the options ${JSON.stringify(options)}`, () => {
    assert.throws(() => new SqliteUsageStore(options as never), message)
  })
}
