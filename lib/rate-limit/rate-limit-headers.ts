/** What a response says about its limits: RFC 9651 structured fields of the IETF draft, and the older trio. */
import { type BareItem, serializeItem } from 'structured-headers'
import type { Exchange } from '../http/exchange.ts'
import type { HeaderLines } from '../http/head.ts'
import { shown, wrongOption } from '../options.ts'
import type { RateLimitDecision } from './rate-limit-decision.ts'

/**
 * `draft-11`: `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers, one wire format from -08 to -11.
 * `x-ratelimit`: `X-RateLimit-Limit`, `-Remaining` and `-Reset`, the last in epoch seconds.
 */
export type RateLimitHeaderFormat = 'draft-11' | 'x-ratelimit'

const formats: readonly RateLimitHeaderFormat[] = ['draft-11', 'x-ratelimit']
const longestName = 128
/** Of an integer in a structured field (RFC 9651, section 3.3.1). */
const largestInteger = 999_999_999_999_999
const upToLargest = `at most ${largestInteger}`

const policyField = 'RateLimit-Policy'
const stateField = 'RateLimit'
const limitField = 'X-RateLimit-Limit'
const remainingField = 'X-RateLimit-Remaining'
const resetField = 'X-RateLimit-Reset'
const names = [policyField, stateField, limitField, remainingField, resetField]

/** One policy's members of the two list fields. What cannot change is serialized once. */
export class PolicyFields {
  readonly name: string
  readonly policy: string
  readonly limit: string
  /** The trio's lines up to what changes. */
  readonly limitLines: string
  readonly #beforeRemaining: string

  /**
   * @param windowMs undefined: the limit is of requests at a time
   * @throws TypeError when the name or a number has no place in a structured field
   */
  constructor(name: string, limit: number, windowMs: number | undefined, owner = 'rateLimit') {
    if (typeof name !== 'string' || name === '' || name.length > longestName) {
      throw new TypeError(
        `${owner}: name must have 1 to ${longestName} characters, got ${JSON.stringify(name)}`
      )
    }
    if (limit > largestInteger) throw wrongOption(owner, 'maxRequests', upToLargest, limit)
    if (windowMs !== undefined && seconds(windowMs) > largestInteger) {
      throw wrongOption(owner, 'windowSeconds', upToLargest, windowMs / 1_000)
    }
    try {
      const rest: Record<string, BareItem> =
        windowMs === undefined ? { qu: 'concurrent-requests' } : { w: seconds(windowMs) }
      this.policy = item(name, { q: limit, ...rest })
    } catch {
      throw wrongOption(owner, 'name', 'printable ASCII', shown(name))
    }
    this.name = name
    this.limit = String(limit)
    this.limitLines = `X-RateLimit-Limit: ${limit}\r\nX-RateLimit-Remaining: `
    this.#beforeRemaining = `${item(name, {})};r=`
  }

  /** @param nextUnitMs until more can be taken; undefined when everything can, or nobody knows */
  state(remaining: number, nextUnitMs: number | undefined): string {
    const state = this.#beforeRemaining + remaining
    return nextUnitMs === undefined || !Number.isFinite(nextUnitMs)
      ? state
      : `${state};t=${seconds(nextUnitMs)}`
  }
}

/** @throws TypeError when the option is not a list of formats */
export function checkHeaderFormats(headers: unknown): readonly RateLimitHeaderFormat[] {
  if (headers === undefined) return formats
  if (Array.isArray(headers) && headers.every(format => formats.includes(format))) return headers
  throw wrongOption('rateLimit', 'headers', "a list of 'draft-11' and 'x-ratelimit'", shown(headers))
}

/** The lines of the draft up to what changes. */
export function policyLines(policy: string): string {
  return `RateLimit-Policy: ${policy}\r\nRateLimit: `
}

/** What one limiter says. */
export class RateLimitFields implements HeaderLines {
  readonly names: readonly string[] = names
  readonly #policy: string
  readonly #policyLines: string
  /** Members of `RateLimit`; undefined: neither it nor `RateLimit-Policy`. */
  readonly #states: string | undefined
  /** Of whom the trio speaks; undefined: no trio. */
  readonly #tightest: PolicyFields | undefined
  readonly #decision: RateLimitDecision
  /** Of the decision: the head may be written a good while after it. */
  readonly #resetAt: number

  constructor(
    { policy, policyLines }: { policy: string; policyLines: string },
    states: string | undefined,
    tightest: PolicyFields | undefined,
    decision: RateLimitDecision
  ) {
    this.#policy = policy
    this.#policyLines = policyLines
    this.#states = states
    this.#tightest = tightest
    this.#decision = decision
    this.#resetAt = tightest === undefined ? 0 : epochSeconds(decision.resetMs)
  }

  text(): string {
    const draft = this.#states === undefined ? '' : `${this.#policyLines}${this.#states}\r\n`
    if (this.#tightest === undefined) return draft
    return `${draft}${this.#tightest.limitLines}${this.#decision.remaining}${resetLine(this.#resetAt)}`
  }

  pairs(): string[] {
    const pairs: string[] = []
    if (this.#states !== undefined) pairs.push(policyField, this.#policy, stateField, this.#states)
    if (this.#tightest === undefined) return pairs
    pairs.push(limitField, this.#tightest.limit, remainingField, String(this.#decision.remaining))
    pairs.push(resetField, String(this.#resetAt))
    return pairs
  }

  /** Other limiters of the same request may have said something: the lists grow, and the trio is of whoever has least left. */
  addTo(exchange: Exchange): void {
    const policies = exchange.getHeader(policyField)
    const least = exchange.getHeader(remainingField)
    if (policies === undefined && least === undefined) {
      exchange.setHeaderLines(this)
      return
    }
    const pairs = this.pairs()
    for (let i = 0; i < pairs.length; i += 2) {
      const earlier = exchange.getHeader(pairs[i])
      if (earlier === undefined) exchange.setHeader(pairs[i], pairs[i + 1])
      else if (pairs[i].startsWith(stateField)) exchange.setHeader(pairs[i], `${earlier}, ${pairs[i + 1]}`)
      else if (Number(least) > this.#decision.remaining) exchange.setHeader(pairs[i], pairs[i + 1])
    }
  }
}

/** Adds members to the list fields; other limiters of the same request may have added theirs. */
export function addDraftFields(exchange: Exchange, policy: string, state: string): void {
  const policies = exchange.getHeader(policyField)
  const states = exchange.getHeader(stateField)
  exchange.setHeader(policyField, policies === undefined ? policy : `${policies}, ${policy}`)
  exchange.setHeader(stateField, states === undefined ? state : `${states}, ${state}`)
}

/** The wall clock is read to print, and decides nothing. */
function epochSeconds(resetMs: number): number {
  return Math.ceil((Date.now() + resetMs) / 1_000)
}

let lastReset = 0
let lastResetLine = ''

/** All that is admitted within a second has the same. */
function resetLine(reset: number): string {
  if (reset !== lastReset) {
    lastReset = reset
    lastResetLine = `\r\nX-RateLimit-Reset: ${reset}\r\n`
  }
  return lastResetLine
}

/** ms, half a nanosecond: what the sum of a time and a window may be off as floating point has it. */
const rounding = 5e-7

/** Whole seconds, never early, at least 1. */
export function seconds(ms: number): number {
  return Math.max(1, Math.ceil((ms - rounding) / 1_000))
}

function item(value: BareItem, parameters: Record<string, BareItem>): string {
  return serializeItem([value, new Map(Object.entries(parameters))])
}
