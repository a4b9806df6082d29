/** What a rate limiter answers, and what every limiter can be asked, local or on a server. */

/** The answer to one request. Times are ms from the `now` of the call. It may be frozen, and others may have the same one. */
export interface RateLimitDecision {
  readonly allowed: boolean
  /** Units that one window holds. */
  readonly limit: number
  /** Units left after this decision. */
  readonly remaining: number
  /**
   * 0 when allowed; else the exact time until the same request would be admitted. Undefined when it can never be: its
   * cost is more than the limit.
   */
  readonly retryAfterMs: number | undefined
  /** Until nothing of this key is counted any more; 0 when nothing is. */
  readonly resetMs: number
  /**
   * Admitted without being counted, because the limiter's store is down and `onOutage` is `'open'`: `remaining` and
   * `resetMs` say nothing, and no headers are sent.
   */
  readonly uncounted?: true
}

/** The one place where local decisions are made, so that all have one shape. */
export function decide(
  allowed: boolean,
  limit: number,
  remaining: number,
  retryAfterMs: number | undefined,
  resetMs: number
): RateLimitDecision {
  return { allowed, limit, remaining, retryAfterMs, resetMs }
}

// The engine settles on how to keep a field by the values it has seen. After these it keeps whatever comes: a field that it
// takes for a floating-point number would have an object of its own each time, also for a small integer.
const anything = undefined as unknown as number
decide(false, anything, anything, anything, anything)
decide(true, 1, 1, 1, 1)

/** The time from `now` to `stamp`, such that `now` plus it is not before `stamp` in floating point either. */
export function until(stamp: number, now: number): number {
  let left = stamp - now
  while (now + left < stamp) left += stamp - (now + left)
  return left
}

/** Units taken that can be given back, once, as long as they still count. */
export interface Reservation {
  readonly decision: RateLimitDecision
  /** Gives the units back. Does nothing when refused, the second time, after the window has passed, or after a reset. */
  refund(): void | Promise<void>
}

/**
 * What `rateLimit({ limiter })` takes. Local limiters answer at once, limiters backed by a server with promises;
 * `await` is right for both.
 */
export interface Limiter {
  /** Units that one window holds. */
  readonly maxRequests: number
  /** Length of the window, ms. */
  readonly windowMs: number
  /**
   * Counts `cost` units of `identifier` when they fit; a refusal leaves no trace.
   * @param cost a non-negative integer, default 1; 0 counts nothing
   * @param now ms, monotonic; a limiter that takes its time from a server leaves it alone
   */
  consume(identifier: string, cost?: number, now?: number): RateLimitDecision | Promise<RateLimitDecision>
  /** What `consume(identifier)` would answer, without counting. */
  peek(identifier: string): RateLimitDecision | Promise<RateLimitDecision>
  /** `consume(identifier).allowed` */
  isAllowed(identifier: string): boolean | Promise<boolean>
  /** Units left, without counting. */
  getRemaining(identifier: string): number | Promise<number>
  /** Forgets one key. */
  reset(identifier: string): void | Promise<void>
  /** Forgets all keys. */
  clearAll(): void | Promise<void>
  /** `consume` with a way back. Only a limiter that has it can be used with `refundOn`. */
  reserve?(identifier: string, cost?: number, now?: number): Reservation | Promise<Reservation>
  /**
   * `reserve` with other limiters, all or none, in one step; undefined when it cannot with these, and each is asked and
   * refunded then. The identifiers begin with its own.
   */
  reserveWith?(
    others: readonly Limiter[],
    identifiers: readonly string[],
    cost: number
  ): Promise<readonly Reservation[]> | undefined
}

/**
 * A limiter's answer when its store cannot be asked. The middleware answers 503, never 429: an outage is no quota.
 */
export class LimiterUnavailableError extends Error {
  readonly code = 'ERR_LIMITER_UNAVAILABLE'
  /** ms after which trying again makes sense. */
  readonly retryAfterMs: number

  constructor(message: string, retryAfterMs = 1_000, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LimiterUnavailableError'
    this.retryAfterMs = retryAfterMs
  }
}
