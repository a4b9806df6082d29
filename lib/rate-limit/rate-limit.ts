/** Middleware that limits how often a client may ask. */
import type { IncomingMessage } from 'node:http'
import type { Exchange } from '../http/exchange.ts'
import { PathFilter, type PathFilterOptions } from '../http/path-filter.ts'
import { type Stage, type StageMiddleware, stageMiddleware } from '../http/pipeline.ts'
import { clientKey, identified } from './client-key.ts'
import type { Identify, Verdict, WindowSet } from './limit-windows.ts'
import { CallerWindows, type LimitOptions, type LimitsOf, type WindowSource, windowSource } from './limits.ts'
import { LimiterUnavailableError, type RateLimitDecision } from './rate-limit-decision.ts'
import {
  addDraftFields,
  addLegacyFields,
  checkHeaderFormats,
  type RateLimitHeaderFormat
} from './rate-limit-headers.ts'
import { checkCost, shown } from './rate-limiter.ts'
import { refuseTooMany, refuseUnavailable, violationOf } from './too-many-requests.ts'

export interface RateLimitOptions extends LimitOptions {
  /** Several windows, all or nothing, or a function that gives them for a caller. Instead of the numbers here. */
  limits?: readonly LimitOptions[] | LimitsOf
  /** Whose budget is used. Default: the verified user or client, before authentication the client's address. */
  identifier?: Identify
  /** Units that a request uses, a non-negative integer. Default 1. */
  cost?: number | ((req: IncomingMessage, exchange: Exchange) => number)
  /** Default both; none with `[]`. */
  headers?: readonly RateLimitHeaderFormat[]
  /** Requests that are neither limited nor counted. */
  skip?: PathFilterOptions | ((req: IncomingMessage, exchange: Exchange) => boolean)
  /** Count and report, but refuse nothing and add no headers. */
  shadow?: boolean
  /** Sees every refusal, also those that `shadow` only would have made. It may answer the request itself. */
  onLimit?: (req: IncomingMessage, exchange: Exchange, refusal: RateLimitRefusal) => void
}

/** What `onLimit` is told. */
export interface RateLimitRefusal {
  readonly identifier: string
  /** Names of the policies that refused. */
  readonly violatedPolicies: readonly string[]
  /** Of the policy that refuses longest. */
  readonly decision: RateLimitDecision
  readonly shadow: boolean
}

export interface RateLimitStats {
  readonly allowed: number
  readonly refused: number
  /** Would have been refused, were it not for `shadow`. */
  readonly shadowed: number
  /** Answered with 503: the limiter could not decide. */
  readonly unavailable: number
}

/** What `rateLimit()` gives: the middleware and its counts. */
export interface RateLimit extends StageMiddleware {
  stats(): RateLimitStats
}

/**
 * Limits requests by exact sliding windows. A refused request is answered with 429, `Retry-After` and a problem body.
 *
 * @throws TypeError when an option is not what it must be
 */
export function rateLimit(options: RateLimitOptions): RateLimit {
  const stage = new RateLimitStage(options)
  return Object.assign(stageMiddleware(stage), { stats: () => stage.stats })
}

class RateLimitStage implements Stage {
  readonly name = 'rateLimit'
  readonly #source: WindowSource
  readonly #identify: Identify | undefined
  readonly #cost: number
  readonly #costOf: ((req: IncomingMessage, exchange: Exchange) => number) | undefined
  readonly #draft: boolean
  readonly #legacy: boolean
  readonly #skip: ((req: IncomingMessage, exchange: Exchange) => boolean) | undefined
  readonly #shadow: boolean
  readonly #onLimit: RateLimitOptions['onLimit']
  #allowed = 0
  #refused = 0
  #shadowed = 0
  #unavailable = 0

  constructor(options: RateLimitOptions) {
    const { identifier, cost = 1, skip, shadow = false, onLimit } = options
    checkFunction('identifier', identifier)
    checkFunction('onLimit', onLimit)
    if (typeof cost !== 'function') checkCost('rateLimit', cost)
    const headers = checkHeaderFormats(options.headers)
    this.#source = windowSource(options)
    this.#identify = identifier
    this.#cost = typeof cost === 'function' ? 1 : cost
    this.#costOf = typeof cost === 'function' ? cost : undefined
    this.#draft = headers.includes('draft-11') && !shadow
    this.#legacy = headers.includes('x-ratelimit') && !shadow
    this.#skip = typeof skip === 'object' ? skipPaths(skip) : checkFunction('skip', skip)
    this.#shadow = shadow
    this.#onLimit = onLimit
  }

  get stats(): RateLimitStats {
    return {
      allowed: this.#allowed,
      refused: this.#refused,
      shadowed: this.#shadowed,
      unavailable: this.#unavailable
    }
  }

  enter(exchange: Exchange): boolean | Promise<boolean> {
    if (this.#skip?.(exchange.req, exchange)) return true
    if (!(this.#source instanceof CallerWindows)) return this.#limit(exchange, this.#source)
    const windows = this.#source.windowsOf(exchange)
    return windows instanceof Promise
      ? windows.then(given => this.#limit(exchange, given))
      : this.#limit(exchange, windows)
  }

  #limit(exchange: Exchange, set: WindowSet): boolean | Promise<boolean> {
    const keys = this.#keysOf(exchange, set)
    if (keys === undefined) return false
    const cost = this.#costOf === undefined ? this.#cost : this.#costOf(exchange.req, exchange)
    if (this.#costOf !== undefined) checkCost(this.name, cost)
    let verdict: Verdict | Promise<Verdict>
    try {
      verdict = set.decide(exchange, keys, cost, false)
    } catch (error) {
      return this.#fail(exchange, error)
    }
    return verdict instanceof Promise
      ? verdict.then(
          given => this.#answer(exchange, set, keys, given),
          error => this.#fail(exchange, error)
        )
      : this.#answer(exchange, set, keys, verdict)
  }

  #keysOf(exchange: Exchange, { windows }: WindowSet): string[] | undefined {
    const keys: string[] = []
    let common: string | undefined
    for (let i = 0; i < windows.length; i++) {
      const identify = windows[i].identifier
      if (identify === undefined) common ??= this.#commonKey(exchange)
      const key = identify === undefined ? common : identified(identify, exchange, this.name)
      if (key === undefined) return undefined
      keys.push(key)
    }
    return keys
  }

  #commonKey(exchange: Exchange): string | undefined {
    return this.#identify === undefined
      ? clientKey(exchange, this.name)
      : identified(this.#identify, exchange, this.name)
  }

  #answer(exchange: Exchange, set: WindowSet, keys: readonly string[], verdict: Verdict): boolean {
    if (this.#draft || this.#legacy) this.#addHeaders(exchange, set, keys, verdict)
    if (verdict.allowed) {
      this.#allowed++
      return true
    }
    const violation = violationOf(set.windows, verdict)
    if (this.#shadow) this.#shadowed++
    else this.#refused++
    this.#onLimit?.(exchange.req, exchange, {
      identifier: keys[set.windows.indexOf(violation.window)],
      violatedPolicies: violation.policies,
      decision: violation.decision,
      shadow: this.#shadow
    })
    return this.#shadow || refuseTooMany(exchange, this.name, violation)
  }

  #addHeaders(exchange: Exchange, set: WindowSet, keys: readonly string[], { decisions }: Verdict): void {
    let tightest = 0
    let states = ''
    for (let i = 0; i < decisions.length; i++) {
      const { allowed, remaining, retryAfterMs } = decisions[i]
      if (remaining < decisions[tightest].remaining) tightest = i
      if (!this.#draft) continue
      const nextUnitMs = set.nextUnitMs(exchange, keys, i) ?? (allowed ? undefined : retryAfterMs)
      states += (i === 0 ? '' : ', ') + set.windows[i].fields.state(remaining, nextUnitMs)
    }
    if (this.#draft) addDraftFields(exchange, set.policy, states)
    if (this.#legacy) addLegacyFields(exchange, set.windows[tightest].fields.limit, decisions[tightest])
  }

  #fail(exchange: Exchange, error: unknown): false {
    if (!(error instanceof LimiterUnavailableError)) throw error
    this.#unavailable++
    return refuseUnavailable(exchange, this.name, error)
  }
}

function skipPaths(options: PathFilterOptions): (req: IncomingMessage, exchange: Exchange) => boolean {
  const filter = new PathFilter(options)
  return (_req, exchange) => filter.matches(exchange.path)
}

/** @throws TypeError when an option is there and no function */
function checkFunction<T>(option: string, value: T): T {
  if (value === undefined || typeof value === 'function') return value
  throw new TypeError(`rateLimit: ${option} must be a function, got ${shown(value)}`)
}
