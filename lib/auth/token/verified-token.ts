/** What verification proved about a token: made once, frozen, shared by every request that sends the token. */
import type { Identity } from '../../http/exchange.ts'

/** A JWT's claims, or what introspection said, as received. Deeply frozen: it is shared by many requests. */
export interface Claims {
  readonly iss?: string
  readonly sub?: string
  readonly aud?: string | readonly string[]
  readonly jti?: string
  /** NumericDate: seconds since the epoch. */
  readonly exp?: number
  readonly nbf?: number
  readonly iat?: number
  /** How the token is bound to its sender (RFC 7800). */
  readonly cnf?: Readonly<Record<string, unknown>>
  readonly [claim: string]: unknown
}

/** A JOSE header. Empty for a token that has none. */
export interface TokenHeader {
  readonly alg?: string
  readonly kid?: string
  readonly typ?: string
  readonly [parameter: string]: unknown
}

export interface VerifiedToken {
  readonly claims: Claims
  readonly header: TokenHeader
  /** The configured issuer whose key verified the token. */
  readonly issuer: string
  /** `jti`, where the token has one. */
  readonly tokenId: string | undefined
  /** `signingInputDigest` of a token without `jti`, its name in revocation lists. */
  readonly digest: string | undefined
  /** Seconds since the epoch; infinite for opaque tokens that do not say. */
  readonly expiresAt: number
  /** Who the token speaks for, worked out once. */
  readonly identity: Identity
  /** The claim that showed machine or human, such as `gty=client-credentials`; for the audit log. */
  readonly evidence: string
}
