/** What a response says about its limits: RFC 9651 structured fields of the IETF draft, and the older trio. */
import { type BareItem, serializeItem } from 'structured-headers'
import type { Exchange } from '../http/exchange.ts'
import type { RateLimitDecision } from './rate-limit-decision.ts'

/**
 * `draft-11`: `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers, one wire format from -08 to -11.
 * `x-ratelimit`: `X-RateLimit-Limit`, `-Remaining` and `-Reset`, the last in epoch seconds.
 */
export type RateLimitHeaderFormat = 'draft-11' | 'x-ratelimit'

const formats: readonly RateLimitHeaderFormat[] = ['draft-11', 'x-ratelimit']
const longestName = 128

/** One policy's members of the two list fields. What cannot change is serialized once. */
export class PolicyFields {
  readonly name: string
  readonly policy: string
  readonly limit: string
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
    try {
      const rest: Record<string, BareItem> =
        windowMs === undefined ? { qu: 'concurrent-requests' } : { w: seconds(windowMs) }
      this.policy = item(name, { q: limit, ...rest })
    } catch {
      throw new TypeError(`${owner}: name must be printable ASCII, got ${JSON.stringify(name)}`)
    }
    this.name = name
    this.limit = String(limit)
    this.#beforeRemaining = `${item(name, {})};r=`
  }

  /** @param nextUnitMs until more can be taken; undefined when everything can, or nobody knows */
  state(remaining: number, nextUnitMs: number | undefined): string {
    const state = this.#beforeRemaining + remaining
    return nextUnitMs === undefined ? state : `${state};t=${seconds(nextUnitMs)}`
  }
}

/** @throws TypeError when the option is not a list of formats */
export function checkHeaderFormats(headers: unknown): readonly RateLimitHeaderFormat[] {
  if (headers === undefined) return formats
  if (Array.isArray(headers) && headers.every(format => formats.includes(format))) return headers
  throw new TypeError(
    `rateLimit: headers must be a list of 'draft-11' and 'x-ratelimit', got ${JSON.stringify(headers)}`
  )
}

/** Adds members to the list fields; other limiters of the same request may have added theirs. */
export function addDraftFields(exchange: Exchange, policy: string, state: string): void {
  const policies = exchange.getHeader('RateLimit-Policy')
  const states = exchange.getHeader('RateLimit')
  exchange.setHeader('RateLimit-Policy', policies === undefined ? policy : `${policies}, ${policy}`)
  exchange.setHeader('RateLimit', states === undefined ? state : `${states}, ${state}`)
}

/** The trio has room for one policy: the one with the least left, over all limiters of the request. */
export function addLegacyFields(exchange: Exchange, limit: string, decision: RateLimitDecision): void {
  const other = exchange.getHeader('X-RateLimit-Remaining')
  if (other !== undefined && Number(other) <= decision.remaining) return
  exchange.setHeader('X-RateLimit-Limit', limit)
  exchange.setHeader('X-RateLimit-Remaining', String(decision.remaining))
  // The wall clock is read to print, and decides nothing.
  exchange.setHeader('X-RateLimit-Reset', String(Math.ceil((Date.now() + decision.resetMs) / 1_000)))
}

/** Whole seconds, never early, at least 1. */
export function seconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000))
}

function item(value: BareItem, parameters: Record<string, BareItem>): string {
  return serializeItem([value, new Map(Object.entries(parameters))])
}
