/** Turns monotonic instants into wall-clock time without reading a clock for each. */

/** ms between two looks at the system's clock, which may be set while the process runs. */
const anchorMs = 1_000
/** The system's clock has whole milliseconds: a smaller difference is no step. */
const stepMs = 2

export class WallClock {
  readonly #monotonic: () => number
  readonly #wall: () => number
  #origin: number
  #anchoredAt: number

  constructor(monotonic: () => number = () => performance.now(), wall: () => number = Date.now) {
    this.#monotonic = monotonic
    this.#wall = wall
    this.#anchoredAt = monotonic()
    this.#origin = wall() - this.#anchoredAt
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
    this.#anchoredAt = this.#monotonic()
    const origin = this.#wall() - this.#anchoredAt
    if (Math.abs(origin - this.#origin) > stepMs) this.#origin = origin
  }
}
