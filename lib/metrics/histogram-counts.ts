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
  /** The first index at which the running total reaches `rank`, from 1 up; the last one in use if it never does. */
  indexOfRank(rank: number): number
  /** 0 when none is. */
  lastInUse(): number
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
    const { low } = this
    const blocks = low.length - (low.length % blockLength)
    let total = 0
    for (let i = 0; i < blocks; i += blockLength) total += blockSum(low, i)
    for (let i = blocks; i < low.length; i++) total += low[i]!
    if (this.#high !== undefined) for (const word of this.#high) total += word * wordRange
    return total
  }

  indexOfRank(rank: number): number {
    const { low } = this
    let running = 0
    let i = 0
    if (this.#high === undefined) {
      for (; i + blockLength <= low.length; i += blockLength) {
        const sum = blockSum(low, i)
        if (running + sum >= rank) break
        running += sum
      }
    }
    for (; i < low.length; i++) {
      running += this.get(i)
      if (running >= rank) return i
    }
    return this.lastInUse()
  }

  lastInUse(): number {
    let i = this.length - 1
    while (i > 0 && this.get(i) === 0) i--
    return Math.max(i, 0)
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

const blockLength = 8

/** Most blocks of a histogram are empty, and that takes no additions to see. */
function blockSum(words: Uint32Array, at: number): number {
  const a = words[at]!
  const b = words[at + 1]!
  const c = words[at + 2]!
  const d = words[at + 3]!
  const e = words[at + 4]!
  const f = words[at + 5]!
  const g = words[at + 6]!
  const h = words[at + 7]!
  return (a | b | c | d | e | f | g | h) === 0 ? 0 : a + b + (c + d) + (e + f + (g + h))
}

function widened(words: Uint32Array, length: number): Uint32Array {
  const wider = new Uint32Array(length)
  wider.set(words)
  return wider
}
