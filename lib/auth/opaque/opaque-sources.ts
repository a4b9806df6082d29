/** Who is asked about opaque tokens, and what their answers rest on. */
import type { Reporter } from '../../http/reporter.ts'
import type { Clock } from '../clock.ts'
import type { Fetch } from '../keys/endpoint.ts'
import { VerificationKey } from '../keys/key-set.ts'
import type { Usable } from '../token/verified-token-cache.ts'
import { type ApiKeyOptions, ApiKeys } from './api-keys.ts'
import { Introspection, type IntrospectionOptions } from './introspection.ts'
import type { OpaqueTokens } from './opaque-tokens.ts'

export interface OpaqueTokenOptions {
  /** Takes API keys that the application issued itself. */
  apiKeys?: ApiKeyOptions
  /** Asks the authorization server about opaque tokens. */
  introspection?: IntrospectionOptions
}

/** The verifier's own, for sources that have none of their own. */
export interface OpaqueContext {
  clock: Clock
  reporter: Reporter | undefined
  fetch: Fetch | undefined
  /** `cnf` members that are checked after verification. */
  confirmations: readonly string[]
  /** Whether tokens of other issuers are taken too. */
  hasIssuers: boolean
}

/** In the place of a key: the word of who issued the token, good for as long as the cache keeps it. */
export const issuersWord: VerificationKey = new VerificationKey({}, [], '')
export const noKeys: Usable = { usableUntil: Number.POSITIVE_INFINITY }

/** @throws TypeError when an option is not what it must be */
export function opaqueTokensOf(options: OpaqueTokenOptions, context: OpaqueContext): readonly OpaqueTokens[] {
  const { apiKeys, introspection } = options
  const { reporter, fetch, confirmations } = context
  const shared = { clock: () => context.clock.now(), ...(reporter && { reporter }) }
  const sources: OpaqueTokens[] = []
  if (apiKeys !== undefined) {
    const keys = new ApiKeys({ ...shared, ...apiKeys })
    if (keys.takesAll && introspection !== undefined) {
      throw new TypeError(
        'authenticate: apiKeys must have a prefix that tells them from tokens for introspection'
      )
    }
    sources.push(keys)
  }
  if (introspection !== undefined) {
    const issuerInKey = context.hasIssuers || apiKeys !== undefined
    sources.push(
      new Introspection({ ...shared, ...(fetch && { fetch }), issuerInKey, ...introspection }, confirmations)
    )
  }
  return sources
}
