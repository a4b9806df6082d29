/** Tells access tokens from the other JWTs that an issuer signs with the same key (RFC 8725, section 3.11). */
import type { Claims, TokenHeader } from './verified-token.ts'

/** `typ` without the `application/` that RFC 7515 lets out, in lower case. */
export function mediaType({ typ }: TokenHeader): string | undefined {
  if (typeof typ !== 'string') return undefined
  const type = typ.toLowerCase()
  return type.startsWith('application/') ? type.slice(12) : type
}

/**
 * What a token says of itself decides: `at+jwt` in the header (RFC 9068), Keycloak's claim `typ`, Cognito's `token_use`, the
 * `token_type` of others; a token that says it is for something else is never an access token. One that says nothing is an ID
 * token if it has what only these have (`nonce`, `at_hash`, `c_hash`) and no scope; with `events` it is a logout or security
 * event token.
 */
export function isAccessToken(claims: Claims, header: TokenHeader, acceptIdTokens: boolean): boolean {
  if (Object.hasOwn(claims, 'events')) return false
  const { typ, token_use: use, token_type: type } = claims
  if (isRefresh(use) || isRefresh(type) || (typeof typ === 'string' && notAccess.has(typ.toLowerCase()))) {
    return false
  }
  if (acceptIdTokens) return true
  if (use === 'id' || typ === 'ID') return false
  if (use === 'access' || typ === 'Bearer' || mediaType(header) === 'at+jwt') return true
  if (Object.hasOwn(claims, 'at_hash') || Object.hasOwn(claims, 'c_hash')) return false
  return !Object.hasOwn(claims, 'nonce') || claims['scope'] !== undefined || claims['scp'] !== undefined
}

function isRefresh(use: unknown): boolean {
  return use === 'refresh' || use === 'refresh_token'
}

/** Keycloak's other tokens. */
const notAccess = new Set(['refresh', 'offline', 'logout', 'registrationaccesstoken', 'initialaccesstoken'])
