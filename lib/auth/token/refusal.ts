/** Why a token is refused: the true reason for audit and metrics, and the fixed words that the client is told. */

/** The error codes of RFC 6750, section 3.1, and RFC 9449, section 7.1; `unavailable` is a 503 and no fault of the caller. */
export type RefusalError =
  | 'invalid_request'
  | 'invalid_token'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce'
  | 'unavailable'

export class Refusal {
  readonly error: RefusalError
  /** Stable snake_case name. */
  readonly reason: string
  /** From a fixed list; never text from the token or from an exception. */
  readonly description: string
  /** Seconds; set with `unavailable`. */
  readonly retryAfterSeconds: number

  constructor(error: RefusalError, reason: string, description: string, retryAfterSeconds = 0) {
    this.error = error
    this.reason = reason
    this.description = description
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** What `instanceof` says, for each request: which engines look up by name if the class comes from another module. */
export function isRefusal(value: object): value is Refusal {
  return (value as Partial<Refusal>).error !== undefined
}

/** What `TokenVerifier.verify` rejects with. */
export class TokenError extends Error {
  override readonly name = 'TokenError'
  /** `ERR_TOKEN_` and the reason in capitals: switch on this. */
  readonly code: string
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(`${refusal.description} (${refusal.reason})`)
    this.code = `ERR_TOKEN_${refusal.reason.toUpperCase()}`
    this.refusal = refusal
  }

  /** The true reason, a stable snake_case name. */
  get reason(): string {
    return this.refusal.reason
  }
}

export function invalid(reason: string, description = 'The access token is invalid'): Refusal {
  return new Refusal('invalid_token', reason, description)
}

/** What decides on a token does not answer. */
export function unavailable(reason: string, retryAfterSeconds = 1): Refusal {
  return new Refusal('unavailable', reason, 'Tokens cannot be verified at the moment', retryAfterSeconds)
}

const malformed = (reason: string) => invalid(reason, 'The access token is malformed')

/** Refusals that carry nothing of the request exist once. */
export const refusals = {
  tooLarge: malformed('token_too_large'),
  malformed: malformed('malformed_token'),
  notCanonical: malformed('non_canonical_token'),
  encrypted: malformed('encrypted_token'),
  malformedHeader: malformed('malformed_header'),
  malformedClaims: malformed('malformed_claims'),
  tooDeep: malformed('claims_too_deep'),
  algorithm: invalid('algorithm_not_allowed'),
  critical: invalid('unsupported_critical_header'),
  embeddedKey: invalid('embedded_key'),
  keyId: invalid('invalid_key_id'),
  type: invalid('wrong_token_type'),
  issuer: invalid('unknown_issuer'),
  audience: invalid('wrong_audience'),
  expiry: invalid('invalid_expiry'),
  lifetime: invalid('excessive_lifetime'),
  expired: invalid('expired', 'The access token expired'),
  notBefore: invalid('invalid_not_before'),
  notYetValid: invalid('not_yet_valid', 'The access token is not valid yet'),
  issuedAt: invalid('issued_in_the_future'),
  claim: invalid('missing_claim'),
  confirmation: invalid('unchecked_confirmation'),
  unknownKey: invalid('unknown_key'),
  keyMismatch: invalid('key_mismatch'),
  signature: invalid('bad_signature'),
  graphToken: invalid('microsoft_graph_token'),
  revoked: invalid('revoked', 'The access token was revoked')
} as const

/** Keys that are not at hand because the identity provider does not answer. */
export function keysUnavailable(retryAfterSeconds: number): Refusal {
  return unavailable('keys_unavailable', retryAfterSeconds)
}

/** The revocation list does not answer, and says nothing else to do. */
export const revocationsUnavailable: Refusal = unavailable('revocations_unavailable')
