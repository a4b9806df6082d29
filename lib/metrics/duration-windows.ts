/** Durations since the start, of the last minute and of the last hour, with percentiles, in fixed memory. */
import { Histogram } from './histogram.ts'
import { TimeSlots } from './time-slots.ts'

/** Since the start or the last reset; the last 60 to 65 s; the last 60 to 65 minutes. */
export type MetricsWindow = 'total' | 'minute' | 'hour'

/** The percentiles are bounds that no more than that share of the durations lies above, within 0.1 % (windows: 0.8 %). */
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

/** Twelve slots and the current one: windows move in steps of a twelfth. */
export const windowSlots = 12
export const windowSlotMs: Readonly<Record<Exclude<MetricsWindow, 'total'>, number>> = {
  minute: 5_000,
  hour: 300_000
}

/**
 * Three HDR histograms in µs, up to an hour: all at three significant digits, and slots at two for the windows.
 * Slots are made when time first reaches them; none is ever made again.
 */
export class DurationWindows {
  readonly #total = new DurationRecord(3)
  readonly #minute = slots(windowSlotMs.minute)
  readonly #hour = slots(windowSlotMs.hour)

  /**
   * Counts a duration.
   * @param durationMs ms; what is not a finite number from 0 up is refused
   * @param nowMs ms on the clock that `summary` is asked with
   * @returns false when it was refused
   */
  record(durationMs: number, nowMs: number): boolean {
    if (typeof durationMs !== 'number' || !(durationMs >= 0 && durationMs < Infinity)) return false
    const us = Math.round(durationMs * 1000)
    this.#total.record(us, durationMs)
    this.#minute.at(nowMs).record(us, durationMs)
    this.#hour.at(nowMs).record(us, durationMs)
    return true
  }

  summary(window: MetricsWindow, nowMs: number): DurationSummary {
    if (window === 'total') return this.#total.summary()
    const merged = new DurationRecord(2)
    for (const slot of (window === 'minute' ? this.#minute : this.#hour).within(nowMs)) merged.add(slot)
    return merged.summary()
  }

  reset(): void {
    this.#total.clear()
    this.#minute.clear()
    this.#hour.clear()
  }
}

function slots(slotMs: number): TimeSlots<DurationRecord> {
  return new TimeSlots({
    slotMs,
    slots: windowSlots,
    make: () => new DurationRecord(2),
    clear: record => record.clear()
  })
}

/** A histogram, and beside it what buckets cannot give exactly or at once: the number, the sum and the longest. */
class DurationRecord {
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
