/** A histogram with a bounded relative error at every magnitude: HdrHistogram, after the Java reference. */
import { wrongOption } from '../../options.ts'
import { BucketLayout, type BucketOptions } from './bucket-layout.ts'
import { bytesOfBase64, compress, decode, encode } from './histogram-codec.ts'
import { OwnCounts } from './histogram-counts.ts'
import { HistogramError } from './histogram-error.ts'
import { HistogramView } from './histogram-view.ts'
import { SharedCounts, sharedBuffer } from './shared-counts.ts'

export interface HistogramOptions extends BucketOptions {
  /**
   * Counters that many threads record into: from `Histogram.sharedBuffer`, or any SharedArrayBuffer of zeros that is large
   * enough. A buffer that is in use brings its `lowest`, `highest` and `significantDigits` along.
   */
  buffer?: SharedArrayBuffer
}

/** What `JSON.stringify` makes of a histogram. */
export interface HistogramJson {
  /** V2, uncompressed, base64. */
  counts: string
  overflowCount: number
  invalidCount: number
}

/** A summary in plain numbers, in the unit of the recorded values. */
export interface HistogramSnapshot {
  count: number
  sum: number
  min: number
  max: number
  mean: number
  stddev: number
  p50: number
  p75: number
  p90: number
  p95: number
  p99: number
  p999: number
  overflowCount: number
  invalidCount: number
}

/**
 * Counts non-negative integers; fractions are cut off. Everything it tells is computed from the counters alone, so two
 * histograms that were merged, decoded or shared tell exactly what one that recorded it all would.
 *
 * A value above `highest` counts as `highest`, and in `overflowCount`. What is no finite number from 0 on is refused and
 * counted in `invalidCount`. A counter stops at 2^53 - 1. Recording never throws.
 */
export class Histogram extends HistogramView {
  readonly #shared = this.counts instanceof SharedCounts ? this.counts : undefined
  /** The counters' lower words, for `record`. */
  #words: Uint32Array = new Uint32Array(0)
  // What `record` computes with, the layout's arithmetic at hand. Each is a small integer from the first moment on: a field
  // that was undefined or a double before is loaded with checks for ever.
  /** Below this, `record` finds the counter with 32-bit arithmetic, and it exists. */
  #limit = 0
  readonly #unitMagnitude = this.layout.unitMagnitude
  readonly #halfMagnitude = this.layout.halfMagnitude
  readonly #leadingZeros = this.layout.leadingZeros
  readonly #mask = this.layout.mask

  /** @throws RangeError when an option is out of its range; the message names it and shows the value */
  constructor(options: HistogramOptions = {}) {
    const shared = options.buffer === undefined ? undefined : new SharedCounts(options.buffer, options)
    const layout = shared?.layout ?? new BucketLayout(options)
    super(layout, shared ?? new OwnCounts(layout.length, layout.subBucketCount))
    this.#follow()
  }

  /**
   * A buffer for a histogram that many threads record into.
   *
   * @example
   * const buffer = Histogram.sharedBuffer({ highest: 60e6 })
   * new Worker(file, { workerData: buffer })          // there: new Histogram({ buffer: workerData }).record(…)
   * new Histogram({ buffer }).percentile(99)
   */
  static sharedBuffer(options: BucketOptions = {}): SharedArrayBuffer {
    return sharedBuffer(options)
  }

  /** The counters, to hand to other threads; undefined when they are this thread's own. */
  get buffer(): SharedArrayBuffer | undefined {
    return this.#shared?.buffer
  }

  /**
   * Counts a value, constant time.
   * @param value from 0 to `highest`, in the unit of your choice
   * @param count how many of them, an integer from 0 to 2^53 - 1
   */
  record(value: number, count = 1): void {
    if (typeof value === 'number' && value >= 0 && value < this.#limit && count === 1) {
      const bits = value | 0
      const bucket = this.#leadingZeros - Math.clz32(bits | this.#mask)
      const index = (bucket << this.#halfMagnitude) + (bits >> (bucket + this.#unitMagnitude))
      const before = this.#words[index]!
      if (before !== 0xffffffff) {
        this.#words[index] = before + 1
        return
      }
    }
    this.#recordRare(value, count)
  }

  /**
   * Counts a value and those that a stalled caller failed to measure: value - interval, value - 2 * interval, … down to
   * the interval itself (coordinated omission).
   * @param expectedInterval between two values, same unit; one below 1 or above the value corrects nothing. What is no
   * number is refused together with the value.
   */
  recordCorrected(value: number, expectedInterval: number, count = 1): void {
    if (typeof expectedInterval !== 'number' || Number.isNaN(expectedInterval)) {
      this.counts.addInvalid(1)
      return
    }
    this.record(value, count)
    const interval = Math.floor(expectedInterval)
    if (!(interval >= 1 && interval <= value) || !isMagnitude(value) || !isCount(count)) return
    const { layout } = this
    let missing = Math.min(Math.floor(value), Number.MAX_SAFE_INTEGER) - interval
    while (missing >= interval) {
      // All that share a counter at once: the work is bounded by the number of counters.
      const above = missing > layout.highest ? layout.highest + 1 : 0
      const last = Math.max(layout.lowestAt(layout.indexOf(missing)), above, interval)
      const steps = Math.floor((missing - last) / interval) + 1
      this.record(missing, Math.min(steps * count, Number.MAX_SAFE_INTEGER))
      missing -= steps * interval
    }
  }

  /** Adds all that another histogram counted. What this one has no counter for is counted like a value above `highest`. */
  add(other: Histogram): void {
    const { counts, layout } = other
    const aligned = layout.matches(this.layout) && counts.length <= this.layout.length
    for (let i = counts.nextInUse(0); i < counts.length; i = counts.nextInUse(i + 1)) {
      if (aligned) this.counts.add(i, counts.get(i))
      else this.#addAt(layout, i, counts.get(i))
    }
    this.counts.addOverflow(counts.overflow)
    this.counts.addInvalid(counts.invalid)
    this.#follow()
  }

  /**
   * Takes away what another histogram counted, such as an earlier copy of this one.
   * @throws HistogramError `ERR_HISTOGRAM_SUBTRACT` when it counted more somewhere; this one is then left as it was
   */
  subtract(other: Histogram): void {
    const { counts } = this
    const share = new Histogram(this.layout)
    share.add(other)
    for (let i = 0; i < share.counts.length; i++) {
      if (share.counts.get(i) > counts.get(i)) {
        throw new HistogramError(
          'ERR_HISTOGRAM_SUBTRACT',
          `Histogram: cannot subtract ${share.counts.get(i)} values at ${this.layout.lowestAt(i)}, there are ${counts.get(i)}`
        )
      }
    }
    for (let i = 0; i < share.counts.length; i++) {
      const count = share.counts.get(i)
      if (count > 0) counts.add(i, -count)
    }
    counts.addOverflow(-Math.min(share.overflowCount, counts.overflow))
    counts.addInvalid(-Math.min(share.invalidCount, counts.invalid))
  }

  /** An independent histogram with the same content. */
  copy(): Histogram {
    return Histogram.#of(this.layout, this.counts.copy())
  }

  /** Forgets everything, `overflowCount` and `invalidCount` too. */
  reset(): void {
    this.counts.clear()
  }

  snapshot(): HistogramSnapshot {
    const frozen = this.copy()
    const { count, sum, min, max, overflowCount, invalidCount } = frozen
    const mean = count === 0 ? 0 : sum / count
    const stddev = frozen.deviationFrom(mean)
    const [p50, p75, p90, p95, p99, p999] = frozen.percentilesAt(summarized)
    return {
      ...{ count, sum, min, max, mean, stddev },
      ...{ p50, p75, p90, p95, p99, p999 },
      ...{ overflowCount, invalidCount }
    }
  }

  /**
   * The counts in HdrHistogram's V2 format, which its libraries in other languages read. `overflowCount` and `invalidCount`
   * have no place in it.
   * @param options.compressed in a zlib stream, default true
   */
  encode({ compressed = true }: { compressed?: boolean } = {}): Uint8Array {
    const plain = encode(this.layout, this.counts.copy())
    return compressed ? compress(plain) : plain
  }

  /** The compressed V2 format as text, `HISTFAAA…`, as interval logs have it. */
  toBase64(): string {
    return Buffer.from(this.encode()).toString('base64')
  }

  /**
   * Reads V2, V1 and V0, compressed or not, as bytes or base64. A highest value beyond 2^53 - 1 becomes 2^53 - 1.
   * Memory is bounded by the configuration in the header: 65 MB for 5 digits up to 2^53 - 1, 0.6 MB for 3 digits.
   * @throws HistogramError `ERR_HISTOGRAM_FORMAT`, `ERR_HISTOGRAM_LENGTH` or `ERR_HISTOGRAM_RANGE` for what is no histogram
   */
  static decode(encoded: Uint8Array | string): Histogram {
    if (typeof encoded !== 'string' && !(encoded instanceof Uint8Array)) {
      throw wrongOption('Histogram', 'encoded', 'a Uint8Array or base64', encoded)
    }
    const { layout, counts } = decode(typeof encoded === 'string' ? bytesOfBase64(encoded.trim()) : encoded)
    return Histogram.#of(layout, counts)
  }

  /** All of the histogram, for another process. */
  toJSON(): HistogramJson {
    const counts = this.counts.copy()
    return {
      counts: Buffer.from(encode(this.layout, counts)).toString('base64'),
      overflowCount: counts.overflow,
      invalidCount: counts.invalid
    }
  }

  /** @throws HistogramError as `decode` does, `ERR_HISTOGRAM_RANGE` also when the other counts are none */
  static fromJSON({ counts, overflowCount, invalidCount }: HistogramJson): Histogram {
    const histogram = Histogram.decode(counts)
    if (!isCount(overflowCount) || !isCount(invalidCount)) {
      throw new HistogramError(
        'ERR_HISTOGRAM_RANGE',
        `Histogram: overflowCount and invalidCount must be counts, got ${String(overflowCount)} and ${String(invalidCount)}`
      )
    }
    histogram.counts.addOverflow(overflowCount)
    histogram.counts.addInvalid(invalidCount)
    return histogram
  }

  static #of(layout: BucketLayout, counts: OwnCounts): Histogram {
    const histogram = new Histogram(layout)
    histogram.counts = counts
    histogram.#follow()
    return histogram
  }

  /** What `record` cannot do in a few instructions: large, refused or many values, shared counters, ones that overflow. */
  #recordRare(value: number, count: number): void {
    if (!isMagnitude(value) || !isCount(count)) {
      this.counts.addInvalid(isCount(count) ? count : 1)
      return
    }
    const { layout } = this
    const beyond = value >= layout.highest + 1
    const index = layout.indexOf(beyond ? layout.highest : Math.floor(value))
    if (this.#shared === undefined) this.#addOwn(index, count)
    else this.#shared.add(index, count)
    if (beyond) this.counts.addOverflow(count)
  }

  #addOwn(index: number, count: number): void {
    this.counts.add(index, count)
    if (index >= this.#words.length) this.#follow()
  }

  #addAt(layout: BucketLayout, index: number, count: number): void {
    const own = layout.matches(this.layout) ? index : this.layout.indexOf(layout.lowestAt(index))
    if (own < this.layout.length) {
      this.counts.add(own, count)
    } else {
      this.counts.add(this.layout.indexOf(this.layout.highest), count)
      this.counts.addOverflow(count)
    }
  }

  /** The counters may have moved to a longer array. */
  #follow(): void {
    const { layout, counts } = this
    if (!(counts instanceof OwnCounts) || this.#words === counts.low) return
    this.#words = counts.low
    this.#limit = Math.min(layout.lowestAt(counts.length), layout.highest + 1, layout.smallLimit)
  }
}

const summarized = [50, 75, 90, 95, 99, 99.9]

function isMagnitude(value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && value < Number.POSITIVE_INFINITY
}

function isCount(count: unknown): boolean {
  return Number.isSafeInteger(count) && (count as number) >= 0
}
