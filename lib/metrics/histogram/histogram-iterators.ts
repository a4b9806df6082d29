/** Walks through the counts of a histogram, step by step, as HdrHistogram's iterators do. */
import type { BucketLayout } from './bucket-layout.ts'
import type { Counts } from './histogram-counts.ts'

/** One step; named as in the other HdrHistogram libraries. */
export interface HistogramStep {
  /** Where the step before ended. */
  valueIteratedFrom: number
  valueIteratedTo: number
  /** In the last counter of the step. */
  countAtValueIteratedTo: number
  countAddedInThisIterationStep: number
  totalCountToThisValue: number
  totalValueToThisValue: number
  /** The share of all values up to here, in percent. */
  percentile: number
  /** The percentile that the step stands for; differs from `percentile` in the percentile iterator only. */
  percentileLevelIteratedTo: number
}

/** One step for each counter in use. */
export function* recordedValues(layout: BucketLayout, counts: Counts): Generator<HistogramStep> {
  const cursor = new Cursor(layout, counts)
  while (cursor.remaining) {
    while (cursor.count === 0) cursor.advance()
    yield cursor.step(cursor.highest)
    cursor.advance()
  }
}

/**
 * Steps that halve the distance to 100 % again and again.
 * @param ticksPerHalfDistance steps on the way to each half
 */
export function* percentiles(
  layout: BucketLayout,
  counts: Counts,
  ticksPerHalfDistance: number
): Generator<HistogramStep> {
  const cursor = new Cursor(layout, counts)
  let level = 0
  while (cursor.remaining) {
    while (cursor.count === 0 || cursor.percentile < level) cursor.advance()
    yield cursor.step(cursor.highest, level)
    const halvings = Math.trunc(Math.log(100 / (100 - level)) / Math.log(2)) + 1
    level += 100 / (ticksPerHalfDistance * 2 ** halvings)
  }
  if (cursor.total > 0) yield cursor.step(cursor.highest, 100)
}

/** Steps of equal width. Where a counter spans several steps, the first of them has all its values. */
export function linearBucketValues(
  layout: BucketLayout,
  counts: Counts,
  width: number
): Generator<HistogramStep> {
  return reportingLevels(
    layout,
    counts,
    width,
    end => end + width,
    (end, next) => end <= next
  )
}

/** Steps that grow by a factor. Where a counter spans several steps, the first of them has all its values. */
export function logarithmicBucketValues(
  layout: BucketLayout,
  counts: Counts,
  firstWidth: number,
  base: number
): Generator<HistogramStep> {
  return reportingLevels(
    layout,
    counts,
    firstWidth,
    end => end * base,
    (end, next) => Math.trunc(end) < next
  )
}

/**
 * @param next from the end of a step, exclusive, to that of the next one
 * @param within whether a step that ends at `end` still belongs to the counter below `nextLowest`
 */
function* reportingLevels(
  layout: BucketLayout,
  counts: Counts,
  first: number,
  next: (end: number) => number,
  within: (end: number, nextLowest: number) => boolean
): Generator<HistogramStep> {
  const cursor = new Cursor(layout, counts)
  let end = first
  let to = Math.trunc(end) - 1
  // On to the end of the last counter in use, not only to its first step.
  while (cursor.remaining || within(end, cursor.nextLowest)) {
    const lowest = layout.lowestAt(layout.indexOf(Math.min(to, Number.MAX_SAFE_INTEGER)))
    while (cursor.lowest < lowest && cursor.index < layout.length - 1) cursor.advance()
    yield cursor.step(to)
    end = next(end)
    to = Math.trunc(end) - 1
  }
}

class Cursor {
  readonly total: number
  index = 0
  count: number
  readonly #layout: BucketLayout
  readonly #counts: Counts
  #running: number
  #sum: number
  #runningBefore = 0
  #valueBefore = 0

  constructor(layout: BucketLayout, counts: Counts) {
    this.#layout = layout
    this.#counts = counts
    // Added up in the order of the walk: beyond 2^53 another order gives another sum, which the walk might not reach.
    let total = 0
    for (let i = 0; i < counts.length; i++) total += counts.get(i)
    this.total = total
    this.count = counts.get(0)
    this.#running = this.count
    this.#sum = this.count * layout.highestAt(0)
  }

  get remaining(): boolean {
    return this.#runningBefore < this.total
  }

  get lowest(): number {
    return this.#layout.lowestAt(this.index)
  }

  get highest(): number {
    return this.#layout.highestAt(this.index)
  }

  get nextLowest(): number {
    return this.highest + 1
  }

  get percentile(): number {
    return (100 * this.#running) / this.total
  }

  advance(): void {
    this.index++
    this.count = this.#counts.get(this.index)
    this.#running += this.count
    if (this.count > 0) this.#sum += this.count * this.highest
  }

  step(valueIteratedTo: number, level = this.percentile): HistogramStep {
    const step = {
      valueIteratedFrom: this.#valueBefore,
      valueIteratedTo,
      countAtValueIteratedTo: this.count,
      countAddedInThisIterationStep: this.#running - this.#runningBefore,
      totalCountToThisValue: this.#running,
      totalValueToThisValue: this.#sum,
      percentile: this.percentile,
      percentileLevelIteratedTo: level
    }
    this.#runningBefore = this.#running
    this.#valueBefore = valueIteratedTo
    return step
  }
}
