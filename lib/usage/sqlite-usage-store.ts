/** Usage records in a SQLite file, written and read on threads of their own. */
import { closeSync, openSync } from 'node:fs'
import { resolve } from 'node:path'
import { checkInteger, shown, wrongOption } from '../options.ts'
import { type SqliteDriver, type SqliteDriverName, sqliteDriver } from './sqlite-driver.ts'
import { SqliteError, SqliteThread } from './sqlite-thread.ts'
import { prepareUsageTable, usageInsert, usageQueries, usageStatsOf } from './sqlite-usage-schema.ts'
import { type RunStore, runsOfRecords, type UsageRuns } from './usage-runs.ts'
import { type UsageQuery, type UsageRecord, type UsageStats, usagePeriod } from './usage-store.ts'

export interface SqliteUsageStoreOptions {
  /** The database file; created with mode 0600 when it is not there. Its folder must be. */
  path: string
  /** Default: `node:sqlite` where the runtime has it, else the package `libsql`. */
  driver?: SqliteDriverName
  /** ms to wait for another process's lock before a batch is given back. Default 250. */
  busyTimeoutMs?: number
  /** Epoch ms. */
  clock?: () => number
}

/** SQLITE_BUSY */
const busy = 5
/** Statistics that may wait for the reading thread at once. */
const maxQuestions = 100
/** ms that an exiting process waits for the writing thread. */
const exitWaitMs = 2_000

/**
 * A database in WAL mode with one table, `token_usage_runs`, and a view of it, `token_usage`, that has one row a request. Writes go through one thread; statistics through another, started
 * at the first question, so that a long look back delays no write. A crash of the process loses no batch that was stored;
 * a crash of the machine may lose the last ones (`synchronous = NORMAL`), never the database.
 *
 * @throws TypeError when an option is wrong
 * @throws Error when there is no driver, or the file cannot be opened, is no database, or belongs to another program
 */
export class SqliteUsageStore implements RunStore {
  readonly #path: string
  readonly #driver: SqliteDriver
  readonly #busyTimeoutMs: number
  readonly #clock: () => number
  readonly #writer: SqliteThread
  #reader: SqliteThread | undefined
  #prepared: boolean
  #closing: Promise<void> | undefined

  constructor(options: SqliteUsageStoreOptions) {
    const { path, driver, busyTimeoutMs = 250, clock = Date.now } = options
    if (typeof path !== 'string' || path === '' || path === ':memory:') {
      throw new TypeError(`SqliteUsageStore: path must name a file, got ${JSON.stringify(path)}`)
    }
    if (driver !== undefined && driver !== 'node:sqlite' && driver !== 'libsql') {
      throw wrongOption('SqliteUsageStore', 'driver', "'node:sqlite' or 'libsql'", shown(driver))
    }
    checkInteger('SqliteUsageStore', 'busyTimeoutMs', busyTimeoutMs, 0)
    this.#path = resolve(path)
    this.#driver = sqliteDriver(driver)
    this.#busyTimeoutMs = busyTimeoutMs
    this.#clock = clock
    this.#prepared = this.#prepare(busyTimeoutMs)
    this.#writer = this.#thread()
  }

  /** Which driver serves this store. */
  get driver(): SqliteDriverName {
    return this.#driver.name
  }

  async append(records: UsageRecord[]): Promise<void> {
    await this.appendRuns(runsOfRecords(records))
  }

  /** @internal For the recorder, which makes no object for a record where it need not. */
  async appendRuns(runs: UsageRuns): Promise<void> {
    if (this.#closing !== undefined) throw new Error('SqliteUsageStore: append after close')
    if (!this.#prepared && !this.#prepare(0)) throw new Error('the database is locked')
    this.#prepared = true
    try {
      await this.#writer.insert(usageInsert(runs))
    } catch (error) {
      // Whatever became of the file, the next batch looks at it anew. A lock says nothing about the file.
      this.#prepared = error instanceof SqliteError && error.sqliteCode === busy
      throw error
    }
  }

  appendSync(records: UsageRecord[]): void {
    this.#writer.insertSync(usageInsert(runsOfRecords(records)), exitWaitMs)
  }

  async stats(query: UsageQuery): Promise<UsageStats> {
    const { days, since } = usagePeriod(query, this.#clock())
    if (this.#closing !== undefined) throw new Error('SqliteUsageStore: stats after close')
    this.#reader ??= this.#thread()
    if (this.#reader.pending >= maxQuestions) {
      throw new Error(`SqliteUsageStore: ${maxQuestions} statistics are being worked on; ask again later`)
    }
    return usageStatsOf(
      await this.#reader.query(usageQueries(query.userEmail, query.tokenId ?? null, since)),
      days
    )
  }

  close(): Promise<void> {
    // The writer last: who closes the last connection folds the WAL into the database.
    this.#closing ??= Promise.resolve(this.#reader?.close()).then(() => this.#writer.close())
    return this.#closing
  }

  /** Says what is wrong with the file, by its name. False: it is locked, which passes. */
  #prepare(busyTimeoutMs: number): boolean {
    try {
      closeSync(openSync(this.#path, 'a', 0o600))
      const database = this.#driver.open(this.#path)
      try {
        database.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
        prepareUsageTable(database)
      } finally {
        database.close()
      }
      return true
    } catch (error) {
      if (isBusy(error)) return false
      throw new Error(
        `SqliteUsageStore: path ${JSON.stringify(this.#path)} cannot be used: ${(error as Error).message}`,
        { cause: error }
      )
    }
  }

  #thread(): SqliteThread {
    return new SqliteThread({
      path: this.#path,
      module: this.#driver.module,
      busyTimeoutMs: this.#busyTimeoutMs
    })
  }
}

/** As `node:sqlite` and as libsql say it. */
function isBusy(error: unknown): boolean {
  const { errcode, rawCode } = error as { errcode?: number; rawCode?: number }
  return ((errcode ?? rawCode ?? 0) & 0xff) === busy
}
