/** The table of usage records in SQLite: how it is made, filled and asked. */
import type { SqliteDatabase } from './sqlite-driver.ts'
import type { SqliteInsert, SqliteQuery, SqliteRow } from './sqlite-thread.ts'
import { mostInRun, type UsageRuns } from './usage-runs.ts'
import { emptyStats, topEndpointCount, type UsageStats } from './usage-store.ts'

/** 'Osti' in ASCII, in the file's header: this database is ours. */
const applicationId = 0x4f737469
const schemaVersion = 2

/** What a run of one request has no need of. */
const requestsOrOne = `ifnull(requests, '[[0,' || total_us || ']]')`

/**
 * A row is a run: requests of one batch that differ only in time and duration, because a row of SQLite costs ten times what a
 * request does in a list. `requests` is that list, `[[ms after first_at, response time in µs], ...]`, and NULL where there is
 * one alone. The view has one row a request, for whoever opens the file.
 *
 * Timestamps are epoch ms: shorter than ISO strings, in the index too, and compared without parsing.
 *
 * The index begins with a number that rows of one time share, 4096 each. With the e-mail address in front, every row of
 * another user would dirty another page of an index that only grows, and a page costs twenty times what a row does; so the
 * pages that a batch dirties are few and near. SQLite looks a user up in each such part in turn (a skip-scan), which takes
 * about a microsecond a part. It does so if it knows that the parts are large: that is the row in `sqlite_stat1`.
 */
const schema = `
  CREATE TABLE token_usage_runs (
    id INTEGER PRIMARY KEY,
    token_jti TEXT NOT NULL,
    user_email TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    method TEXT NOT NULL,
    ip_address TEXT,
    user_agent TEXT,
    status_code INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    block_reason TEXT,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    request_count INTEGER NOT NULL,
    total_us INTEGER NOT NULL,
    requests TEXT
  ) STRICT;
  CREATE INDEX token_usage_by_user ON token_usage_runs (id >> 12, user_email, last_at);
  ANALYZE sqlite_schema;
  INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('token_usage_runs', 'token_usage_by_user', '100000000 4096 8 1');
  CREATE VIEW token_usage AS
    SELECT (token_usage_runs.id - 1) * ${mostInRun} + request.key + 1 AS id, token_jti, user_email,
      first_at + (request.value ->> 0) AS timestamp, endpoint, method, ip_address, user_agent, status_code,
      (request.value ->> 1) / 1000.0 AS response_time_ms, blocked, block_reason
    FROM token_usage_runs, json_each(${requestsOrOne}) AS request;
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${schemaVersion};`

const into = `
  INSERT INTO token_usage_runs (token_jti, user_email, endpoint, method, ip_address, user_agent, block_reason,
    status_code, blocked, first_at, total_us, last_at, request_count, requests)
  SELECT *`
/** `column10` is `first_at`. */
const one = `${into}, column10, 1, NULL`
const many = into
const textsPerRun = 7
const numbersPerRun = 2

const where = 'WHERE user_email = ?1 AND last_at >= ?2 AND (?3 IS NULL OR token_jti = ?3)'
const matching = `FROM token_usage_runs ${where}`

/** Of a run that began before the period, only what is inside. */
const sumInside = (whole: string, each: string) => `
  CASE WHEN first_at >= ?2 THEN ${whole}
    ELSE (SELECT sum(${each}) FROM json_each(requests) WHERE first_at + (value ->> 0) >= ?2) END`
const countInside = sumInside('request_count', '1')

const totalsSql = `
  SELECT sum(n) AS total, sum(n * (status_code BETWEEN 1 AND 399)) AS successful, sum(n * blocked) AS blocked,
    total(us) / sum(n) / 1000 AS average, max(last_at) AS last
  FROM (SELECT ${countInside} AS n, ${sumInside('total_us', 'value ->> 1')} AS us, status_code, blocked, last_at ${matching})`

/** Nearest rank: the p-th percentile of n values is the one at rank ceil(n * p / 100), the first that so many are not above. */
const percentilesSql = `
  WITH
    each AS (
      SELECT total_us AS us ${matching} AND requests IS NULL
      UNION ALL
      SELECT value ->> 1 FROM token_usage_runs, json_each(requests) ${where}
        AND (first_at >= ?2 OR first_at + (value ->> 0) >= ?2)
    ),
    counted AS (SELECT us, count(*) AS n FROM each GROUP BY us),
    ranked AS (SELECT us, sum(n) OVER (ORDER BY us) AS rank, sum(n) OVER () AS total FROM counted)
  SELECT min(us) FILTER (WHERE rank * 100 >= total * 50) / 1000.0 AS p50,
    min(us) FILTER (WHERE rank * 100 >= total * 95) / 1000.0 AS p95,
    min(us) FILTER (WHERE rank * 100 >= total * 99) / 1000.0 AS p99
  FROM ranked`

const endpointsSql = `
  SELECT endpoint, sum(${countInside}) AS count ${matching}
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

/** Runs as they cross to the thread. */
export function usageInsert({ groups, sizes, moments }: UsageRuns): SqliteInsert {
  const texts: string[] = []
  const lengths = new Int32Array(groups.length * textsPerRun)
  const numbers = new Int32Array(groups.length * (1 + numbersPerRun))
  let t = 0
  let n = 0
  const addText = (text: string | null) => {
    lengths[t++] = text === null ? -1 : text.length
    if (text !== null) texts.push(text)
  }
  for (let g = 0; g < groups.length; g++) {
    const group = groups[g]
    addText(group.tokenJti)
    addText(group.userEmail)
    addText(group.endpoint)
    addText(group.method)
    addText(group.ipAddress)
    addText(group.userAgent)
    addText(group.blockReason)
    numbers[n++] = sizes[g]
    numbers[n++] = group.statusCode
    numbers[n++] = group.blocked ? 1 : 0
  }
  return { one, many, textsPerRun, numbersPerRun, text: texts.join(''), lengths, numbers, moments }
}

/** @param since epoch ms */
export function usageQueries(userEmail: string, tokenId: string | null, since: number): SqliteQuery[] {
  const values = [userEmail, since, tokenId]
  return [totalsSql, percentilesSql, endpointsSql].map(sql => ({ sql, values }))
}

/** The statistics that the rows of `usageQueries` amount to. */
export function usageStatsOf([[totals], [percentiles], endpoints]: SqliteRow[][], days: number): UsageStats {
  const total = totals['total'] as number | null
  if (total === null) return emptyStats(days)
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
