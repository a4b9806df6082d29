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
  /** The member of `RateLimit` up to what changes. */
  readonly beforeRemaining: string
  /** The trio's lines up to what changes, behind the end of another line. */
  readonly limitLines: string

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
    this.limitLines = `\r\n${limitField}: ${limit}\r\n${remainingField}: `
    this.beforeRemaining = `${item(name, {})};r=`
  }

  state(remaining: number, nextUnitMs: number | undefined): string {
    return this.beforeRemaining + remaining + timeParameter(nextUnitMs)
  }
}

let lastTime = 0
let lastTimeParameter = ''

/**
 * What follows the number that remains; windows that slowly fill say the same for a second.
 * @param nextUnitMs until more can be taken; undefined when everything can, or nobody knows
 */
export function timeParameter(nextUnitMs: number | undefined): string {
  if (nextUnitMs === undefined || !Number.isFinite(nextUnitMs)) return ''
  const time = seconds(nextUnitMs)
  if (time !== lastTime) {
    lastTime = time
    lastTimeParameter = `;t=${time}`
  }
  return lastTimeParameter
}

/** @throws TypeError when the option is not a list of formats */
export function checkHeaderFormats(headers: unknown): readonly RateLimitHeaderFormat[] {
  if (headers === undefined) return formats
  if (Array.isArray(headers) && headers.every(format => formats.includes(format))) return headers
  throw wrongOption('rateLimit', 'headers', "a list of 'draft-11' and 'x-ratelimit'", shown(headers))
}

/** The lines of the draft up to its members. */
export function policyLines(policy: string): string {
  return `${policyField}: ${policy}\r\n${stateField}: `
}

/** What one limiter says. */
export class RateLimitFields implements HeaderLines {
  readonly names: readonly string[] = names
  readonly #policy: string
  /** The lines of the draft, but for the last line's end; undefined: none. */
  readonly #draft: string | undefined
  /** Of whom the trio speaks; undefined: no trio. */
  readonly #tightest: PolicyFields | undefined
  readonly #decision: RateLimitDecision
  /** Of the decision: the head may be written a good while after it. */
  readonly #resetAt: number

  /** @param decidedAt epoch ms: it is printed, and decides nothing */
  constructor(
    policy: string,
    draft: string | undefined,
    tightest: PolicyFields | undefined,
    decision: RateLimitDecision,
    decidedAt: number
  ) {
    this.#policy = policy
    this.#draft = draft
    this.#tightest = tightest
    this.#decision = decision
    this.#resetAt = Math.ceil((decidedAt + decision.resetMs) / 1_000)
  }

  text(): string {
    if (this.#tightest === undefined) return this.#draft === undefined ? '' : `${this.#draft}\r\n`
    const trio = this.#tightest.limitLines + this.#decision.remaining + resetLine(this.#resetAt)
    // The trio begins with the end of the line before.
    return this.#draft === undefined ? trio.slice(2) : this.#draft + trio
  }

  pairs(): string[] {
    const pairs: string[] = []
    if (this.#draft !== undefined) {
      const states = this.#draft.slice(policyLines(this.#policy).length)
      pairs.push(policyField, this.#policy, stateField, states)
    }
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
