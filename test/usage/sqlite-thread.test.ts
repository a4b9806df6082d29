import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { sqliteDriver } from '../../lib/usage/sqlite-driver.ts'
import { type SqliteInsert, SqliteThread } from '../../lib/usage/sqlite-thread.ts'

const driver = sqliteDriver()

/** A database with one table of two columns. */
function database(t: TestContext): { folder: string; path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'ostiary-sqlite-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
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
  const sqlite = thread(t, database(t).path)
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
  const sqlite = thread(t, database(t).path)
  const names = Array.from({ length: 32 * 2 + 5 }, (_, i) => `row ${i}`)
  await sqlite.insert(pairs(...names))
  await sqlite.insert(pairs())
  const [rows] = await sqlite.query([{ sql: 'SELECT * FROM pairs ORDER BY rowid', values: [] }])
  assert.deepEqual(
    rows,
    names.map((name, i) => ({ name, number: i + 0.5 }))
  )
})

test('an error says what SQLite said, and leaves nothing half done', async t => {
  const sqlite = thread(t, database(t).path)
  await assert.rejects(sqlite.insert(pairs('a', null)), {
    name: 'SqliteError',
    message: 'NOT NULL constraint failed: pairs.name',
    sqliteCode: 19
  })
  await assert.rejects(sqlite.query([{ sql: 'SELECT nonsense', values: [] }]), /no such column: nonsense/)
  assert.deepEqual(await sqlite.query(count), [[{ count: 0 }]])
})

test('a thread that dies rejects what it was asked, and the next request gets another', async t => {
  const { folder, path } = database(t)
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

test('a driver that cannot be loaded rejects every request', async t => {
  const { folder, path } = database(t)
  const sqlite = new SqliteThread({ path, module: join(folder, 'none.cjs'), busyTimeoutMs: 10 })
  await assert.rejects(sqlite.query(count), /Cannot find module/)
  await assert.rejects(sqlite.query(count), /Cannot find module/)
  await sqlite.close()
})

test('insertSync waits for everything, and says when it failed', async t => {
  const { path } = database(t)
  const sqlite = thread(t, path)
  const first = sqlite.insert(pairs('a'))
  sqlite.insertSync(pairs('b', 'c'), 10_000)
  const connection = driver.open(path)
  t.after(() => connection.close())
  assert.deepEqual({ ...(connection.prepare(count[0].sql).all()[0] as object) }, { count: 3 })
  await first
  assert.throws(() => sqlite.insertSync(pairs(null), 10_000), /could not insert/)
})

test('insertSync does not wait for ever', async t => {
  const { path } = database(t)
  const sqlite = thread(t, path, driver.module, 500)
  await sqlite.query(count)
  const connection = driver.open(path)
  connection.exec('BEGIN IMMEDIATE')
  assert.throws(() => sqlite.insertSync(pairs('a'), 20), /did not finish within 20 ms/)
  connection.exec('COMMIT')
  connection.close()
})

test('close finishes what was asked, and is safe to call twice', async t => {
  const { path } = database(t)
  const sqlite = new SqliteThread({ path, module: driver.module, busyTimeoutMs: 10 })
  const inserting = sqlite.insert(pairs('a'))
  await sqlite.close()
  await inserting
  await sqlite.close()
})
