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
  /** The first index from `from` on whose count is not 0; `length` when there is none. */
  nextInUse(from: number): number
  /** @param count may be negative, then at most what is there */
  add(index: number, count: number): void
  addOverflow(count: number): void
  addInvalid(count: number): void
  total(): number
  /** Fills in the sum of the first `chunkLength` counters, that of the next, and so on; gives their total. */
  sumChunks(sums: Float64Array): number
  /** 0 when none is. */
  lastInUse(): number
  clear(): void
  /** The same counts at this moment, in counters of their own. */
  copy(): OwnCounts
}

/** A multiple of `blockLength`. */
export const chunkLength = 64

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

  nextInUse(from: number): number {
    const { low } = this
    const { length } = low
    for (let i = from; i < length; i++) {
      if (low[i] !== 0 || (this.#high !== undefined && this.#high[i] !== 0)) return i
      if (i % blockLength !== blockLength - 1 || this.#high !== undefined) continue
      while (i + blockLength < length && isEmptyBlock(low, i + 1)) i += blockLength
    }
    return length
  }

  /** Counters stop at 2^53 - 1. */
  add(index: number, count: number): void {
    if (index >= this.low.length) this.#grow(index)
    const sum = this.get(index) + count
    if (sum < wordRange && this.#high === undefined) this.low[index] = sum
    else this.#set(index, Math.min(sum, Number.MAX_SAFE_INTEGER))
  }

  addOverflow(count: number): void {
    this.overflow += count
  }

  addInvalid(count: number): void {
    this.invalid += count
  }

  total(): number {
    return this.#sum(0, this.low.length)
  }

  sumChunks(sums: Float64Array): number {
    let total = 0
    for (let chunk = 0; chunk < sums.length; chunk++) {
      const sum = this.#sum(chunk * chunkLength, (chunk + 1) * chunkLength)
      sums[chunk] = sum
      total += sum
    }
    return total
  }

  lastInUse(): number {
    const { low } = this
    let i = low.length - 1
    if (this.#high === undefined) {
      while (i >= blockLength && isEmptyBlock(low, i - blockLength + 1)) i -= blockLength
    }
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

  /** @param from at the beginning of a block */
  #sum(from: number, to: number): number {
    const { low } = this
    const end = Math.min(to, low.length)
    let sum = 0
    let i = from
    if (this.#high === undefined) for (; i + blockLength <= end; i += blockLength) sum += blockSum(low, i)
    for (; i < end; i++) sum += this.get(i)
    return sum
  }

  #set(index: number, count: number): void {
    this.#high ??= new Uint32Array(this.low.length)
    this.low[index] = count % wordRange
    this.#high[index] = Math.floor(count / wordRange)
  }

  /** By little: what is never used takes memory, and time whenever the histogram is asked. */
  #grow(index: number): void {
    const { length: before } = this.low
    const length = Math.min(Math.max((index | 511) + 1, before + (before >> 2)), this.#capacity)
    this.low = widened(this.low, length)
    if (this.#high !== undefined) this.#high = widened(this.#high, length)
  }
}

const blockLength = 8

/** Most blocks of a histogram are empty, and that takes no additions to see. */
function isEmptyBlock(words: Uint32Array, at: number): boolean {
  const first = words[at]! | words[at + 1]! | words[at + 2]! | words[at + 3]!
  return (first | words[at + 4]! | words[at + 5]! | words[at + 6]! | words[at + 7]!) === 0
}

function blockSum(words: Uint32Array, at: number): number {
  const a = words[at]!
  const b = words[at + 1]!
  const c = words[at + 2]!
  const d = words[at + 3]!
  const e = words[at + 4]!
  const f = words[at + 5]!
  const g = words[at + 6]!
  const h = words[at + 7]!
  const bits = a | b | c | d | e | f | g | h
  if (bits === 0) return 0
  // Eight numbers below 2^28 can be added as integers, which takes less time.
  return bits >>> 28 === 0 ? (a + b + c + d + e + f + g + h) | 0 : a + b + c + d + e + f + g + h
}

function widened(words: Uint32Array, length: number): Uint32Array {
  const wider = new Uint32Array(length)
  wider.set(words)
  return wider
}
