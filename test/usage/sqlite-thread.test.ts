import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { sqliteDriver } from '../../lib/usage/sqlite-driver.ts'
import { type SqliteInsert, SqliteThread } from '../../lib/usage/sqlite-thread.ts'
import { fc } from '../support/seeded.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const driver = sqliteDriver()

/** A database with one table of two columns. */
function database(): { folder: string; path: string } {
  const folder = temporaryFolder()
  const path = join(folder, 'test.db')
  const connection = driver.open(path)
  connection.exec('CREATE TABLE pairs (name TEXT NOT NULL, number REAL)')
  connection.close()
  return { folder, path }
}

function thread(t: TestContext, path: string, module = driver.module, busyTimeoutMs = 10): SqliteThread {
  const started = new SqliteThread({ path, module, busyTimeoutMs })
  t.after(() => started.close())
  return started
}

/** One row for each name, every one a group of its own. */
function pairs(...names: (string | null)[]): SqliteInsert {
  return groups(...names.map((name, i): [string | null, number[]] => [name, [i + 0.5]]))
}

/** Rows of one name for each list of numbers. */
function groups(...lists: [string | null, number[]][]): SqliteInsert {
  return {
    into: 'INSERT INTO pairs (name, number)',
    textsPerGroup: 1,
    numbersPerGroup: 0,
    numbersPerRow: 1,
    text: lists.map(([name]) => name ?? '').join(''),
    lengths: Int32Array.from(lists, ([name]) => name?.length ?? -1),
    numbers: Float64Array.from(lists.flatMap(([, numbers]) => [numbers.length, ...numbers]))
  }
}

const count = [{ sql: 'SELECT count(*) AS count FROM pairs', values: [] }]

test('inserts columns as rows and answers queries', async t => {
  const sqlite = thread(t, database().path)
  await sqlite.insert(pairs('a', 'b'))
  assert.deepEqual(
    await sqlite.query([
      ...count,
      { sql: 'SELECT * FROM pairs WHERE number > ? ORDER BY name', values: [1] }
    ]),
    [[{ count: 2 }], [{ name: 'b', number: 1.5 }]]
  )
})

test('every row of any number goes in, in order', async t => {
  const sqlite = thread(t, database().path)
  const names = Array.from({ length: 32 * 2 + 5 }, (_, i) => `row ${i}`)
  await sqlite.insert(pairs(...names))
  await sqlite.insert(pairs())
  const [rows] = await sqlite.query([{ sql: 'SELECT * FROM pairs ORDER BY rowid', values: [] }])
  assert.deepEqual(
    rows,
    names.map((name, i) => ({ name, number: i + 0.5 }))
  )
})

const texts = fc.option(
  fc.string({ unit: 'grapheme', maxLength: 4 }).filter(name => !name.includes('\0')),
  { nil: '' }
)
const sizes = fc.oneof(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 30, max: 70 }))

test('groups of any size become one row for each of their rows', async t => {
  const sqlite = thread(t, database().path)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(texts, sizes), { maxLength: 40 }), async shapes => {
      let n = 0
      const lists = shapes.map(([name, size]): [string, number[]] => [
        name,
        Array.from({ length: size }, () => ++n)
      ])
      await sqlite.insert(groups(...lists))
      const [rows] = await sqlite.query([
        { sql: 'SELECT name, number FROM pairs ORDER BY number', values: [] }
      ])
      assert.deepEqual(
        rows,
        lists.flatMap(([name, numbers]) => numbers.map(number => ({ name, number })))
      )
      await sqlite.query([{ sql: 'DELETE FROM pairs', values: [] }])
    }),
    { numRuns: 15 }
  )
})

test('what the rows of a group share is bound in its place', async t => {
  const { path } = database()
  const sqlite = thread(t, path)
  await sqlite.query([{ sql: 'CREATE TABLE wide (a, b, c, d, e)', values: [] }])
  await sqlite.insert({
    into: 'INSERT INTO wide (a, b, c, d, e)',
    textsPerGroup: 2,
    numbersPerGroup: 1,
    numbersPerRow: 2,
    text: 'onetwothree',
    lengths: Int32Array.of(3, -1, 3, 5),
    numbers: Float64Array.of(4, 100, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 1, 200, 5, 5.5)
  })
  const [rows] = await sqlite.query([{ sql: 'SELECT * FROM wide ORDER BY d', values: [] }])
  assert.deepEqual(rows, [
    ...[1, 2, 3, 4].map(d => ({ a: 'one', b: null, c: 100, d, e: d + 0.5 })),
    { a: 'two', b: 'three', c: 200, d: 5, e: 5.5 }
  ])
})

test('an error says what SQLite said, and leaves nothing half done', async t => {
  const sqlite = thread(t, database().path)
  await assert.rejects(sqlite.insert(pairs('a', null)), {
    name: 'SqliteError',
    message: 'NOT NULL constraint failed: pairs.name',
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
  await sqlite.insert(pairs('a'))
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
  const first = sqlite.insert(pairs('a'))
  sqlite.insertSync(pairs('b', 'c'), 600_000)
  const connection = driver.open(path)
  t.after(() => connection.close())
  assert.deepEqual({ ...(connection.prepare(count[0].sql).all()[0] as object) }, { count: 3 })
  await first
  assert.throws(() => sqlite.insertSync(pairs(null), 600_000), /could not insert/)
})

test('insertSync does not wait for ever', async t => {
  const { path } = database()
  const sqlite = thread(t, path, driver.module, 60_000)
  await sqlite.query(count)
  const connection = driver.open(path)
  connection.exec('BEGIN IMMEDIATE')
  assert.throws(() => sqlite.insertSync(pairs('a'), 20), /did not finish within 20 ms/)
  connection.exec('COMMIT')
  connection.close()
})

test('close finishes what was asked, and is safe to call twice', async () => {
  const { path } = database()
  const sqlite = new SqliteThread({ path, module: driver.module, busyTimeoutMs: 10 })
  const inserting = sqlite.insert(pairs('a'))
  await sqlite.close()
  await inserting
  await sqlite.close()
})
