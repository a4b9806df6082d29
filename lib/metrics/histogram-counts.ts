/** The counters of a histogram that one thread owns. */

/** What the readers of a histogram see of its counters. Counters outside `length` are zero. */
export interface Counts {
  /** Counters from here on are zero. */
  readonly length: number
  /** Values above the highest, counted at the highest. */
  readonly overflow: number
  /** What was no value, counted nowhere else. */
  readonly invalid: number
  get(index: number): number
  /** @param count may be negative, then at most what is there */
  add(index: number, count: number): void
  addOverflow(count: number): void
  addInvalid(count: number): void
  total(): number
  /** The first index at which the running total reaches `rank`, the last one in use if it never does. */
  indexOfRank(rank: number): number
  clear(): void
  /** The same counts at this moment, in counters of their own. */
  copy(): OwnCounts
}

const wordRange = 2 ** 32

/** 32-bit words that grow with the values seen; the upper halves come into being when the first counter needs one. */
export class OwnCounts implements Counts {
  /** The lower 32 bits. `Histogram.record` writes here by itself. */
  low: Uint32Array
  overflow = 0
  invalid = 0
  readonly #capacity: number
  #high: Uint32Array | undefined

  /** @param capacity counters at most, @param length counters at first */
  constructor(capacity: number, length: number) {
    this.#capacity = capacity
    this.low = new Uint32Array(Math.min(capacity, length))
  }

  get length(): number {
    return this.low.length
  }

  get(index: number): number {
    if (index >= this.low.length) return 0
    return this.#high === undefined ? this.low[index]! : this.low[index]! + this.#high[index]! * wordRange
  }

  /** Counters stop at 2^53 - 1. */
  add(index: number, count: number): void {
    if (index >= this.low.length) this.#grow(index)
    const sum = Math.min(this.get(index) + count, Number.MAX_SAFE_INTEGER)
    this.low[index] = sum % wordRange
    if (sum >= wordRange) this.#high ??= new Uint32Array(this.low.length)
    if (this.#high !== undefined) this.#high[index] = Math.floor(sum / wordRange)
  }

  addOverflow(count: number): void {
    this.overflow += count
  }

  addInvalid(count: number): void {
    this.invalid += count
  }

  total(): number {
    const low = this.low
    let total = 0
    for (let i = 0; i < low.length; i++) total += low[i]!
    if (this.#high !== undefined) for (const word of this.#high) total += word * wordRange
    return total
  }

  indexOfRank(rank: number): number {
    const { low } = this
    const high = this.#high
    let last = 0
    let running = 0
    for (let i = 0; i < low.length; i++) {
      const count = high === undefined ? low[i]! : low[i]! + high[i]! * wordRange
      if (count === 0) continue
      running += count
      if (running >= rank) return i
      last = i
    }
    return last
  }

  clear(): void {
    this.low.fill(0)
    this.#high = undefined
    this.overflow = 0
    this.invalid = 0
  }

  copy(): OwnCounts {
    const copy = new OwnCounts(this.#capacity, 0)
    copy.low = this.low.slice()
    copy.#high = this.#high?.slice()
    copy.overflow = this.overflow
    copy.invalid = this.invalid
    return copy
  }

  #grow(index: number): void {
    const length = Math.min(Math.max(index + 1, this.low.length * 2), this.#capacity)
    this.low = widened(this.low, length)
    if (this.#high !== undefined) this.#high = widened(this.#high, length)
  }
}

function widened(words: Uint32Array, length: number): Uint32Array {
  const wider = new Uint32Array(length)
  wider.set(words)
  return wider
}
