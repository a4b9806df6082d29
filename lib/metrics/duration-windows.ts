/** Durations since the start, of the last minute and of the last hour, with percentiles. */
import { Histogram } from './histogram.ts'
import { type MetricsWindow, type WindowRecord, Windows } from './windows.ts'

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

/** HDR histograms in µs, up to an hour: three significant digits for the total, two for the slots of the windows. */
export class DurationWindows {
  readonly #windows = new Windows(
    () => new DurationRecord(2),
    () => new DurationRecord(3)
  )

  /**
   * Counts a duration.
   * @param durationMs ms; what is not a finite number from 0 up is refused
   * @param nowMs ms on the clock that `summary` is asked with
   * @returns false when it was refused
   */
  record(durationMs: number, nowMs: number): boolean {
    if (typeof durationMs !== 'number' || !(durationMs >= 0 && durationMs < Infinity)) return false
    const us = Math.round(durationMs * 1000)
    this.#windows.total.record(us, durationMs)
    this.#windows.minute(nowMs).record(us, durationMs)
    this.#windows.hour(nowMs).record(us, durationMs)
    return true
  }

  summary(window: MetricsWindow, nowMs: number): DurationSummary {
    return this.#windows.read(window, nowMs).summary()
  }

  reset(): void {
    this.#windows.reset()
  }
}

/** A histogram, and beside it what buckets cannot give exactly or at once: the number, the sum and the longest. */
class DurationRecord implements WindowRecord<DurationRecord> {
  readonly #histogram: Histogram
  #count = 0
  #sumMs = 0
  #maxMs = 0

  constructor(significantDigits: number) {
    this.#histogram = new Histogram({ lowest: 1, highest: 3.6e9, significantDigits })
  }

  record(us: number, durationMs: number): void {
    this.#histogram.record(us)
    this.#count++
    this.#sumMs += durationMs
    if (durationMs > this.#maxMs) this.#maxMs = durationMs
  }

  add(other: DurationRecord): void {
    this.#histogram.add(other.#histogram)
    this.#count += other.#count
    this.#sumMs += other.#sumMs
    this.#maxMs = Math.max(this.#maxMs, other.#maxMs)
  }

  clear(): void {
    this.#histogram.reset()
    this.#count = 0
    this.#sumMs = 0
    this.#maxMs = 0
  }

  summary(): DurationSummary {
    return {
      count: this.#count,
      averageMs: this.#count === 0 ? 0 : this.#sumMs / this.#count,
      p50Ms: this.#percentileMs(50),
      p90Ms: this.#percentileMs(90),
      p95Ms: this.#percentileMs(95),
      p99Ms: this.#percentileMs(99),
      p999Ms: this.#percentileMs(99.9),
      maxMs: this.#maxMs
    }
  }

  /** A bucket's upper end may lie above the longest duration that was ever seen. */
  #percentileMs(percentile: number): number {
    return this.#count === 0 ? 0 : Math.min(this.#histogram.percentile(percentile) / 1000, this.#maxMs)
  }
}
