/** Tells access tokens from the other JWTs that an issuer signs with the same key (RFC 8725, section 3.11). */
import type { Claims, TokenHeader } from './verified-token.ts'

/** `typ` without the `application/` that RFC 7515 lets out, in lower case. */
export function mediaType({ typ }: TokenHeader): string | undefined {
  if (typeof typ !== 'string') return undefined
  const type = typ.toLowerCase()
  return type.startsWith('application/') ? type.slice(12) : type
}

/**
 * The explicit type decides where there is one: `at+jwt` (RFC 9068), Keycloak's `typ` claim, Cognito's `token_use`.
 * Otherwise a token with what only ID tokens have (`nonce`, `at_hash`, `c_hash`) and no scope is an ID token, and one
 * with `events` a logout or security event token.
 */
export function isAccessToken(claims: Claims, header: TokenHeader, acceptIdTokens: boolean): boolean {
  if (Object.hasOwn(claims, 'events')) return false
  if (mediaType(header) === 'at+jwt') return true
  const { typ, token_use: use } = claims
  if (use === 'refresh' || (typeof typ === 'string' && notAccess.has(typ.toLowerCase()))) return false
  if (acceptIdTokens) return true
  if (use === 'id' || typ === 'ID') return false
  if (use === 'access' || typ === 'Bearer') return true
  if (Object.hasOwn(claims, 'at_hash') || Object.hasOwn(claims, 'c_hash')) return false
  return !Object.hasOwn(claims, 'nonce') || claims['scope'] !== undefined || claims['scp'] !== undefined
}

/** Keycloak's other tokens. */
const notAccess = new Set(['refresh', 'offline', 'logout', 'registrationaccesstoken', 'initialaccesstoken'])
