/** Durations counted into explicit bounds: the histogram of one series. */
import { checkOption, shown } from '../../options.ts'
import { type Exemplar, type HistogramPoint, LabelSet } from '../metric.ts'
import { NativeCounts } from './native-counts.ts'

/** Bounds in seconds of `http.server.request.duration` (OpenTelemetry semantic conventions). */
export const standardBounds: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10
]

/** Seconds for which a bucket's exemplar is kept before a newer one may take its place. */
const exemplarSeconds = 1

/**
 * One series. Each bucket is counted by comparing the measured value with the bound, so the counts are exact: nothing
 * is derived from another histogram, whose buckets might lie across a bound.
 * Doubles hold the counts: exact to 2^53, no wrap.
 */
export class DurationBuckets implements HistogramPoint {
  readonly labels: LabelSet
  readonly counts: Float64Array
  readonly createdAt: number
  readonly native: NativeCounts | undefined
  count = 0
  sum = 0
  exemplars: (Exemplar | undefined)[] | undefined
  readonly #bounds: readonly number[]

  /** @param nativeSchema resolution of the native histogram, if there is one */
  constructor(bounds: readonly number[], labels: LabelSet = LabelSet.empty, nativeSchema?: number) {
    this.#bounds = bounds
    this.labels = labels
    this.counts = new Float64Array(bounds.length + 1)
    this.createdAt = Date.now() / 1000
    this.native = nativeSchema === undefined ? undefined : new NativeCounts(nativeSchema)
  }

  /** Counts a duration and gives the index of its bucket. A bound belongs to the bucket below it. */
  observe(seconds: number): number {
    const bounds = this.#bounds
    let bucket = 0
    while (bucket < bounds.length && seconds > bounds[bucket]) bucket++
    this.counts[bucket]++
    this.count++
    this.sum += seconds
    if (this.native !== undefined) this.native.observe(seconds)
    return bucket
  }

  /** True when a bucket has no exemplar, or an old one. */
  wantsExemplar(bucket: number, now: number): boolean {
    const exemplar = this.exemplars?.[bucket]
    return exemplar === undefined || now - exemplar.timestamp >= exemplarSeconds
  }

  keepExemplar(bucket: number, exemplar: Exemplar): void {
    this.exemplars ??= new Array<Exemplar | undefined>(this.counts.length).fill(undefined)
    this.exemplars[bucket] = exemplar
  }
}

/** @throws TypeError unless bounds are finite and ascending */
export function checkBounds(owner: string, bounds: readonly number[]): readonly number[] {
  const ascending =
    Array.isArray(bounds) &&
    bounds.length > 0 &&
    bounds.every((bound, i) => Number.isFinite(bound) && bound > 0 && (i === 0 || bound > bounds[i - 1]))
  checkOption(ascending, owner, 'bounds', 'positive seconds in ascending order', shown(bounds))
  return [...bounds]
}
