/** Middleware that limits how often a client may ask. */
import type { Exchange } from '../http/exchange.ts'
import type { PathFilterOptions } from '../http/path-filter.ts'
import { type GuardedRequest, type StageMiddleware, stageMiddleware } from '../http/pipeline.ts'
import type { Identify } from './limit-windows.ts'
import type { LimitOptions, LimitsOf } from './limits.ts'
import type { LockoutOptions } from './lockout.ts'
import type { RateLimitDecision } from './rate-limit-decision.ts'
import type { RateLimitHeaderFormat } from './rate-limit-headers.ts'
import { RateLimitStage } from './rate-limit-stage.ts'
import type { TierMatch } from './tier-match.ts'

export interface RateLimitOptions extends LimitOptions {
  /** Several windows, all or nothing, or a function that gives them for a caller. Instead of the numbers here. */
  limits?: readonly LimitOptions[] | LimitsOf
  /** Whose budget is used. Default: the verified user or client, before authentication the client's address. */
  identifier?: Identify
  /** Units that a request uses, a non-negative integer. Default 1. */
  cost?: number | ((req: GuardedRequest, exchange: Exchange) => number)
  /** Limits by path and method; the first that matches stands instead of those above. List the strict ones first. */
  tiers?: readonly TierOptions[]
  /**
   * Gives the units back when the response was a failure (a status of 400 or more), or a success. Never when the client
   * went away before it had the whole response.
   */
  refundOn?: 'failure' | 'success'
  /** Shuts a client out that was refused too often. */
  block?: LockoutOptions
  /** Default both; none with `[]`. */
  headers?: readonly RateLimitHeaderFormat[]
  /** Requests that are neither limited nor counted. */
  skip?: PathFilterOptions | ((req: GuardedRequest, exchange: Exchange) => boolean)
  /** Identifiers, addresses and CIDRs that are neither limited nor counted. */
  allow?: readonly string[]
  /** Count and report, but refuse nothing and add no headers. */
  shadow?: boolean
  /** Sees every refusal, also those that `shadow` only would have made. It may answer the request itself. */
  onLimit?: (req: GuardedRequest, exchange: Exchange, refusal: RateLimitRefusal) => void
}

/** Limits for some of the requests. */
export interface TierOptions extends LimitOptions {
  match: TierMatch
  limits?: readonly LimitOptions[] | LimitsOf
}

/** What `onLimit` is told. */
export interface RateLimitRefusal {
  readonly identifier: string
  /** Names of the policies that refused. */
  readonly violatedPolicies: readonly string[]
  /** Of the policy that refuses longest. */
  readonly decision: RateLimitDecision
  readonly shadow: boolean
  /** The client is shut out (`block`). */
  readonly lockedOut: boolean
}

export interface RateLimitStats {
  readonly allowed: number
  /** Answered with 429, those that were shut out among them. */
  readonly refused: number
  readonly lockedOut: number
  /** Would have been refused, were it not for `shadow`. */
  readonly shadowed: number
  /** Answered with 503: the limiter could not decide. */
  readonly unavailable: number
  /** Keys that are remembered, over all windows in memory. */
  readonly keys: number
  /** Dead keys whose place was given to others. */
  readonly reclaimed: number
  /** Decisions of the windows that fresh keys share at the cap (`maxKeys`). */
  readonly overflowed: number
}

/**
 * Limits requests by exact sliding windows. A refused request is answered with 429, `Retry-After` and a problem body.
 *
 * @throws TypeError when an option is not what it must be
 */
export function rateLimit(options: RateLimitOptions): RateLimitMiddleware {
  const stage = new RateLimitStage(options)
  return stageMiddleware(stage) as RateLimitMiddleware
}

export interface RateLimitMiddleware extends StageMiddleware {
  readonly stage: RateLimitStage
}
