/** Tells clients of the windows that decided on their requests, in the formats that are wanted. */
import type { Exchange } from '../http/exchange.ts'
import { WallClock } from '../http/wall-clock.ts'
import type { LocalWindows, Verdict, WindowSet } from './limit-windows.ts'
import type { RateLimitDecision } from './rate-limit-decision.ts'
import {
  checkHeaderFormats,
  type PolicyFields,
  RateLimitFields,
  type RateLimitHeaderFormat,
  timeParameter
} from './rate-limit-headers.ts'

export class LimitHeaders {
  /** Clients are told nothing. */
  readonly none: boolean
  readonly #draft: boolean
  readonly #legacy: boolean
  /** Only prints: decisions are on a monotonic clock. */
  readonly #wallClock = new WallClock()

  /** @throws TypeError when `formats` is not a list of formats */
  constructor(formats: readonly RateLimitHeaderFormat[] | undefined, shadow: boolean) {
    const headers = checkHeaderFormats(formats)
    this.#draft = headers.includes('draft-11') && !shadow
    this.#legacy = headers.includes('x-ratelimit') && !shadow
    this.none = !this.#draft && !this.#legacy
  }

  /** Of one window of this process that has admitted a request. */
  addOne(exchange: Exchange, set: LocalWindows, key: string, decision: RateLimitDecision): void {
    const { rings, clock, fields } = set.windows[0]
    const nextUnitMs = rings.nextUnitMs(key, clock === undefined ? exchange.startedAt : clock())
    this.#add(exchange, set, fields, decision, decision.remaining + timeParameter(nextUnitMs))
  }

  add(exchange: Exchange, set: WindowSet, keys: readonly string[], { decisions }: Verdict): void {
    // What nobody counts has no numbers: full ones would be as false as none. Nor has what a limiter does not say.
    for (const { uncounted, remaining, resetMs } of decisions) {
      if (uncounted || !(Number.isSafeInteger(remaining) && remaining >= 0 && Number.isFinite(resetMs)))
        return
    }
    let tightest = 0
    let states = ''
    for (let i = 0; i < decisions.length; i++) {
      const { allowed, remaining, retryAfterMs } = decisions[i]
      if (remaining < decisions[tightest].remaining) tightest = i
      if (!this.#draft) continue
      const nextUnitMs = set.nextUnitMs(exchange, keys, i) ?? (allowed ? undefined : retryAfterMs)
      if (i > 0) states += `, ${set.windows[i].fields.beforeRemaining}`
      states += remaining + timeParameter(nextUnitMs)
    }
    this.#add(exchange, set, set.windows[tightest].fields, decisions[tightest], states)
  }

  /** @param states what follows `set.draftLines` */
  #add(
    exchange: Exchange,
    set: WindowSet,
    tightest: PolicyFields,
    decision: RateLimitDecision,
    states: string
  ): void {
    new RateLimitFields(
      set.policy,
      this.#draft ? set.draftLines + states : undefined,
      this.#legacy ? tightest : undefined,
      decision,
      // A server takes its time to decide; what is decided here is so as of the start.
      set.limiters.length > 0 ? this.#wallClock.now() : this.#wallClock.at(exchange.startedAt)
    ).addTo(exchange)
  }
}
