/** The table of usage records in SQLite: how it is made, filled and asked. */
import type { SqliteDatabase } from './sqlite-driver.ts'
import type { SqliteInsert, SqliteQuery, SqliteRow } from './sqlite-thread.ts'
import { emptyStats, topEndpointCount, type UsageRecord, type UsageStats } from './usage-store.ts'

/** 'Osti' in ASCII, in the file's header: this database is ours. */
const applicationId = 0x4f737469
const schemaVersion = 1

/**
 * Timestamps are epoch ms: shorter than ISO strings, in the index too, and compared without parsing.
 *
 * The index begins with a number that rows of one time share, 4096 each. With the e-mail address in front, every row of
 * another user would dirty another page of an index that only grows, and a page costs twenty times what a row does; so the
 * pages that a batch dirties are few and near. SQLite looks a user up in each such part in turn (a skip-scan), which takes
 * about a microsecond a part. It does so if it knows that the parts are large: that is the row in `sqlite_stat1`.
 */
const schema = `
  CREATE TABLE token_usage (
    id INTEGER PRIMARY KEY,
    token_jti TEXT NOT NULL,
    user_email TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    method TEXT NOT NULL,
    ip_address TEXT,
    user_agent TEXT,
    status_code INTEGER NOT NULL,
    response_time_ms REAL NOT NULL,
    blocked INTEGER NOT NULL,
    block_reason TEXT
  ) STRICT;
  CREATE INDEX token_usage_by_user ON token_usage (id >> 12, user_email, timestamp);
  ANALYZE sqlite_schema;
  INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('token_usage', 'token_usage_by_user', '100000000 4096 8 1');
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${schemaVersion};`

const into = `
  INSERT INTO token_usage (token_jti, user_email, endpoint, method, ip_address, user_agent, block_reason,
    status_code, blocked, timestamp, response_time_ms)`
const textsPerGroup = 7
const numbersPerGroup = 2
const numbersPerRow = 2
/** Of a token's groups, those that a record is compared with. */
const groupsTried = 4

const matching =
  'FROM token_usage WHERE user_email = ?1 AND timestamp >= ?2 AND (?3 IS NULL OR token_jti = ?3)'

const totalsSql = `
  SELECT count(*) AS total, sum(status_code BETWEEN 1 AND 399) AS successful, sum(blocked) AS blocked,
    avg(response_time_ms) AS average, max(timestamp) AS last ${matching}`

/** Nearest rank: the p-th percentile of n values is the one at rank ceil(n * p / 100). */
const percentilesSql = `
  WITH counted AS (SELECT count(*) AS n ${matching})
  SELECT max(value) FILTER (WHERE rank = (n * 50 + 99) / 100) AS p50,
    max(value) FILTER (WHERE rank = (n * 95 + 99) / 100) AS p95,
    max(value) FILTER (WHERE rank = (n * 99 + 99) / 100) AS p99
  FROM counted,
    (SELECT response_time_ms AS value, row_number() OVER (ORDER BY response_time_ms) AS rank ${matching})`

const endpointsSql = `
  SELECT endpoint, count(*) AS count ${matching}
  GROUP BY endpoint ORDER BY count DESC, endpoint LIMIT ${topEndpointCount}`

/**
 * Makes the table when the database is new, and puts it into WAL mode: readers and the writer do not wait for each other.
 * @throws Error when the file is no database, or one of another program or a later version
 */
export function prepareUsageTable(database: SqliteDatabase): void {
  if (!isPrepared(database)) {
    // Another process may be making the table at the same moment: look again under the lock.
    database.exec('BEGIN IMMEDIATE')
    if (!isPrepared(database)) database.exec(schema)
    database.exec('COMMIT')
  }
  database.exec('PRAGMA journal_mode = WAL')
}

/** The records in groups that differ in time and duration only: an API token is mostly one program that asks for few things. */
export function usageInsert(records: readonly UsageRecord[]): SqliteInsert {
  const { groupOf, first, sizes } = grouped(records)
  const texts: string[] = []
  const lengths = new Int32Array(first.length * textsPerGroup)
  const numbers = new Float64Array(first.length * (1 + numbersPerGroup) + records.length * numbersPerRow)
  /** Where the numbers of each group's next row go. */
  const next = new Uint32Array(first.length)
  let t = 0
  let n = 0
  const addText = (text: string | null) => {
    lengths[t++] = text === null ? -1 : text.length
    if (text !== null) texts.push(text)
  }
  for (let g = 0; g < first.length; g++) {
    const record = first[g]
    addText(record.tokenJti)
    addText(record.userEmail)
    addText(record.endpoint)
    addText(record.method)
    addText(record.ipAddress)
    addText(record.userAgent)
    addText(record.blockReason)
    numbers[n++] = sizes[g]
    numbers[n++] = record.statusCode
    numbers[n++] = record.blocked ? 1 : 0
    next[g] = n
    n += sizes[g] * numbersPerRow
  }
  for (let i = 0; i < records.length; i++) {
    const at = next[groupOf[i]]
    next[groupOf[i]] = at + numbersPerRow
    numbers[at] = records[i].timestamp.getTime()
    numbers[at + 1] = records[i].responseTimeMs
  }
  return { into, textsPerGroup, numbersPerGroup, numbersPerRow, text: texts.join(''), lengths, numbers }
}

interface Groups {
  /** Of each record. */
  groupOf: Uint32Array
  /** The first record of each group. */
  first: UsageRecord[]
  sizes: number[]
}

/** Looks at a token's newest groups only, or a token that asks for something else each time would be compared with all. */
function grouped(records: readonly UsageRecord[]): Groups {
  const groupOf = new Uint32Array(records.length)
  const first: UsageRecord[] = []
  const sizes: number[] = []
  /** The group before of the same token. */
  const older: number[] = []
  const newest = new Map<string, number>()
  for (let i = 0; i < records.length; i++) {
    const record = records[i]
    const start = newest.get(record.tokenJti) ?? -1
    let g = start
    for (let tried = 1; g >= 0 && !alike(first[g], record); tried++) g = tried < groupsTried ? older[g] : -1
    if (g < 0) {
      g = first.push(record) - 1
      sizes.push(0)
      older.push(start)
      newest.set(record.tokenJti, g)
    }
    sizes[g]++
    groupOf[i] = g
  }
  return { groupOf, first, sizes }
}

function alike(a: UsageRecord, b: UsageRecord): boolean {
  return (
    a.endpoint === b.endpoint &&
    a.statusCode === b.statusCode &&
    a.method === b.method &&
    a.ipAddress === b.ipAddress &&
    a.userAgent === b.userAgent &&
    a.userEmail === b.userEmail &&
    a.tokenJti === b.tokenJti &&
    a.blocked === b.blocked &&
    a.blockReason === b.blockReason
  )
}

/** @param since epoch ms */
export function usageQueries(userEmail: string, tokenId: string | null, since: number): SqliteQuery[] {
  const values = [userEmail, since, tokenId]
  return [totalsSql, percentilesSql, endpointsSql].map(sql => ({ sql, values }))
}

/** The statistics that the rows of `usageQueries` amount to. */
export function usageStatsOf([[totals], [percentiles], endpoints]: SqliteRow[][], days: number): UsageStats {
  const total = totals['total'] as number
  if (total === 0) return emptyStats(days)
  const successful = totals['successful'] as number
  return {
    periodDays: days,
    totalRequests: total,
    successfulRequests: successful,
    blockedRequests: totals['blocked'] as number,
    successRate: successful / total,
    averageResponseTimeMs: totals['average'] as number,
    p50ResponseTimeMs: percentiles['p50'] as number,
    p95ResponseTimeMs: percentiles['p95'] as number,
    p99ResponseTimeMs: percentiles['p99'] as number,
    topEndpoints: endpoints.map(row => ({
      endpoint: row['endpoint'] as string,
      count: row['count'] as number
    })),
    lastUsedAt: new Date(totals['last'] as number)
  }
}

/** True when the table is there, false when the database is empty. */
function isPrepared(database: SqliteDatabase): boolean {
  const number = (sql: string) => Object.values(database.prepare(sql).all()[0] as Record<string, number>)[0]
  const application = number('PRAGMA application_id')
  const version = number('PRAGMA user_version')
  if (application === applicationId && version === schemaVersion) return true
  if (application === 0 && number('SELECT count(*) FROM sqlite_master') === 0) return false
  throw new Error(
    application === applicationId
      ? `the database has schema version ${version}, and this version of ostiary knows ${schemaVersion}`
      : 'the database belongs to another program'
  )
}
