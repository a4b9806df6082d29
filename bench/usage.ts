/** One usage record on the request's path, what it costs in SQLite and weighs there, and how long handing over a batch holds up the event loop. */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Exchange, openExchange } from '../lib/http/exchange.ts'
import { sqliteDriver } from '../lib/usage/sqlite-driver.ts'
import { SqliteUsageStore } from '../lib/usage/sqlite-usage-store.ts'
import { UsageRecorder } from '../lib/usage/usage-recorder.ts'
import type { UsageRecord, UsageStore } from '../lib/usage/usage-store.ts'
import type { Figures, Row, Suite } from './suite.ts'

/** A batch, by default. */
const recordsPerRun = 1_024

export const suite: Suite = {
  rows: () => [recordRow(), sqliteRow()],
  async *figures({ quick }) {
    const rounds = quick ? 5 : 15
    yield await handOver(rounds)
    yield await cpuOfRecord(rounds)
    yield* ofManyRequests(quick)
  }
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
    mostNs: 500,
    close: () => recorder.close()
  }
}

/** Records that have nothing in common, and so a row each. The peer is what the batches are there to avoid: a row and a commit with each request, on the thread that serves. */
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
    name: `one record like no other stored, in batches of ${recordsPerRun}`,
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

/** Tokens that the requests of a batch come from, and so how much its records have in common. */
const mixtures: [name: string, tokens: number][] = [
  ['one token', 1],
  ['10 000 tokens', 10_000]
]
const batchesPerRound = 20

/**
 * What the event loop does in one go when a batch is due: to copy it out of the queue and post it to the thread. Measured as CPU
 * time, so that another process on the same core does not count; and of the rounds' longest the smallest is told, as the one that
 * least came between.
 */
async function handOver(rounds: number): Promise<Figures> {
  const figures: Figures['figures'] = []
  for (const [name, tokens] of mixtures) {
    const medians: number[] = []
    const longest: number[] = []
    const exchanges = Array.from({ length: recordsPerRun }, (_, i) => ended(i, tokens))
    await withStore(async store => {
      const recorder = new UsageRecorder({ store, flushIntervalMs: 60_000, batchSize: recordsPerRun })
      for (let round = -1; round < rounds; round++) {
        const times: number[] = []
        for (let batch = 0; batch < batchesPerRound; batch++) {
          // One fewer than a batch, so that it is the flush that hands over.
          for (let i = 1; i < recordsPerRun; i++) recorder.record(exchanges[i])
          const since = cpuMicros()
          const flushed = recorder.flush()
          times.push(cpuMicros() - since)
          await flushed
          // A turn has one batch: the next is for the next.
          await nextTurns()
        }
        times.sort((a, b) => a - b)
        if (round < 0) continue
        medians.push(times[times.length >> 1])
        longest.push(times[times.length - 1])
      }
    })
    figures.push(
      { name: `${name}, median`, value: Math.min(...medians) },
      { name: `${name}, longest of ${batchesPerRound}`, value: Math.min(...longest), most: 2_000 }
    )
  }
  return { name: `usage: ${recordsPerRun} records handed over in one turn`, unit: 'µs', figures }
}

/** User and system time of all threads, SQLite's with its checkpoints among them: from the end of a request to the file. */
async function cpuOfRecord(rounds: number): Promise<Figures> {
  const figures: Figures['figures'] = []
  for (const [name, tokens] of mixtures) {
    // Enough that a batch of many tokens has each once, and the next has others.
    const exchanges = Array.from({ length: Math.min(tokens, 10) * recordsPerRun }, (_, i) => ended(i, tokens))
    const values: number[] = []
    await withStore(async store => {
      const recorder = new UsageRecorder({ store, flushIntervalMs: 60_000, batchSize: recordsPerRun })
      for (let round = -1; round < rounds; round++) {
        const since = cpuMicros()
        for (let batch = 0; batch < batchesPerRound; batch++) {
          const from = (batch * recordsPerRun) % exchanges.length
          for (let i = from; i < from + recordsPerRun; i++) recorder.record(exchanges[i])
          await recorder.flush()
          await nextTurns()
        }
        if (round >= 0) values.push((cpuMicros() - since) / (batchesPerRound * recordsPerRun))
      }
    })
    figures.push({ name: `${name}, ${sqliteDriver().name}`, value: Math.min(...values) })
  }
  return { name: 'usage: CPU of one record stored, all threads', unit: 'µs', figures }
}

/** What the file weighs, and how long one user's statistics take, when their requests are all alike and when none is like another. */
async function* ofManyRequests(quick: boolean): AsyncGenerator<Figures> {
  const batches = quick ? 100 : 1_000
  const requests = batches * recordsPerRun
  const bytes: Figures['figures'] = []
  const times: Figures['figures'] = []
  for (const [name, endpoints] of [
    ['all alike', 1],
    ['none alike', requests]
  ] as const) {
    await withStore(async (store, path) => {
      for (let n = 0; n < requests; n += recordsPerRun) {
        await store.append(
          Array.from({ length: recordsPerRun }, (_, i) => ({
            ...record((n + i) % endpoints),
            tokenJti: 'jti-1',
            userEmail: 'user@example.com',
            responseTimeMs: 1 + ((n + i) % 10_007) / 1_000
          }))
        )
      }
      const stats = await shortest(3, () => store.stats({ userEmail: 'user@example.com' }))
      times.push({ name, value: stats })
      await store.close()
      bytes.push({ name, value: statSync(path).size / requests })
    })
  }
  yield { name: 'usage: size of the file, a request', unit: 'bytes', figures: bytes }
  yield { name: `usage: statistics of ${requests} requests of one user`, unit: 'ms', figures: times }
}

/** ms of the fastest of some runs. */
async function shortest(runs: number, run: () => Promise<unknown>): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let n = 0; n < runs; n++) {
    const since = performance.now()
    await run()
    least = Math.min(least, performance.now() - since)
  }
  return least
}

async function withStore(use: (store: SqliteUsageStore, path: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
  const path = join(folder, 'usage.db')
  const store = new SqliteUsageStore({ path })
  try {
    await use(store, path)
  } finally {
    await store.close()
    rmSync(folder, { recursive: true })
  }
}

/** µs of CPU of all threads: what Node tells of one alone is counted in the kernel's ticks, and the others are all but idle. */
function cpuMicros(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

async function nextTurns(): Promise<void> {
  for (let n = 0; n < 3; n++) await new Promise(resolve => setImmediate(resolve))
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
function ended(i: number, tokens = 100): Exchange {
  const token = (i * 7_919) % tokens
  const req = new IncomingMessage(new Socket())
  req.method = 'GET'
  req.url = `/api/orders/${token}?page=2`
  req.headers['user-agent'] = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'
  const res = new ServerResponse(req)
  const exchange = openExchange(req, res)
  exchange.authMethod = 'api_token'
  exchange.tokenId = `jti-${token}`
  exchange.user = {
    id: `user-${token}`,
    key: `user:user-${token}`,
    name: null,
    email: `user-${token}@example.com`,
    kind: 'human',
    isM2M: false,
    clientId: null,
    scopes: []
  }
  res.writeHead(200)
  exchange.end(true)
  return exchange
}
