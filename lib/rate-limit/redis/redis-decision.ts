/** What a limiter on Redis answers, made from what the script answers. */
import type { RateLimitDecision } from '../rate-limit-decision.ts'

export interface RedisRateLimitDecision extends RateLimitDecision {
  /**
   * Who decided: Redis; a lease that this process holds; the memory of this process, because the key is blocked until
   * a known time; or `onOutage`, because Redis did not answer: with `'local'` the numbers are of this process alone, with `'open'` there
   * are none (`uncounted`).
   */
  readonly decidedBy: 'redis' | 'lease' | 'memory' | 'outage'
}

/** The script's answer by name; times in ms, the stamp in µs of the server's clock. */
export interface ServerAnswer {
  readonly allowed: boolean
  readonly remaining: number
  /** Until the same request is admitted at the latest; undefined: never. */
  readonly retryAfterMs: number | undefined
  readonly resetMs: number
  /** For so long the same request gets the same refusal: nothing expires before. 0 when it may end sooner. */
  readonly certainMs: number
  readonly stamp: number
  readonly granted: number
  /** The stamp that the settled lease got; 0 when there was none. */
  readonly settledStamp: number
}

export function answerOf(reply: readonly number[]): ServerAnswer {
  const [allowed, remaining, resetUs, stamp, retryAfterUs = 0, certainUs = 0, granted = 0, settledStamp = 0] =
    reply
  return {
    allowed: allowed === 1,
    remaining,
    retryAfterMs: retryAfterUs < 0 ? undefined : retryAfterUs / 1_000,
    resetMs: resetUs / 1_000,
    certainMs: certainUs / 1_000,
    stamp,
    granted,
    settledStamp
  }
}
