/** Durations with percentiles: an HDR histogram, and beside it what buckets cannot give exactly. */
import { Histogram } from '../histogram/histogram.ts'
import type { WindowRecord } from './windows.ts'

/** No more than 1 % of the durations are above `p99Ms`, which is at most 0.1 % too high (in windows 0.8 %); and so on. */
export interface DurationSummary {
  count: number
  averageMs: number
  p50Ms: number
  p90Ms: number
  p95Ms: number
  p99Ms: number
  p999Ms: number
  maxMs: number
}

/** In µs, up to an hour; what is longer counts as an hour, but for the average and the longest. */
export class DurationRecord implements WindowRecord<DurationRecord> {
  readonly histogram: Histogram
  #count = 0
  #sumMs = 0
  #maxMs = 0

  constructor(significantDigits: number) {
    this.histogram = new Histogram({ lowest: 1, highest: 3.6e9, significantDigits })
  }

  /** @param durationMs a finite number from 0 up */
  record(durationMs: number): void {
    this.histogram.record(Math.round(durationMs * 1000))
    this.#count++
    this.#sumMs += durationMs
    if (durationMs > this.#maxMs) this.#maxMs = durationMs
  }

  add(other: DurationRecord): void {
    this.histogram.add(other.histogram)
    this.#count += other.#count
    this.#sumMs += other.#sumMs
    this.#maxMs = Math.max(this.#maxMs, other.#maxMs)
  }

  clear(): void {
    this.histogram.reset()
    this.#count = 0
    this.#sumMs = 0
    this.#maxMs = 0
  }

  get averageMs(): number {
    return this.#count === 0 ? 0 : this.#sumMs / this.#count
  }

  summary(): DurationSummary {
    const values = this.histogram.percentilesAt([50, 90, 95, 99, 99.9])
    // A bucket's upper end may lie above the longest duration that was ever seen.
    const [p50Ms, p90Ms, p95Ms, p99Ms, p999Ms] = values.map(value => Math.min(value / 1000, this.#maxMs))
    return {
      ...{ count: this.#count, averageMs: this.averageMs, maxMs: this.#maxMs },
      ...{ p50Ms, p90Ms, p95Ms, p99Ms, p999Ms }
    }
  }
}
