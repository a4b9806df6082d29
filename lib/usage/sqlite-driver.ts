/** SQLite through whichever driver this Node has. */
import { createRequire } from 'node:module'

export type SqliteDriverName = 'node:sqlite' | 'libsql'

/** What both drivers' connections have in common, as far as it is needed here. */
export interface SqliteDatabase {
  exec(sql: string): void
  prepare(sql: string): { all(...values: (string | number | null)[]): unknown[] }
  close(): void
}

export interface SqliteDriver {
  readonly name: SqliteDriverName
  /** What `require` finds the driver by, on any thread. */
  readonly module: string
  open(path: string): SqliteDatabase
}

type DatabaseConstructor = new (path: string) => SqliteDatabase

/**
 * The driver to use. Default: `node:sqlite` where the runtime has it (22.13 and later), else the package `libsql`, looked up
 * only now, so that nobody needs it who does not use it.
 * @throws Error when there is no driver
 */
export function sqliteDriver(name?: SqliteDriverName): SqliteDriver {
  const Builtin = name === 'libsql' ? undefined : builtin()
  if (Builtin !== undefined) {
    return { name: 'node:sqlite', module: 'node:sqlite', open: path => new Builtin(path) }
  }
  if (name === 'node:sqlite') throw new Error(`sqlite: this Node (${process.version}) has no node:sqlite`)
  const { module, Database } = libsql()
  return { name: 'libsql', module, open: path => new Database(path) }
}

function builtin(): DatabaseConstructor | undefined {
  const sqlite = process.getBuiltinModule('node:sqlite') as { DatabaseSync: DatabaseConstructor } | undefined
  return sqlite?.DatabaseSync
}

function libsql(): { module: string; Database: DatabaseConstructor } {
  try {
    const require = createRequire(import.meta.url)
    return { module: require.resolve('libsql'), Database: require('libsql') }
  } catch (error) {
    throw new Error(
      `sqlite: this Node (${process.version}) has no node:sqlite, and the package libsql cannot be loaded; ` +
        'install libsql, or use Node 22.13 or later',
      { cause: error }
    )
  }
}
