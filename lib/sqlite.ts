/** `ostiary/sqlite`: usage records in SQLite, through `node:sqlite` or the optional peer `libsql`. */
export { SqliteUsageStore, type SqliteUsageStoreOptions } from './usage/sqlite-usage-store.ts'
