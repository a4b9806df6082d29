/** What a verifier is told: whom it trusts, and what holds for all of them. */
import type { Reporter } from '../../http/reporter.ts'
import type { IdentityOptions } from '../caller/identity.ts'
import type { Clock } from '../clock.ts'
import type { Fetch } from '../keys/endpoint.ts'
import type { OpaqueTokenOptions } from '../opaque/opaque-sources.ts'
import type { RevocationList } from '../revocation/revocation-list.ts'
import type { IssuerOptions } from './trusted-issuer.ts'
import type { VerifiedTokenCacheOptions } from './verified-token-cache.ts'

/** One issuer, with who counts as a machine among its callers. */
export type TrustedIssuerOptions = IssuerOptions & IdentityOptions

/** Options that hold for all issuers. */
export interface TokenVerifierSettings extends OpaqueTokenOptions {
  /** Longer tokens are refused unread. Default 8192. */
  maxTokenBytes?: number
  /** The verified-token cache. */
  cache?: VerifiedTokenCacheOptions
  /** Which verified tokens are no longer good; asked on every request, with cached tokens too. */
  revocations?: RevocationList
  /** `cnf` members that are checked after verification, by you; other bound tokens are refused. Default none. */
  confirmations?: readonly string[]
  /** For identity providers behind a proxy or a private certificate authority. Default: the global `fetch`. */
  fetch?: Fetch
  clock?: Clock
  /** Told of failed refreshes of keys. */
  reporter?: Reporter
}

/** One issuer's options side by side with the settings, or several in `issuers`. */
export type TokenVerifierOptions = TokenVerifierSettings &
  (TrustedIssuerOptions | { issuers: readonly TrustedIssuerOptions[] } | OpaqueOnly)

/** No JWTs at all. */
export interface OpaqueOnly {
  issuer?: never
  issuers?: never
}

/** @throws TypeError when there is no issuer, and nobody else to ask */
export function issuersOf(options: TokenVerifierOptions): readonly TrustedIssuerOptions[] {
  const { issuers, issuer, apiKeys, introspection } = options as Partial<TrustedIssuerOptions> &
    TokenVerifierSettings & { issuers?: readonly TrustedIssuerOptions[] }
  if (issuers === undefined) {
    const opaqueOnly = issuer === undefined && (apiKeys !== undefined || introspection !== undefined)
    return opaqueOnly ? [] : [options as TrustedIssuerOptions]
  }
  if (issuer !== undefined) throw new TypeError('authenticate: issuer and issuers exclude each other')
  if (!Array.isArray(issuers) || issuers.length === 0) {
    throw new TypeError('authenticate: issuers must be a list of at least one issuer')
  }
  return issuers
}

export function checkRevocations(list: RevocationList | undefined): RevocationList | undefined {
  if (list === undefined || typeof list?.check === 'function') return list
  throw new TypeError(`authenticate: revocations must have a method check, got ${String(list)}`)
}
