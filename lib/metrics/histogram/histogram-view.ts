/** What can be asked of a histogram, all of it computed from the counters alone. */
import { wrongOption } from '../../options.ts'
import type { BucketLayout } from './bucket-layout.ts'
import type { Counts } from './histogram-counts.ts'
import type { HistogramStep } from './histogram-iterators.ts'
import * as iterators from './histogram-iterators.ts'
import { RankIndex } from './rank-index.ts'

export abstract class HistogramView {
  readonly layout: BucketLayout
  protected counts: Counts

  constructor(layout: BucketLayout, counts: Counts) {
    this.layout = layout
    this.counts = counts
  }

  /**
   * The value that `percentile` percent of all values do not exceed, as the highest that shares its counter; for 0 the
   * lowest. 0 when nothing was recorded.
   * @param percentile 0 to 100; what is outside counts as the nearer end
   * @throws RangeError when it is not a number
   */
  percentile(percentile: number): number {
    return this.percentilesAt([percentile])[0]!
  }

  /**
   * Several percentiles, in the order they are asked for: little more work than one.
   * @throws RangeError when one is not a number
   */
  percentilesAt(percentiles: readonly number[]): number[] {
    for (const percentile of percentiles) checkPercentile(percentile)
    const { layout } = this
    const ranks = new RankIndex(this.counts)
    return percentiles.map(percentile => {
      if (ranks.total === 0) return 0
      const index = ranks.indexOf(rankOf(percentile, ranks.total))
      return percentile <= 0 ? layout.lowestAt(index) : layout.highestAt(index)
    })
  }

  /** How many values were recorded, those above `highest` included. */
  get count(): number {
    return this.counts.total()
  }

  /** Of `count`, how many were above `highest`. */
  get overflowCount(): number {
    return this.counts.overflow
  }

  /** How many values were refused: NaN, negative, infinite, not a number. */
  get invalidCount(): number {
    return this.counts.invalid
  }

  /** The lowest value that shares a counter with the smallest one recorded; 0 when there is none. */
  get min(): number {
    const first = this.counts.nextInUse(0)
    return first === this.counts.length ? 0 : this.layout.lowestAt(first)
  }

  /** The highest value that shares a counter with the largest one recorded; 0 when there is none. */
  get max(): number {
    const last = this.counts.lastInUse()
    return this.counts.get(last) === 0 ? 0 : this.layout.highestAt(last)
  }

  /** Of all values, each taken as the middle of those that share its counter. */
  get sum(): number {
    const { layout, counts } = this
    let sum = 0
    for (let i = counts.nextInUse(0); i < counts.length; i = counts.nextInUse(i + 1)) {
      sum += layout.medianAt(i) * counts.get(i)
    }
    return sum
  }

  get mean(): number {
    const total = this.counts.total()
    return total === 0 ? 0 : this.sum / total
  }

  /** Of the population, not of a sample. */
  get stddev(): number {
    return this.deviationFrom(this.mean)
  }

  protected deviationFrom(mean: number): number {
    const { layout, counts } = this
    let total = 0
    let squares = 0
    for (let i = counts.nextInUse(0); i < counts.length; i = counts.nextInUse(i + 1)) {
      const count = counts.get(i)
      total += count
      squares += (layout.medianAt(i) - mean) ** 2 * count
    }
    return total === 0 ? 0 : Math.sqrt(squares / total)
  }

  /** How many values share a counter with `value`. */
  countAt(value: number): number {
    return this.counts.get(this.#indexOf(value))
  }

  /** How many values are at most `value`, or share a counter with it. */
  countAtOrBelow(value: number): number {
    const end = Math.min(this.#indexOf(value) + 1, this.counts.length)
    let count = 0
    for (let i = 0; i < end; i++) count += this.counts.get(i)
    return count
  }

  /** The share of values at most `value`, in percent: the inverse of `percentile`. 100 when nothing was recorded. */
  percentileRank(value: number): number {
    const total = this.counts.total()
    return total === 0 ? 100 : (100 * this.countAtOrBelow(value)) / total
  }

  /** The smallest value that shares a counter with `value`. */
  lowestEquivalentValue(value: number): number {
    return this.layout.lowestAt(this.#indexOf(value))
  }

  /** The largest value that shares a counter with `value`. */
  highestEquivalentValue(value: number): number {
    return this.layout.highestAt(this.#indexOf(value))
  }

  medianEquivalentValue(value: number): number {
    return this.layout.medianAt(this.#indexOf(value))
  }

  nextNonEquivalentValue(value: number): number {
    const index = this.#indexOf(value)
    return this.layout.lowestAt(index) + this.layout.widthAt(index)
  }

  /** How many integers share a counter with `value`. */
  sizeOfEquivalentValueRange(value: number): number {
    return this.layout.widthAt(this.#indexOf(value))
  }

  valuesAreEquivalent(a: number, b: number): boolean {
    return this.#indexOf(a) === this.#indexOf(b)
  }

  /** One step for each counter in use. This and the other iterators walk through the counts of this moment. */
  recordedValues(): Generator<HistogramStep> {
    return iterators.recordedValues(this.layout, this.counts.copy())
  }

  /**
   * Steps that come closer to 100 % the closer they are.
   * @param ticksPerHalfDistance steps on the way to 50 %, from there to 75 %, and so on
   */
  percentiles(ticksPerHalfDistance = 5): Generator<HistogramStep> {
    checkStep('ticksPerHalfDistance', ticksPerHalfDistance)
    return iterators.percentiles(this.layout, this.counts.copy(), ticksPerHalfDistance)
  }

  /** Steps of equal width. Where one counter spans several steps, the first of them has all its values. */
  linearBucketValues(valueUnitsPerBucket: number): Generator<HistogramStep> {
    checkStep('valueUnitsPerBucket', valueUnitsPerBucket)
    return iterators.linearBucketValues(this.layout, this.counts.copy(), valueUnitsPerBucket)
  }

  /**
   * Steps that grow by a factor. Where one counter spans several steps, the first of them has all its values.
   * @param logBase the factor, more than 1
   */
  logarithmicBucketValues(valueUnitsInFirstBucket: number, logBase: number): Generator<HistogramStep> {
    checkStep('valueUnitsInFirstBucket', valueUnitsInFirstBucket)
    if (!(logBase > 1)) throw wrongOption('Histogram', 'logBase', 'more than 1', logBase, RangeError)
    return iterators.logarithmicBucketValues(
      this.layout,
      this.counts.copy(),
      valueUnitsInFirstBucket,
      logBase
    )
  }

  /** @throws RangeError when the value is no number from 0 to 2^53 - 1 */
  #indexOf(value: number): number {
    if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) {
      throw wrongOption('Histogram', 'value', 'a number from 0 to 2^53 - 1', value, RangeError)
    }
    return this.layout.indexOf(Math.floor(value))
  }
}

function checkPercentile(percentile: number): void {
  if (typeof percentile !== 'number' || Number.isNaN(percentile)) {
    throw wrongOption('Histogram', 'percentile', 'a number from 0 to 100', percentile, RangeError)
  }
}

function checkStep(parameter: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw wrongOption('Histogram', parameter, 'a positive integer', value, RangeError)
  }
}

/**
 * How many values must be counted to reach a percentile. The next double below it is taken, as in HdrHistogram's Java
 * reference, so that a percentile that was computed as a share of the count does not end up one value too high.
 */
function rankOf(percentile: number, total: number): number {
  const within = Math.min(Math.max(nextBelow(percentile), 0), 100)
  return Math.max(Math.ceil((within * total) / 100), 1)
}

const double = new Float64Array(1)
const doubleBits = new BigInt64Array(double.buffer)

/** Of all doubles below a number the greatest; for what is not above 0, something not above 0. */
function nextBelow(value: number): number {
  if (value <= 0 || value === Number.POSITIVE_INFINITY) return value
  double[0] = value
  doubleBits[0]! -= 1n
  return double[0]
}
