/** One usage record on the request's path, and what a batch of them costs in SQLite. */
import { mkdtempSync, rmSync } from 'node:fs'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Exchange, openExchange } from '../lib/http/exchange.ts'
import { sqliteDriver } from '../lib/usage/sqlite-driver.ts'
import { SqliteUsageStore } from '../lib/usage/sqlite-usage-store.ts'
import { UsageRecorder } from '../lib/usage/usage-recorder.ts'
import type { UsageRecord, UsageStore } from '../lib/usage/usage-store.ts'
import type { Row, Suite } from './suite.ts'

const recordsPerRun = 512

export const suite: Suite = {
  name: 'usage',
  rows: () => [recordRow(), sqliteRow()]
}

function recordRow(): Row {
  const exchanges = Array.from({ length: recordsPerRun }, (_, i) => ended(i))
  const store: UsageStore = {
    append: async () => {},
    stats: async () => Promise.reject(new Error('nothing is kept')),
    close: async () => {}
  }
  const recorder = new UsageRecorder({ store })
  return {
    name: 'one record, queued and handed to a store that keeps nothing',
    contenders: [
      {
        name: 'ostiary',
        operations: recordsPerRun,
        run() {
          for (const exchange of exchanges) recorder.record(exchange)
          return recorder.flush()
        }
      }
    ],
    close: () => recorder.close()
  }
}

/** The peer is what the batches are there to avoid: a row and a commit with each request, on the thread that serves. */
function sqliteRow(): Row {
  const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
  const records = Array.from({ length: recordsPerRun }, (_, i) => record(i))
  const store = new SqliteUsageStore({ path: join(folder, 'usage.db') })
  const database = sqliteDriver().open(join(folder, 'peer.db'))
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
  database.exec(
    'CREATE TABLE token_usage (jti, email, timestamp, endpoint, method, ip, agent, status, ms, blocked, reason)'
  )
  database.exec('CREATE INDEX by_user ON token_usage (email, timestamp)')
  const insert = database.prepare('INSERT INTO token_usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
  const peer = `${sqliteDriver().name}, one commit a record`
  return {
    name: `one record stored, in batches of ${recordsPerRun}`,
    contenders: [
      { name: `ostiary (${store.driver})`, operations: recordsPerRun, run: () => store.append(records) },
      {
        name: peer,
        operations: recordsPerRun,
        run() {
          for (const one of records) {
            insert.all(
              one.tokenJti,
              one.userEmail,
              one.timestamp.getTime(),
              one.endpoint,
              one.method,
              one.ipAddress,
              one.userAgent,
              one.statusCode,
              one.responseTimeMs,
              0,
              null
            )
          }
        }
      }
    ],
    async close() {
      await store.close()
      database.close()
      rmSync(folder, { recursive: true })
    }
  }
}

function record(i: number): UsageRecord {
  return {
    tokenJti: `jti-${i % 100}`,
    userEmail: `user-${i % 100}@example.com`,
    timestamp: new Date(),
    endpoint: `/api/orders/${i}`,
    method: 'GET',
    ipAddress: '192.0.2.1',
    userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36',
    statusCode: 200,
    responseTimeMs: 1.5,
    blocked: false,
    blockReason: null
  }
}

/** A request with an API token that was answered. */
function ended(i: number): Exchange {
  const req = new IncomingMessage(new Socket())
  req.method = 'GET'
  req.url = `/api/orders/${i}?page=2`
  req.headers['user-agent'] = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'
  const res = new ServerResponse(req)
  const exchange = openExchange(req, res)
  exchange.authMethod = 'api_token'
  exchange.tokenId = `jti-${i % 100}`
  exchange.user = {
    id: `user-${i % 100}`,
    key: `user:user-${i % 100}`,
    name: null,
    email: `user-${i % 100}@example.com`,
    kind: 'human',
    isM2M: false,
    clientId: null,
    scopes: []
  }
  res.writeHead(200)
  exchange.end(true)
  return exchange
}
