/** Usage records that wait to be stored: a bounded ring of columns, what records share being there once. */
import type { Exchange, Identity } from '../http/exchange.ts'
import { type UsageGroup, UsageGroups } from './usage-group.ts'
import { runsOf, type UsageColumns, type UsageRuns } from './usage-runs.ts'
import { type UsageRecord, wholeMicros } from './usage-store.ts'

/** Characters of one stored text; the rest is cut off. */
const maxText = 1_024

/**
 * ```
 *   [ ........ r r r r r r r r ........ ]
 *              oldest          next            both wrap at the end; size says whether equal means full or empty
 * ```
 * What is read stays until it is released: a batch that could not be stored is read again.
 */
export class UsageQueue {
  readonly capacity: number
  readonly #columns: UsageColumns & { readonly groups: (UsageGroup | undefined)[] }
  /** Of the records that came since the last were read: older groups are held by their records alone. */
  readonly #known = new UsageGroups()
  #oldest = 0
  #next = 0
  #size = 0
  #total = 0

  constructor(capacity: number) {
    this.capacity = capacity
    this.#columns = {
      groups: new Array(capacity).fill(undefined),
      times: new Float64Array(capacity),
      micros: new Float64Array(capacity)
    }
  }

  get size(): number {
    return this.#size
  }

  /** How many records went in, ever. */
  get total(): number {
    return this.#total
  }

  /** @param at epoch ms @returns false when the queue is full */
  add(exchange: Exchange, user: Identity, tokenId: string, at: number): boolean {
    if (this.#size === this.capacity) return false
    const slot = this.#next
    this.#next = slot + 1 === this.capacity ? 0 : slot + 1
    this.#size++
    this.#total++
    const { groups, times, micros } = this.#columns
    groups[slot] = this.#groupOf(exchange, user, tokenId)
    times[slot] = Math.floor(at)
    micros[slot] = wholeMicros(exchange.durationMs)
    return true
  }

  /** The oldest records, at most `count`. They stay in the queue. */
  read(count: number): UsageRecord[] {
    this.#known.clear()
    const length = Math.min(count, this.#size)
    return Array.from({ length }, (_, i) => this.#record((this.#oldest + i) % this.capacity))
  }

  /** The same in runs. */
  readRuns(count: number): UsageRuns {
    this.#known.clear()
    return runsOf(this.#columns, this.#oldest, Math.min(count, this.#size))
  }

  /** Forgets the oldest records. */
  release(count: number): void {
    const { groups } = this.#columns
    const toEnd = Math.min(count, this.capacity - this.#oldest)
    groups.fill(undefined, this.#oldest, this.#oldest + toEnd)
    groups.fill(undefined, 0, count - toEnd)
    this.#oldest = (this.#oldest + count) % this.capacity
    this.#size -= count
  }

  #groupOf(exchange: Exchange, user: Identity, tokenId: string): UsageGroup {
    const { req, statusCode } = exchange
    const blocked = statusCode >= 400 && statusCode < 500
    return this.#known.of(
      text(tokenId),
      text(user.email ?? user.id),
      bounded(exchange.path),
      req.method ?? '',
      exchange.clientAddress ?? null,
      bounded(req.headers['user-agent'] ?? null),
      statusCode,
      blocked,
      blocked ? blockReasonOf(statusCode, exchange.denial !== undefined) : null
    )
  }

  #record(slot: number): UsageRecord {
    const { groups, times, micros } = this.#columns
    const group = groups[slot] as UsageGroup
    return {
      tokenJti: group.tokenJti,
      userEmail: group.userEmail,
      timestamp: new Date(times[slot]),
      endpoint: group.endpoint,
      method: group.method,
      ipAddress: group.ipAddress,
      userAgent: group.userAgent,
      statusCode: group.statusCode,
      responseTimeMs: micros[slot] / 1_000,
      blocked: group.blocked,
      blockReason: group.blockReason
    }
  }
}

/** Identities of somebody's own making are not always what their types say. */
function text(value: string): string {
  return typeof value === 'string' ? value : String(value)
}

/** A cut string is copied: a slice would hold on to the whole. */
function bounded<T extends string | null>(value: T): T {
  if (value === null || value.length <= maxText) return value
  return Buffer.from(value.slice(0, maxText), 'latin1').toString('latin1') as T
}

/** A 401 that the gate answered is about the token itself; one that the handler answered is like any other 4xx. */
function blockReasonOf(statusCode: number, refused: boolean): string {
  return statusCode === 401 && refused ? 'revoked_or_expired' : `http_${statusCode}`
}
