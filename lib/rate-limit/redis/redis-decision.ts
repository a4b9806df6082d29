/** What a limiter on Redis answers, made from what the script answers. */
import type { RateLimitDecision } from '../rate-limit-decision.ts'

export interface RedisRateLimitDecision extends RateLimitDecision {
  /**
   * Who decided: Redis; a lease that this process holds; the memory of this process, because the key is blocked until
   * a known time; or `onOutage`, because Redis did not answer. An outage knows nothing of the quota: what it says of
   * `remaining` and `resetMs` is no more than this process's guess.
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
  return {
    allowed: reply[0] === 1,
    remaining: reply[1],
    retryAfterMs: reply[2] < 0 ? undefined : reply[2] / 1_000,
    resetMs: reply[3] / 1_000,
    certainMs: reply[4] / 1_000,
    stamp: reply[5],
    granted: reply[6],
    settledStamp: reply[7]
  }
}
