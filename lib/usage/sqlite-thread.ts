/**
 * A thread that SQLite runs on. Both drivers are synchronous: a commit, a checkpoint, a lock or a long query would hold up
 * every request if they ran beside them.
 */
import { Worker } from 'node:worker_threads'

export interface SqliteThreadOptions {
  path: string
  /** What `require` finds the driver by. */
  module: string
  busyTimeoutMs: number
}

/**
 * Runs to insert in one transaction, one row for each: one text and a few typed arrays cross to another thread more cheaply
 * than thousands of strings, and what the moments of a run have in common is bound once.
 */
export interface SqliteInsert {
  /** For runs of one moment: `INSERT INTO table (columns) SELECT *` of its texts, its numbers, when it was, its measure. */
  readonly one: string
  /** For longer ones: of its texts, its numbers, the first time, the sum of the measures, the last time, how many moments, the list. */
  readonly many: string
  readonly textsPerRun: number
  readonly numbersPerRun: number
  /** The texts of all runs, one after the other. */
  readonly text: string
  /** How long each of them is; -1 for NULL. */
  readonly lengths: Int32Array
  /** For each run: how many moments it has, and its numbers. */
  readonly numbers: Int32Array
  /** For each moment of each run: when it was, and its measure, whole numbers. The list is their JSON, with times counted from the first. */
  readonly moments: Float64Array
}

export interface SqliteQuery {
  readonly sql: string
  readonly values: readonly (string | number | null)[]
}

export type SqliteRow = Readonly<Record<string, string | number | null>>

/** Says with `sqliteCode` what SQLite's result code was; 5 is SQLITE_BUSY. */
export class SqliteError extends Error {
  readonly sqliteCode: number | undefined

  constructor(message: string, sqliteCode: number | undefined) {
    super(message)
    this.name = 'SqliteError'
    this.sqliteCode = sqliteCode
  }
}

interface Reply {
  id: number
  rows: SqliteRow[][]
  failure?: { message: string; sqliteCode: number | undefined }
}

interface Pending {
  resolve(rows: SqliteRow[][]): void
  reject(error: Error): void
}

/**
 * What the thread runs: CommonJS, as text, so that bundlers and loaders of TypeScript have nothing to resolve. After a failure
 * other than a lock, the next request gets a fresh connection: the file may have been mended or replaced. Parameters have no
 * numbers, although a value could then be bound once for two columns: node:sqlite looks for the name of each among all.
 */
const threadSource = `
const { parentPort, workerData } = require('node:worker_threads')
const { path, module: name, busyTimeoutMs, progress } = workerData
const driver = require(name)
const Database = driver.DatabaseSync ?? driver
// To call a driver costs as much as a row.
const rowsPerStatement = 128
const busy = 5
let database
let statements

parentPort.on('message', request => {
  const reply = { id: request.id, rows: [] }
  try {
    if (request.close) disconnect()
    else run(request, reply.rows)
  } catch (error) {
    const code = error.errcode ?? error.rawCode
    reply.failure = { message: error.message, sqliteCode: code === undefined ? undefined : code & 0xff }
    rollback()
    if (reply.failure.sqliteCode !== busy) disconnect()
  }
  parentPort.postMessage(reply)
  if (reply.failure) Atomics.store(progress, 1, request.id)
  Atomics.store(progress, 0, request.id)
  Atomics.notify(progress, 0)
  if (request.close) parentPort.close()
})

function run({ insert, queries }, rows) {
  if (database === undefined) connect()
  database.exec(insert ? 'BEGIN IMMEDIATE' : 'BEGIN')
  if (insert) insertRuns(insert)
  else for (const { sql, values } of queries) rows.push(prepared(sql).all(...values).map(row => ({ ...row })))
  database.exec('COMMIT')
}

function insertRuns({ one, many, textsPerRun, numbersPerRun, text, lengths, numbers, moments }) {
  const shared = textsPerRun + numbersPerRun
  const ones = []
  const lists = []
  for (let t = 0, n = 0, m = 0, at = 0; n < numbers.length; ) {
    const size = numbers[n++]
    const values = size === 1 ? ones : lists
    for (const end = t + textsPerRun; t < end; t++) {
      values.push(lengths[t] < 0 ? null : text.slice(at, (at += lengths[t])))
    }
    for (const end = n + numbersPerRun; n < end; n++) values.push(numbers[n])
    if (size === 1) values.push(moments[m++], moments[m++])
    else addMoments(values, moments.subarray(m, (m += 2 * size)))
  }
  insertRows(one, shared + 2, ones)
  insertRows(many, shared + 5, lists)
}

function addMoments(values, moments) {
  let first = moments[0]
  let last = first
  for (let m = 2; m < moments.length; m += 2) {
    if (moments[m] < first) first = moments[m]
    else if (moments[m] > last) last = moments[m]
  }
  let total = 0
  let list = ''
  for (let m = 0; m < moments.length; m += 2) {
    total += moments[m + 1]
    list += (m === 0 ? '[[' : '],[') + (moments[m] - first) + ',' + moments[m + 1]
  }
  values.push(first, total, last, moments.length / 2, list + ']]')
}

function insertRows(insert, width, values) {
  const row = '(' + Array(width).fill('?') + ')'
  for (let at = 0; at < values.length; ) {
    // Powers of two: few statements to prepare.
    const rows = Math.min(rowsPerStatement, 2 ** Math.floor(Math.log2((values.length - at) / width)))
    const statement = remembered(rows + insert, () => insert + ' FROM (VALUES ' + Array(rows).fill(row) + ')')
    execute(statement, values.slice(at, (at += rows * width)))
  }
}

function execute(statement, values) {
  if (driver.DatabaseSync) statement.run(...values)
  else statement.run(values)
}

function prepared(sql) {
  return remembered(sql, () => sql)
}

function remembered(key, sql) {
  let statement = statements.get(key)
  if (statement === undefined) statements.set(key, (statement = database.prepare(sql())))
  return statement
}

function connect() {
  database = new Database(path)
  statements = new Map()
  database.exec('PRAGMA busy_timeout = ' + busyTimeoutMs)
  database.exec('PRAGMA synchronous = NORMAL')
}

function rollback() {
  try {
    database?.exec('ROLLBACK')
  } catch {}
}

function disconnect() {
  const closing = database
  database = undefined
  statements = undefined
  try {
    closing?.close()
  } catch {}
}
`

/** Sends requests to the thread, one after the other; a thread that died is replaced at the next request. */
export class SqliteThread {
  readonly #options: SqliteThreadOptions
  /** The last request that was finished, and the last that failed; for a process that exits and receives no more replies. */
  readonly #progress = new Int32Array(new SharedArrayBuffer(8))
  readonly #pending = new Map<number, Pending>()
  #worker: Worker | undefined
  #lastId = 0

  constructor(options: SqliteThreadOptions) {
    this.#options = options
    this.#worker = this.#start()
  }

  /** Requests that have no reply yet. */
  get pending(): number {
    return this.#pending.size
  }

  /** All of the rows or, when it rejects, none. */
  async insert(insert: SqliteInsert): Promise<void> {
    await this.#request({ insert })
  }

  /** The rows of each query, all of one moment. */
  query(queries: readonly SqliteQuery[]): Promise<SqliteRow[][]> {
    return this.#request({ queries })
  }

  /**
   * Inserts while the process exits: blocks until everything requested is done.
   * @throws Error when it is not done after `timeoutMs`, or failed
   */
  insertSync(insert: SqliteInsert, timeoutMs: number): void {
    this.insert(insert).catch(() => undefined)
    const until = performance.now() + timeoutMs
    for (let done = 0; done !== this.#lastId; ) {
      done = Atomics.load(this.#progress, 0)
      const left = Math.max(0, until - performance.now())
      if (done !== this.#lastId && Atomics.wait(this.#progress, 0, done, left) === 'timed-out') {
        throw new Error(`the SQLite thread did not finish within ${timeoutMs} ms`)
      }
    }
    if (Atomics.load(this.#progress, 1) === this.#lastId)
      throw new Error('the SQLite thread could not insert')
  }

  /** Finishes what was requested, closes the connection and ends the thread. */
  async close(): Promise<void> {
    const worker = this.#worker
    if (worker === undefined) return
    const exited = new Promise(resolve => worker.once('exit', resolve))
    await this.#request({ close: true })
    worker.ref()
    await exited
  }

  #request(request: object): Promise<SqliteRow[][]> {
    return new Promise((resolve, reject) => {
      this.#worker ??= this.#start()
      // A process does not end while it waits for a reply, and an idle thread does not keep it alive.
      if (this.#pending.size === 0) this.#worker.ref()
      const id = ++this.#lastId
      this.#pending.set(id, { resolve, reject })
      this.#worker.postMessage({ id, ...request })
    })
  }

  #start(): Worker {
    const worker = new Worker(threadSource, {
      eval: true,
      name: 'ostiary-sqlite',
      // None of the main thread's preloaded modules; and it has already said that node:sqlite is experimental.
      execArgv: ['--no-warnings'],
      workerData: { ...this.#options, progress: this.#progress }
    })
    worker.on('message', (reply: Reply) => this.#settle(worker, reply))
    worker.on('error', error => this.#died(worker, error as Error))
    worker.on('exit', code => this.#died(worker, new Error(`the SQLite thread ended with code ${code}`)))
    // Last: to listen for messages would hold the process again.
    worker.unref()
    return worker
  }

  #settle(worker: Worker, { id, rows, failure }: Reply): void {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    if (this.#pending.size === 0) worker.unref()
    if (failure === undefined) pending?.resolve(rows)
    else pending?.reject(new SqliteError(failure.message, failure.sqliteCode))
  }

  #died(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return
    this.#worker = undefined
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const { reject } of pending) reject(error)
  }
}
