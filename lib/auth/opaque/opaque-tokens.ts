/** Tokens that only their issuer can read: who is asked about which. */
import type { Refusal } from '../token/refusal.ts'
import type { VerifiedToken } from '../token/verified-token.ts'

/** Somebody who can be asked about tokens that are no JWTs. What is answered goes through the same cache and revocation list. */
export interface OpaqueTokens {
  /** Whether a token is one of these, by its looks. */
  takes(text: string): boolean
  /** Never rejects: what cannot be found out is a refusal `unavailable`. */
  resolve(text: string): Promise<VerifiedToken | Refusal>
}

/** Three segments, or five: a signed or encrypted JWT (RFC 7515, section 3.1; RFC 7516, section 3.1). */
export function looksLikeJwt(text: string): boolean {
  return /^[\w-]+(?:\.[\w-]*){2}(?:(?:\.[\w-]*){2})?$/.test(text)
}
