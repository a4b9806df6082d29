/** Turns monotonic instants into wall-clock time without reading a clock for each. */
import { performance } from 'node:perf_hooks'

/** ms between two looks at the system's clock, which may be set while the process runs. */
const anchorMs = 1_000
/** The system's clock has whole milliseconds: a smaller difference is no step. */
const stepMs = 2
/** ms between the reading of one clock and of the other from which they count as held up, and how often they are read at most. */
const heldUpMs = 0.5
const looks = 3

export class WallClock {
  readonly #monotonic: () => number
  readonly #wall: () => number
  #origin: number
  #anchoredAt: number

  constructor(monotonic: () => number = () => performance.now(), wall: () => number = Date.now) {
    this.#monotonic = monotonic
    this.#wall = wall
    this.#anchoredAt = 0
    this.#origin = this.#look()
  }

  /** @param monotonicMs a recent `performance.now()`, such as `exchange.endedAt` @returns epoch ms */
  at(monotonicMs: number): number {
    if (monotonicMs - this.#anchoredAt > anchorMs) this.#anchor()
    return this.#origin + monotonicMs
  }

  now(): number {
    return this.at(this.#monotonic())
  }

  #anchor(): void {
    const origin = this.#look()
    if (Math.abs(origin - this.#origin) > stepMs) this.#origin = origin
  }

  /** Where the monotonic clock began, on the wall. Both are read at one instant: a process that was held up in between looks again. */
  #look(): number {
    for (let attempt = 1; ; attempt++) {
      this.#anchoredAt = this.#monotonic()
      const origin = this.#wall() - this.#anchoredAt
      if (this.#monotonic() - this.#anchoredAt < heldUpMs || attempt === looks) return origin
    }
  }
}
