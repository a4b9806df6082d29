/** The answers of a limiter that does not let a request through. */
import type { Exchange } from '../http/exchange.ts'
import { refuse } from '../http/problem.ts'
import type { LimitWindow, Verdict } from './limit-windows.ts'
import type { LimiterUnavailableError, RateLimitDecision } from './rate-limit-decision.ts'
import { seconds } from './rate-limit-headers.ts'

const problemTypes = 'https://iana.org/assignments/http-problem-types'

/** Who refused, and for how long. */
export interface Violation {
  /** Names of the policies that refused. */
  readonly policies: readonly string[]
  /** The decision and the window that refuse longest. */
  readonly decision: RateLimitDecision
  readonly window: LimitWindow
  readonly lockedOut: boolean
}

export function violationOf(windows: readonly LimitWindow[], { decisions }: Verdict): Violation {
  const policies: string[] = []
  let longest = -1
  for (let i = 0; i < decisions.length; i++) {
    if (decisions[i].allowed) continue
    policies.push(windows[i].fields.name)
    if (longest === -1 || waitOf(decisions[i]) > waitOf(decisions[longest])) longest = i
  }
  return { policies, decision: decisions[longest], window: windows[longest], lockedOut: false }
}

/** 429 with a `Retry-After` that is true; without one when the request can never pass. */
export function refuseTooMany(exchange: Exchange, stage: string, violation: Violation): false {
  const { maxRequests, windowMs } = violation.window
  const { retryAfterMs } = violation.decision
  const never = retryAfterMs === undefined
  const reason = violation.lockedOut ? 'locked_out' : never ? 'cost_over_limit' : 'rate_limited'
  return refuse(exchange, stage, reason, {
    status: 429,
    type: `${problemTypes}#quota-exceeded`,
    title: 'Quota Exceeded',
    detail: `Rate limit exceeded. Max ${maxRequests} requests per ${windowMs / 1_000}s`,
    extensions: { 'violated-policies': violation.policies },
    headers: Number.isFinite(retryAfterMs) ? { 'Retry-After': String(seconds(retryAfterMs as number)) } : {}
  })
}

/** 503: an outage of the limiter's store is not the client's fault. */
export function refuseUnavailable(exchange: Exchange, stage: string, error: LimiterUnavailableError): false {
  exchange.reporter.report('rate_limiter_unavailable', error)
  return refuseBusy(exchange, stage, 'rate_limiter_unavailable', error.retryAfterMs)
}

/** 503: the server, not this client, is at its limit. */
export function refuseBusy(exchange: Exchange, stage: string, reason: string, retryAfterMs = 1_000): false {
  return refuse(exchange, stage, reason, {
    status: 503,
    type: `${problemTypes}#temporary-reduced-capacity`,
    title: 'Temporary Reduced Capacity',
    headers: { 'Retry-After': String(seconds(retryAfterMs)) }
  })
}

function waitOf({ retryAfterMs = Infinity }: RateLimitDecision): number {
  return retryAfterMs
}
