/** What the event loop did since a moment: its delays, its utilization, its longest pause. */
import {
  type EventLoopUtilization,
  type IntervalHistogram,
  monitorEventLoopDelay,
  performance
} from 'node:perf_hooks'

export class EventLoopWindow {
  readonly #resolutionMs: number
  readonly #monitor: IntervalHistogram
  #utilizationAtStart: EventLoopUtilization
  #longestPause = 0

  constructor(resolutionMs: number) {
    this.#resolutionMs = resolutionMs
    this.#monitor = monitorEventLoopDelay({ resolution: resolutionMs })
    this.#monitor.enable()
    this.#utilizationAtStart = performance.eventLoopUtilization()
  }

  get meanDelay(): number {
    return this.#monitor.count === 0 ? 0 : this.#delaySeconds(this.#monitor.mean)
  }

  /** Seconds. */
  delay(percentile: number): number {
    if (this.#monitor.count === 0) return 0
    return this.#delaySeconds(percentile === 100 ? this.#monitor.max : this.#monitor.percentile(percentile))
  }

  get utilization(): number {
    return performance.eventLoopUtilization(this.#utilizationAtStart).utilization
  }

  /** Seconds. */
  get longestPause(): number {
    return this.#longestPause
  }

  recordPause(seconds: number): void {
    if (seconds > this.#longestPause) this.#longestPause = seconds
  }

  restart(): void {
    this.#monitor.reset()
    this.#utilizationAtStart = performance.eventLoopUtilization()
    this.#longestPause = 0
  }

  close(): void {
    this.#monitor.disable()
  }

  /** Node records the time between two firings of a timer: its interval is no delay. */
  #delaySeconds(nanoseconds: number): number {
    return Math.max(0, nanoseconds / 1e9 - this.#resolutionMs / 1000)
  }
}
