/** Usage records in memory: for tests, for demos, and for a service that needs them no longer than it runs. */
import { checkInteger } from '../options.ts'
import {
  emptyStats,
  topEndpointCount,
  type UsageQuery,
  type UsageRecord,
  type UsageStats,
  type UsageStore,
  usagePeriod
} from './usage-store.ts'

export interface MemoryUsageStoreOptions {
  /** The newest that are kept. Default 100 000. */
  maxRecords?: number
  /** Epoch ms. */
  clock?: () => number
}

/**
 * Keeps the newest `maxRecords` records.
 * @throws TypeError when an option is wrong
 */
export class MemoryUsageStore implements UsageStore {
  readonly #maxRecords: number
  readonly #clock: () => number
  readonly #records: UsageRecord[] = []
  /** Where the oldest record is, once the store is full. */
  #oldest = 0
  #evicted = 0

  constructor(options: MemoryUsageStoreOptions = {}) {
    const { maxRecords = 100_000, clock = Date.now } = options
    checkInteger('MemoryUsageStore', 'maxRecords', maxRecords, 1)
    this.#maxRecords = maxRecords
    this.#clock = clock
  }

  get stored(): { records: number; evicted: number } {
    return { records: this.#records.length, evicted: this.#evicted }
  }

  async append(records: UsageRecord[]): Promise<void> {
    this.appendSync(records)
  }

  appendSync(records: UsageRecord[]): void {
    for (const record of records) {
      if (this.#records.length < this.#maxRecords) {
        this.#records.push({ ...record })
      } else {
        this.#records[this.#oldest] = { ...record }
        this.#oldest = (this.#oldest + 1) % this.#maxRecords
        this.#evicted++
      }
    }
  }

  async stats(query: UsageQuery): Promise<UsageStats> {
    const { days, since } = usagePeriod(query, this.#clock())
    const { userEmail, tokenId } = query
    const found = this.#records.filter(
      record =>
        record.userEmail === userEmail &&
        record.timestamp.getTime() >= since &&
        (tokenId === undefined || record.tokenJti === tokenId)
    )
    return found.length === 0 ? emptyStats(days) : statsOf(found, days)
  }

  async close(): Promise<void> {}
}

function statsOf(records: readonly UsageRecord[], periodDays: number): UsageStats {
  const times = Float64Array.from(records, record => record.responseTimeMs).sort()
  const endpoints = new Map<string, number>()
  let successful = 0
  let blocked = 0
  let total = 0
  let last = Number.NEGATIVE_INFINITY
  for (const { statusCode, responseTimeMs, timestamp, endpoint, ...record } of records) {
    if (statusCode > 0 && statusCode < 400) successful++
    if (record.blocked) blocked++
    total += responseTimeMs
    last = Math.max(last, timestamp.getTime())
    endpoints.set(endpoint, (endpoints.get(endpoint) ?? 0) + 1)
  }
  return {
    periodDays,
    totalRequests: records.length,
    successfulRequests: successful,
    blockedRequests: blocked,
    successRate: successful / records.length,
    averageResponseTimeMs: total / records.length,
    p50ResponseTimeMs: nearestRank(times, 50),
    p95ResponseTimeMs: nearestRank(times, 95),
    p99ResponseTimeMs: nearestRank(times, 99),
    topEndpoints: Array.from(endpoints, ([endpoint, count]) => ({ endpoint, count }))
      .sort((a, b) => b.count - a.count || (a.endpoint < b.endpoint ? -1 : 1))
      .slice(0, topEndpointCount),
    lastUsedAt: new Date(last)
  }
}

/** The smallest value that at least `percent` of the values do not exceed. */
function nearestRank(sorted: Float64Array, percent: 50 | 95 | 99): number {
  return sorted[Math.ceil((sorted.length * percent) / 100) - 1]
}
