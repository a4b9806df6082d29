/** Usage records that wait to be stored: a bounded ring of typed-array columns and two plain arrays. */
import type { Exchange, Identity } from '../http/exchange.ts'
import type { UsageRecord } from './usage-store.ts'

/** Characters of one stored text; the rest is cut off. */
const maxText = 1_024
/** Per record: token id, path, method, address, user agent. */
const textsPerRecord = 5

/**
 * ```
 *   [ ........ r r r r r r r r ........ ]
 *              oldest          next            both wrap at the end; size says whether equal means full or empty
 * ```
 * What is read stays until it is released: a batch that could not be stored is read again.
 */
export class UsageQueue {
  readonly capacity: number
  readonly #times: Float64Array
  readonly #durations: Float64Array
  readonly #statuses: Uint16Array
  readonly #refused: Uint8Array
  readonly #texts: (string | undefined)[]
  readonly #owners: (string | undefined)[]
  #oldest = 0
  #next = 0
  #size = 0
  #total = 0

  constructor(capacity: number) {
    this.capacity = capacity
    this.#times = new Float64Array(capacity)
    this.#durations = new Float64Array(capacity)
    this.#statuses = new Uint16Array(capacity)
    this.#refused = new Uint8Array(capacity)
    this.#texts = new Array(capacity * textsPerRecord).fill(undefined)
    this.#owners = new Array(capacity).fill(undefined)
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
    const { req } = exchange
    this.#times[slot] = at
    this.#durations[slot] = exchange.durationMs
    this.#statuses[slot] = exchange.statusCode
    this.#refused[slot] = exchange.denial === undefined ? 0 : 1
    this.#owners[slot] = String(user.email ?? user.id)
    const t = slot * textsPerRecord
    this.#texts[t] = String(tokenId)
    this.#texts[t + 1] = bounded(exchange.path)
    this.#texts[t + 2] = req.method
    this.#texts[t + 3] = exchange.clientAddress
    this.#texts[t + 4] = bounded(req.headers['user-agent'])
    return true
  }

  /** The oldest records, at most `count`. They stay in the queue. */
  read(count: number): UsageRecord[] {
    const length = Math.min(count, this.#size)
    return Array.from({ length }, (_, i) => this.#record((this.#oldest + i) % this.capacity))
  }

  /** Forgets the oldest records. */
  release(count: number): void {
    for (let i = 0; i < count; i++) {
      const slot = this.#oldest
      this.#oldest = (slot + 1) % this.capacity
      this.#size--
      this.#owners[slot] = undefined
      this.#texts.fill(undefined, slot * textsPerRecord, (slot + 1) * textsPerRecord)
    }
  }

  #record(slot: number): UsageRecord {
    const t = slot * textsPerRecord
    const statusCode = this.#statuses[slot]
    const blocked = statusCode >= 400 && statusCode < 500
    return {
      tokenJti: this.#texts[t] as string,
      userEmail: this.#owners[slot] as string,
      timestamp: new Date(this.#times[slot]),
      endpoint: this.#texts[t + 1] as string,
      method: this.#texts[t + 2] ?? '',
      ipAddress: this.#texts[t + 3] ?? null,
      userAgent: this.#texts[t + 4] ?? null,
      statusCode,
      responseTimeMs: this.#durations[slot],
      blocked,
      blockReason: blocked ? blockReasonOf(statusCode, this.#refused[slot] === 1) : null
    }
  }
}

/** A 401 that the gate answered is about the token itself; one that the handler answered is like any other 4xx. */
function blockReasonOf(statusCode: number, refused: boolean): string {
  return statusCode === 401 && refused ? 'revoked_or_expired' : `http_${statusCode}`
}

/** A cut string is copied: a slice would hold on to the whole. */
function bounded(text: string | undefined): string | undefined {
  if (text === undefined || text.length <= maxText) return text
  return Buffer.from(text.slice(0, maxText), 'latin1').toString('latin1')
}
