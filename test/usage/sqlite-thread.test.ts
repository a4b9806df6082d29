import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { sqliteDriver } from '../../lib/usage/sqlite-driver.ts'
import { type SqliteInsert, type SqliteRow, SqliteThread } from '../../lib/usage/sqlite-thread.ts'
import { fc } from '../support/seeded.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const driver = sqliteDriver()

/** A database with one table. */
function database(): { folder: string; path: string } {
  const folder = temporaryFolder()
  const path = join(folder, 'test.db')
  const connection = driver.open(path)
  connection.exec('CREATE TABLE runs (name TEXT NOT NULL, code, first, last, count, total, list)')
  connection.close()
  return { folder, path }
}

function thread(t: TestContext, path: string, module = driver.module, busyTimeoutMs = 10): SqliteThread {
  const started = new SqliteThread({ path, module, busyTimeoutMs })
  t.after(() => started.close())
  return started
}

type Run = [name: string | null, moments: [at: number, measure: number][]]

function runs(...list: Run[]): SqliteInsert {
  return {
    one: 'INSERT INTO runs (name, code, first, total, last, count) SELECT *, column3, 1',
    many: 'INSERT INTO runs (name, code, first, total, last, count, list) SELECT *',
    textsPerRun: 1,
    numbersPerRun: 1,
    text: list.map(([name]) => name ?? '').join(''),
    lengths: Int32Array.from(list, ([name]) => name?.length ?? -1),
    numbers: Int32Array.from(list.flatMap(([, moments], i) => [moments.length, 100 + i])),
    moments: Float64Array.from(list.flatMap(([, moments]) => moments.flat()))
  }
}

/** One run of one moment for each name. */
function ones(...names: (string | null)[]): SqliteInsert {
  return runs(...names.map((name, i): Run => [name, [[i, i + 1]]]))
}

/** The row that a run is to have. */
function rowOf([name, moments]: Run, i: number): SqliteRow {
  const times = moments.map(([at]) => at)
  const first = Math.min(...times)
  return {
    name,
    code: 100 + i,
    first,
    last: Math.max(...times),
    count: moments.length,
    total: moments.reduce((sum, [, measure]) => sum + measure, 0),
    list: moments.length === 1 ? null : JSON.stringify(moments.map(([at, measure]) => [at - first, measure]))
  }
}

const count = [{ sql: 'SELECT count(*) AS count FROM runs', values: [] }]

test('inserts runs as rows and answers queries', async t => {
  const sqlite = thread(t, database().path)
  await sqlite.insert(ones('a', 'b'))
  assert.deepEqual(
    await sqlite.query([
      ...count,
      { sql: 'SELECT name, total FROM runs WHERE total > ? ORDER BY name', values: [1] }
    ]),
    [[{ count: 2 }], [{ name: 'b', total: 2 }]]
  )
})

test('every row of any number goes in, in order', async t => {
  const sqlite = thread(t, database().path)
  const names = Array.from({ length: 128 * 2 + 77 }, (_, i) => `row ${i}`)
  await sqlite.insert(ones(...names))
  await sqlite.insert(ones())
  const [rows] = await sqlite.query([{ sql: 'SELECT name, code FROM runs ORDER BY rowid', values: [] }])
  assert.deepEqual(
    rows,
    names.map((name, i) => ({ name, code: 100 + i }))
  )
})

test('a run has its first and last time, its sum, and a list with times counted from the first', async t => {
  const sqlite = thread(t, database().path)
  const at = 1.9e12
  const hour = 3.6e9
  await sqlite.insert(
    runs(
      [
        'a',
        [
          [at + 5, 7],
          [at, 2.5 * hour],
          [at + 9, 0]
        ]
      ],
      ['b', [[at, 1]]]
    )
  )
  const [rows] = await sqlite.query([{ sql: 'SELECT * FROM runs ORDER BY name', values: [] }])
  assert.deepEqual(rows, [
    {
      name: 'a',
      code: 100,
      first: at,
      last: at + 9,
      count: 3,
      total: 9_000_000_007,
      list: '[[5,7],[0,9000000000],[9,0]]'
    },
    { name: 'b', code: 101, first: at, last: at, count: 1, total: 1, list: null }
  ])
})

const texts = fc.option(
  fc.string({ unit: 'grapheme', maxLength: 4 }).filter(name => !name.includes('\0')),
  { nil: '' }
)
const whole = fc.oneof(fc.integer({ min: 0, max: 99 }), fc.integer({ min: 0, max: 2 ** 52 }))
const moments = fc.array(fc.tuple(whole, whole), { minLength: 1, maxLength: 5 })

test('any runs become one row each', async t => {
  const sqlite = thread(t, database().path)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(texts, moments), { maxLength: 120 }), async list => {
      await sqlite.insert(runs(...list))
      const [rows] = await sqlite.query([{ sql: 'SELECT * FROM runs ORDER BY code', values: [] }])
      assert.deepEqual(rows, list.map(rowOf))
      await sqlite.query([{ sql: 'DELETE FROM runs', values: [] }])
    }),
    { numRuns: 15 }
  )
})

test('texts and numbers that runs share are bound in their places', async t => {
  const { path } = database()
  const sqlite = thread(t, path)
  await sqlite.query([{ sql: 'CREATE TABLE wide (a, b, c, d, e, f, g, h)', values: [] }])
  await sqlite.insert({
    one: 'INSERT INTO wide (a, b, c, d, e, f) SELECT *',
    many: 'INSERT INTO wide (a, b, c, d, e, f, g, h) SELECT column1, column2, column3, column4, column5, column6, column8, column9',
    textsPerRun: 2,
    numbersPerRun: 2,
    text: 'onetwothreefour',
    lengths: Int32Array.of(3, -1, 3, 5, -1, 4),
    numbers: Int32Array.of(1, 100, -1, 2, 200, -2, 1, 300, -3),
    moments: Float64Array.of(7, 70, 8, 80, 9, 90, 10, 100)
  })
  const [rows] = await sqlite.query([{ sql: 'SELECT * FROM wide ORDER BY e', values: [] }])
  assert.deepEqual(rows, [
    { a: 'one', b: null, c: 100, d: -1, e: 7, f: 70, g: null, h: null },
    { a: 'two', b: 'three', c: 200, d: -2, e: 8, f: 170, g: 2, h: '[[0,80],[1,90]]' },
    { a: null, b: 'four', c: 300, d: -3, e: 10, f: 100, g: null, h: null }
  ])
})

test('an error says what SQLite said, and leaves nothing half done', async t => {
  const sqlite = thread(t, database().path)
  await assert.rejects(sqlite.insert(ones('a', null)), {
    name: 'SqliteError',
    message: 'NOT NULL constraint failed: runs.name',
    sqliteCode: 19
  })
  await assert.rejects(sqlite.query([{ sql: 'SELECT nonsense', values: [] }]), /no such column: nonsense/)
  assert.deepEqual(await sqlite.query(count), [[{ count: 0 }]])
})

test('a thread that dies rejects what it was asked, and the next request gets another', async t => {
  const { folder, path } = database()
  // The real driver, in a module that takes the thread down when told to.
  const module = join(folder, 'driver.cjs')
  writeFileSync(
    module,
    `const driver = require(${JSON.stringify(driver.module)})
     const Database = driver.DatabaseSync ?? driver
     class Mortal extends Database {
       prepare(sql) {
         if (sql.includes('die')) process.exit(3)
         return super.prepare(sql)
       }
     }
     module.exports = driver.DatabaseSync ? { DatabaseSync: Mortal } : Mortal`
  )
  const sqlite = thread(t, path, module)
  await sqlite.insert(ones('a'))
  const dying = sqlite.query([{ sql: 'SELECT 1 AS die', values: [] }])
  const after = sqlite.query(count)
  await assert.rejects(dying, /the SQLite thread ended with code 3/)
  await assert.rejects(after, /the SQLite thread ended with code 3/)
  assert.deepEqual(await sqlite.query(count), [[{ count: 1 }]])
})

test('a driver that cannot be loaded rejects every request', async () => {
  const { folder, path } = database()
  const sqlite = new SqliteThread({ path, module: join(folder, 'none.cjs'), busyTimeoutMs: 10 })
  await assert.rejects(sqlite.query(count), /Cannot find module/)
  await assert.rejects(sqlite.query(count), /Cannot find module/)
  await sqlite.close()
})

test('insertSync waits for everything, and says when it failed', async t => {
  const { path } = database()
  const sqlite = thread(t, path)
  const first = sqlite.insert(ones('a'))
  sqlite.insertSync(ones('b', 'c'), 600_000)
  const connection = driver.open(path)
  t.after(() => connection.close())
  assert.deepEqual({ ...(connection.prepare(count[0].sql).all()[0] as object) }, { count: 3 })
  await first
  assert.throws(() => sqlite.insertSync(ones(null), 600_000), /could not insert/)
})

test('insertSync does not wait for ever', async t => {
  const { path } = database()
  const sqlite = thread(t, path, driver.module, 60_000)
  await sqlite.query(count)
  const connection = driver.open(path)
  connection.exec('BEGIN IMMEDIATE')
  assert.throws(() => sqlite.insertSync(ones('a'), 20), /did not finish within 20 ms/)
  connection.exec('COMMIT')
  connection.close()
})

test('close finishes what was asked, and is safe to call twice', async () => {
  const { path } = database()
  const sqlite = new SqliteThread({ path, module: driver.module, busyTimeoutMs: 10 })
  const inserting = sqlite.insert(ones('a'))
  await sqlite.close()
  await inserting
  await sqlite.close()
})
