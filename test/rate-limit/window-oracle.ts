/** What a sliding window must do, by brute force: it keeps everything and looks at all of it every time. */
import type { RateLimitDecision } from '../../lib/rate-limit/rate-limit-decision.ts'

export interface Step {
  at: number
  cost: number
}

export interface Scenario {
  limit: number
  windowMs: number
  steps: readonly Step[]
}

/** Only what the two directions need. */
export type Consume = (cost: number, now: number) => { allowed: boolean }

export class WindowOracle {
  readonly #limit: number
  readonly #windowMs: number
  #admitted: Step[] = []

  constructor(limit: number, windowMs: number) {
    this.#limit = limit
    this.#windowMs = windowMs
  }

  #live(now: number): Step[] {
    return this.#admitted.filter(({ at }) => at + this.#windowMs > now)
  }

  used(now: number): number {
    return this.#live(now).reduce((sum, { cost }) => sum + cost, 0)
  }

  consume(cost: number, now: number): RateLimitDecision {
    const allowed = this.used(now) + cost <= this.#limit
    if (allowed && cost > 0) this.#admitted.push({ at: now, cost })
    const live = this.#live(now)
    const last = live.at(-1)
    return {
      allowed,
      limit: this.#limit,
      remaining: this.#limit - this.used(now),
      retryAfterMs: allowed ? 0 : this.#retryAfter(cost, now),
      resetMs: last === undefined ? 0 : last.at + this.#windowMs - now
    }
  }

  #retryAfter(cost: number, now: number): number | undefined {
    if (cost > this.#limit) return undefined
    // The first instant at which it fits is one at which something expires.
    for (const { at } of this.#live(now)) {
      const free = at + this.#windowMs
      if (this.used(free) + cost <= this.#limit) return free - now
    }
    throw new Error('nothing expires')
  }

  refund(at: number, cost: number): void {
    const index = this.#admitted.findIndex(step => step.at === at && step.cost === cost)
    if (index !== -1) this.#admitted.splice(index, 1)
  }

  reset(): void {
    this.#admitted = []
  }
}

/**
 * What is wrong with a limiter's answers to a scenario: `admitted too many`, `refused what fits`, or nothing. Judged by
 * its own admissions, so that one mistake is not counted as another.
 */
export function violation({ limit, windowMs, steps }: Scenario, consume: Consume): string | undefined {
  const admitted: Step[] = []
  let first = 0
  let used = 0
  for (const { at, cost } of steps) {
    for (; first < admitted.length && admitted[first].at + windowMs <= at; first++)
      used -= admitted[first].cost
    const { allowed } = consume(cost, at)
    const fits = used + cost <= limit
    if (allowed && !fits) return 'admitted too many'
    if (!allowed && fits) return 'refused what fits'
    if (allowed) {
      admitted.push({ at, cost })
      used += cost
    }
  }
  return undefined
}
