/** Which values share a counter: the bucket arithmetic of HdrHistogram, exact up to 2^53 - 1. */
import { wrongOption } from '../../options.ts'

export interface BucketOptions {
  /** The smallest step that values are told apart by, a positive integer. Default 1. */
  lowest?: number
  /** The largest value that is kept apart, at least twice `lowest`, at most 2^53 - 1. Default 3.6e9: one hour in µs. */
  highest?: number
  /** Decimal digits kept of every value, 0 to 5. Default 3: a bucket is never wider than 1/1024 of its values. */
  significantDigits?: number
}

/** log2 of the smallest power of two that is not below 2 * 10^digits. */
const subBucketMagnitudes = [1, 5, 8, 11, 15, 18] as const

/**
 * Linear inside a bucket, doubling from bucket to bucket. With 4 sub-buckets (lowest = 1) instead of 2048:
 *
 * ```
 *   value   0   1   2   3 │ 4     6    │ 8         12        │ 16                  24
 *   bucket  ──── 0 ────── │ ──── 1 ─── │ ──────── 2 ──────── │ ────────── 3 ───────────────
 *   width   1   1   1   1 │ 2     2    │ 4         4         │ 8                   8
 *   index   0   1   2   3 │ 4     5    │ 6         7         │ 8                   9
 * ```
 *
 * The lower half of every later bucket is the whole of the one before it, so only upper halves have counters.
 */
export class BucketLayout {
  readonly lowest: number
  readonly highest: number
  readonly significantDigits: number
  /** log2 of the width of the narrowest bucket. */
  readonly unitMagnitude: number
  readonly subBucketMagnitude: number
  readonly subBucketCount: number
  readonly bucketCount: number
  /** Number of counters. */
  readonly length: number
  /** Values below can be looked up with 32-bit arithmetic: 2^31 - 1, or 0 where the first bucket alone is too wide. */
  readonly smallLimit: number
  readonly halfMagnitude: number
  /** Of the largest value in bucket 0, and all the bits that values there can have. */
  readonly leadingZeros: number
  readonly mask: number

  /** @throws RangeError when an option is out of its range; the message names it and shows the value */
  constructor({ lowest = 1, highest = 3.6e9, significantDigits = 3 }: BucketOptions = {}) {
    if (!Number.isSafeInteger(lowest) || lowest < 1) {
      throw wrongOption('Histogram', 'lowest', 'a positive integer', lowest, RangeError)
    }
    if (!Number.isSafeInteger(highest) || highest < 2 * lowest) {
      throw wrongOption('Histogram', 'highest', 'an integer from 2 * lowest to 2^53 - 1', highest, RangeError)
    }
    if (!Number.isInteger(significantDigits) || significantDigits < 0 || significantDigits > 5) {
      throw wrongOption(
        'Histogram',
        'significantDigits',
        'an integer from 0 to 5',
        significantDigits,
        RangeError
      )
    }
    this.lowest = lowest
    this.highest = highest
    this.significantDigits = significantDigits
    this.unitMagnitude = bitLength(lowest) - 1
    this.subBucketMagnitude = subBucketMagnitudes[significantDigits]!
    if (this.unitMagnitude + this.subBucketMagnitude > maxMagnitude) {
      throw wrongOption(
        'Histogram',
        'lowest',
        `less than ${2 ** (maxMagnitude - this.subBucketMagnitude + 1)} with ${significantDigits} digits`,
        lowest,
        RangeError
      )
    }
    this.subBucketCount = 1 << this.subBucketMagnitude
    this.bucketCount = 1
    for (let covered = this.subBucketCount * 2 ** this.unitMagnitude; covered <= highest; covered *= 2) {
      this.bucketCount++
    }
    this.length = (this.bucketCount + 1) * (this.subBucketCount / 2)
    this.halfMagnitude = this.subBucketMagnitude - 1
    this.leadingZeros = 32 - this.unitMagnitude - this.subBucketMagnitude
    this.mask = this.leadingZeros > 0 ? -1 >>> this.leadingZeros : 0
    this.smallLimit = this.leadingZeros > 0 ? largestInt32 : 0
  }

  /** @param value an integer from 0 to 2^53 - 1 */
  indexOf(value: number): number {
    if (value < this.smallLimit) {
      const bucket = this.leadingZeros - Math.clz32(value | this.mask)
      return (bucket << this.halfMagnitude) + (value >> (bucket + this.unitMagnitude))
    }
    const bucket = Math.max(bitLength(value) - this.unitMagnitude - this.subBucketMagnitude, 0)
    return (bucket << this.halfMagnitude) + Math.floor(value / powersOfTwo[bucket + this.unitMagnitude]!)
  }

  /** The smallest value counted at an index. */
  lowestAt(index: number): number {
    const bucket = this.#bucketOf(index)
    return (index - bucket * (this.subBucketCount / 2)) * powersOfTwo[bucket + this.unitMagnitude]!
  }

  /** How many integers are counted at an index. */
  widthAt(index: number): number {
    return powersOfTwo[this.#bucketOf(index) + this.unitMagnitude]!
  }

  highestAt(index: number): number {
    return this.lowestAt(index) + this.widthAt(index) - 1
  }

  medianAt(index: number): number {
    return this.lowestAt(index) + Math.floor(this.widthAt(index) / 2)
  }

  /** Whether an index means the same values in both. */
  matches(other: BucketLayout): boolean {
    return this.unitMagnitude === other.unitMagnitude && this.subBucketMagnitude === other.subBucketMagnitude
  }

  /** Bucket 0 has two halves of counters, every other has one. */
  #bucketOf(index: number): number {
    return Math.max((index >> (this.subBucketMagnitude - 1)) - 1, 0)
  }
}

/** Of the values in the first bucket, in bits: HdrHistogram computes with 63 of them. */
const maxMagnitude = 62

const largestInt32 = 2 ** 31 - 1

/** Looked up, since `2 ** n` takes many times as long. */
const powersOfTwo = Float64Array.from({ length: 128 }, (_, n) => 2 ** n)

/** Never `Math.log2`: it rounds 2^49 - 1 and its like up. */
function bitLength(value: number): number {
  return value < 2 ** 32 ? 32 - Math.clz32(value) : 64 - Math.clz32(value / 2 ** 32)
}
