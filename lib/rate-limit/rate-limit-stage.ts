/** The stage behind `rateLimit`: whose budget, which windows, and what the client is told. */
import type { Exchange } from '../http/exchange.ts'
import { PathFilter, type PathFilterOptions } from '../http/path-filter.ts'
import type { GuardedRequest, Stage } from '../http/pipeline.ts'
import { WallClock } from '../http/wall-clock.ts'
import { checkOption, shown } from '../options.ts'
import { AllowList } from './allow-list.ts'
import { clientKey, identified } from './client-key.ts'
import {
  type Identify,
  type LimitWindow,
  LocalWindows,
  type Verdict,
  verdictOf,
  type WindowSet
} from './limit-windows.ts'
import { CallerWindows, shared, type WindowSource, windowSource } from './limits.ts'
import { Lockout } from './lockout.ts'
import type { RateLimitOptions, RateLimitStats, TierOptions } from './rate-limit.ts'
import { decide, LimiterUnavailableError, type RateLimitDecision } from './rate-limit-decision.ts'
import {
  checkHeaderFormats,
  type PolicyFields,
  RateLimitFields,
  timeParameter
} from './rate-limit-headers.ts'
import { checkCallback, checkCost } from './rate-limiter.ts'
import { Refunds } from './refunds.ts'
import { TierMatcher } from './tier-match.ts'
import { refuseTooMany, refuseUnavailable, type Violation, violationOf } from './too-many-requests.ts'

export class RateLimitStage implements Stage {
  readonly name = 'rateLimit'
  readonly #source: WindowSource | undefined
  readonly #tiers: readonly { matcher: TierMatcher; source: WindowSource }[]
  readonly #identify: Identify | undefined
  readonly #clock: (() => number) | undefined
  readonly #cost: number
  readonly #costOf: ((req: GuardedRequest, exchange: Exchange) => number) | undefined
  readonly #draft: boolean
  readonly #legacy: boolean
  readonly #skip: Skip | undefined
  readonly #allow: AllowList | undefined
  readonly #lockout: Lockout | undefined
  readonly #refunds: Refunds | undefined
  readonly #shadow: boolean
  readonly #onLimit: RateLimitOptions['onLimit']
  readonly #wallClock = new WallClock()
  /** The one window of this process, when it is all there is to ask. */
  readonly #alone: LocalWindows | undefined
  #allowed = 0
  #refused = 0
  #lockedOut = 0
  #shadowed = 0
  #unavailable = 0

  /** @throws TypeError when an option is not what it must be */
  constructor(options: RateLimitOptions) {
    const { identifier, cost = 1, skip, allow, block, refundOn, shadow = false, onLimit } = options
    checkCallback('rateLimit', 'identifier', identifier)
    checkCallback('rateLimit', 'onLimit', onLimit)
    if (typeof cost !== 'function') checkCost('rateLimit', cost)
    checkOption(typeof shadow === 'boolean', 'rateLimit', 'shadow', 'a boolean', shown(shadow))
    const headers = checkHeaderFormats(options.headers)
    this.#source = baseSource(options)
    this.#tiers = tiersOf(options)
    this.#identify = identifier
    this.#clock = options.clock
    this.#cost = typeof cost === 'function' ? 1 : cost
    this.#costOf = typeof cost === 'function' ? cost : undefined
    this.#draft = headers.includes('draft-11') && !shadow
    this.#legacy = headers.includes('x-ratelimit') && !shadow
    this.#skip = skipOf(skip)
    this.#allow = allow === undefined ? undefined : new AllowList(allow)
    this.#lockout = block === undefined ? undefined : new Lockout(block, longestSeconds(this.#source))
    this.#refunds = refundOn === undefined ? undefined : new Refunds(refundOn, this.#sources())
    this.#shadow = shadow
    this.#onLimit = onLimit
    this.#alone = this.#aloneOf(this.#source)
  }

  get stats(): RateLimitStats {
    return {
      allowed: this.#allowed,
      refused: this.#refused,
      lockedOut: this.#lockedOut,
      shadowed: this.#shadowed,
      unavailable: this.#unavailable,
      ...this.#keyStats()
    }
  }

  enter(exchange: Exchange): boolean | Promise<boolean> {
    if (this.#skip?.(exchange.req, exchange)) return true
    if (this.#alone !== undefined) return this.#limitAlone(exchange, this.#alone)
    const source = this.#sourceOf(exchange)
    if (source === undefined) return true
    if (!(source instanceof CallerWindows)) return this.#limit(exchange, source)
    const windows = source.windowsOf(exchange)
    return windows instanceof Promise
      ? windows.then(given => this.#limit(exchange, given))
      : this.#limit(exchange, windows)
  }

  #keyStats(): { keys: number; reclaimed: number; overflowed: number } {
    const sum = { keys: 0, reclaimed: 0, overflowed: 0 }
    for (const source of this.#sources()) {
      for (const { stats } of source.rings) {
        sum.keys += stats.keys
        sum.reclaimed += stats.reclaimed
        sum.overflowed += stats.overflowed
      }
    }
    return sum
  }

  *#sources(): Generator<WindowSource> {
    if (this.#source !== undefined) yield this.#source
    for (const { source } of this.#tiers) yield source
  }

  #sourceOf(exchange: Exchange): WindowSource | undefined {
    for (const { matcher, source } of this.#tiers) if (matcher.matches(exchange)) return source
    return this.#source
  }

  #aloneOf(source: WindowSource | undefined): LocalWindows | undefined {
    const more = this.#tiers.length > 0 || this.#allow || this.#lockout || this.#refunds || this.#costOf
    return !more && source instanceof LocalWindows && source.windows.length === 1 ? source : undefined
  }

  /** What `#limit` does, without the lists. */
  #limitAlone(exchange: Exchange, set: LocalWindows): boolean {
    const key = this.#keyOf(exchange, set.windows[0], undefined)
    if (key === undefined) return false
    const decision = set.decideAlone(exchange, key, this.#cost)
    if (!decision.allowed) return this.#answer(exchange, set, [key], verdictOf(decision))
    this.#allowed++
    if (!this.#draft && !this.#legacy) return true
    const { rings, clock, fields } = set.windows[0]
    const nextUnitMs = rings.nextUnitMs(key, clock === undefined ? exchange.startedAt : clock())
    this.#addFields(exchange, set, fields, decision, decision.remaining + timeParameter(nextUnitMs))
    return true
  }

  #limit(exchange: Exchange, set: WindowSet): boolean | Promise<boolean> {
    const keys = this.#keysOf(exchange, set)
    if (keys === undefined) return false
    if (this.#allow?.has(exchange, keys)) return true
    const locked = this.#lockout && this.#lockedOutBy(exchange, set, this.#lockout)
    if (locked !== undefined) return locked
    const cost = this.#costOf === undefined ? this.#cost : this.#costOf(exchange.req, exchange)
    if (this.#costOf !== undefined) checkCost(this.name, cost)
    let verdict: Verdict | Promise<Verdict>
    try {
      verdict = set.decide(exchange, keys, cost, this.#refunds !== undefined)
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

  /** Whose budget each window charges; undefined when the client is gone. */
  #keysOf(exchange: Exchange, { windows }: WindowSet): string[] | undefined {
    if (windows.length === 1) {
      const key = this.#keyOf(exchange, windows[0], undefined)
      return key === undefined ? undefined : [key]
    }
    const keys: string[] = []
    let common: string | undefined
    for (const window of windows) {
      const key = this.#keyOf(exchange, window, common)
      if (key === undefined) return undefined
      if (window.identifier === undefined) common = key
      keys.push(key)
    }
    return keys
  }

  #keyOf(exchange: Exchange, { identifier }: LimitWindow, common: string | undefined): string | undefined {
    if (identifier !== undefined) return identified(identifier, exchange, this.name)
    return common ?? this.#commonKey(exchange)
  }

  #commonKey(exchange: Exchange): string | undefined {
    return this.#identify === undefined
      ? clientKey(exchange, this.name)
      : identified(this.#identify, exchange, this.name)
  }

  /** The answer to a client that is shut out, which is charged for nothing. */
  #lockedOutBy(exchange: Exchange, set: WindowSet, lockout: Lockout): boolean | undefined {
    const key = this.#commonKey(exchange)
    if (key === undefined) return false
    const leftMs = lockout.remainingMs(key, this.#now(exchange))
    if (leftMs === 0) return undefined
    const window = set.windows[0]
    const decision = decide(false, window.maxRequests, 0, leftMs, leftMs)
    const policies = set.windows.map(({ fields }) => fields.name)
    return this.#refuse(exchange, key, { policies, decision, window, lockedOut: true })
  }

  #answer(exchange: Exchange, set: WindowSet, keys: readonly string[], verdict: Verdict): boolean {
    if (this.#draft || this.#legacy) this.#addHeaders(exchange, set, keys, verdict)
    if (verdict.allowed) {
      this.#allowed++
      if (verdict.reservations !== undefined) this.#refunds?.hold(exchange, verdict.reservations)
      return true
    }
    const violation = violationOf(set.windows, verdict)
    const key = keys[set.windows.indexOf(violation.window)]
    return this.#refuse(
      exchange,
      key,
      this.#lockout === undefined ? violation : this.#violate(exchange, violation)
    )
  }

  /** Counts a refusal towards the lockout; the violation that shuts the client out also says for how long. */
  #violate(exchange: Exchange, violation: Violation): Violation {
    const key = this.#commonKey(exchange)
    const leftMs = key === undefined ? 0 : (this.#lockout as Lockout).violate(key, this.#now(exchange))
    const { decision } = violation
    if (leftMs === 0 || decision.retryAfterMs === undefined || decision.retryAfterMs > leftMs)
      return violation
    return { ...violation, decision: { ...decision, retryAfterMs: leftMs } }
  }

  #refuse(exchange: Exchange, identifier: string, violation: Violation): boolean {
    if (this.#shadow) this.#shadowed++
    else this.#refused++
    if (violation.lockedOut) this.#lockedOut++
    this.#tell(exchange, identifier, violation)
    return this.#shadow || refuseTooMany(exchange, this.name, violation)
  }

  #tell(exchange: Exchange, identifier: string, { policies, decision, lockedOut }: Violation): void {
    try {
      this.#onLimit?.(exchange.req, exchange, {
        identifier,
        violatedPolicies: policies,
        decision,
        shadow: this.#shadow,
        lockedOut
      })
    } catch (error) {
      exchange.reporter.report('rate_limit_listener', error)
    }
  }

  #addHeaders(exchange: Exchange, set: WindowSet, keys: readonly string[], { decisions }: Verdict): void {
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
    this.#addFields(exchange, set, set.windows[tightest].fields, decisions[tightest], states)
  }

  /** @param states what follows `set.draftLines` */
  #addFields(
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

  #fail(exchange: Exchange, error: unknown): false {
    if (!(error instanceof LimiterUnavailableError)) throw error
    this.#unavailable++
    return refuseUnavailable(exchange, this.name, error)
  }

  #now(exchange: Exchange): number {
    return this.#clock === undefined ? exchange.startedAt : this.#clock()
  }
}

/** The limits of requests that are in no tier; undefined when only tiers are configured. */
function baseSource(options: RateLimitOptions): WindowSource | undefined {
  const { maxRequests, windowSeconds, limiter, limits, tiers } = options
  const none = maxRequests === undefined && windowSeconds === undefined && limiter === undefined
  return none && limits === undefined && tiers !== undefined ? undefined : windowSource(options)
}

function tiersOf(options: RateLimitOptions): { matcher: TierMatcher; source: WindowSource }[] {
  const { tiers = [] } = options
  const isList = Array.isArray(tiers) && tiers.every(tier => typeof tier === 'object' && tier !== null)
  checkOption(isList, 'rateLimit', 'tiers', 'a list of limits', shown(tiers))
  return tiers.map((tier: TierOptions, i) => ({
    matcher: new TierMatcher(tier.match),
    source: windowSource({ name: `tier-${i + 1}`, ...shared(options), ...tier })
  }))
}

function longestSeconds(source: WindowSource | undefined): number | undefined {
  if (source === undefined || source instanceof CallerWindows) return undefined
  return Math.max(...source.windows.map(({ windowMs }) => windowMs)) / 1_000
}

type Skip = (req: GuardedRequest, exchange: Exchange) => boolean

function skipOf(skip: PathFilterOptions | Skip | undefined): Skip | undefined {
  if (typeof skip !== 'object' || skip === null) {
    checkCallback('rateLimit', 'skip', skip)
    return skip
  }
  const filter = new PathFilter(skip)
  return (_req, exchange) => filter.matches(exchange.path)
}
