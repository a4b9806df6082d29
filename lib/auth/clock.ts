/** The clocks and timers of authentication, replaceable in tests. */
import { performance } from 'node:perf_hooks'

export interface Clock {
  /** Wall clock, ms since the epoch: what `exp` and `nbf` are compared with. */
  now(): number
  /** ms that only go forward: ages and deadlines. */
  monotonic(): number
  /** A timer that does not keep the process alive. */
  setTimeout(run: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms).unref(),
  clearTimeout: timer => clearTimeout(timer as NodeJS.Timeout)
}
