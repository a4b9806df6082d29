/** Finds the bearer token of a request: exactly one, in exactly one place (RFC 6750, section 2.1). */
import { Refusal } from './refusal.ts'

const request = (reason: string, description: string) => new Refusal('invalid_request', reason, description)

const duplicate = request('duplicate_authorization', 'There must be one Authorization header')
const empty = request('empty_token', 'The access token is missing')
const syntax = request('malformed_authorization', 'The Authorization header is malformed')
/** RFC 6750, section 2: one method only. */
export const twoMethods: Refusal = request(
  'token_in_query',
  'The access token must be in the Authorization header only'
)

/**
 * The one `Authorization` field, undefined when there is none. Node keeps the first of two and hides the second, so
 * the raw list is read; names of another length, nearly all, cost one comparison.
 */
export function authorizationOf(rawHeaders: readonly string[]): string | Refusal | undefined {
  let found: string | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length !== 13 || !isAuthorization(name)) continue
    if (found !== undefined) return duplicate
    found = rawHeaders[i + 1] as string
  }
  return found
}

function isAuthorization(name: string): boolean {
  return name === 'Authorization' || name === 'authorization' || name.toLowerCase() === 'authorization'
}

/**
 * The token in an `Authorization` field; undefined when it is of another scheme (RFC 9110, section 11.4). Its characters
 * are not looked at: what equals a token that was verified before needs no second look.
 */
export function bearerToken(authorization: string): string | Refusal | undefined {
  if (!isBearer(authorization)) return undefined
  let from = 6
  while (authorization.charCodeAt(from) === 0x20) from++
  return from >= authorization.length ? empty : authorization.slice(from)
}

/** The token in a field of the scheme DPoP (RFC 9449, section 7.1); undefined when it is of another. */
export function dpopToken(authorization: string): string | Refusal | undefined {
  const scheme = /^dpop(?: +|$)/i.exec(authorization)?.[0]
  if (scheme === undefined) return undefined
  return scheme.length === authorization.length ? empty : authorization.slice(scheme.length)
}

function isBearer(authorization: string): boolean {
  if (authorization.startsWith('Bearer ')) return true
  // What follows the scheme is no character of a scheme's name: `Bearer: abc` is a malformed attempt at this one.
  return /^bearer(?![!#$%&'*+.^`|~\w-])/i.test(authorization)
}

/** What is wrong with the characters of a token (RFC 6750, section 2.1: b64token). */
export function judgeSyntax(token: string): Refusal | undefined {
  return b64token.test(token) ? undefined : syntax
}

const b64token = /^[\w.~+/-]+=*$/

/** Whether a request target offers a token in its query, which is no method here (RFC 9700, section 4.3.2). */
export function hasQueryToken(url: string): boolean {
  const query = url.indexOf('?')
  if (query === -1) return false
  // No expression with a repetition: the sender chooses what it would have to try.
  let at = url.indexOf('access_token=', query)
  while (at !== -1) {
    if (at === query + 1 || url.charCodeAt(at - 1) === 0x26) return true
    at = url.indexOf('access_token=', at + 1)
  }
  return false
}
