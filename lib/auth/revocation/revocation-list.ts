/** Which verified tokens are no longer good. Asked on every request, with cached tokens too. */
import { createHash } from 'node:crypto'
import type { VerifiedToken } from '../token/verified-token.ts'

/** What a list knows of a token. `unavailable`: it cannot tell, and the request is answered with 503. */
export type RevocationState = 'good' | 'revoked' | 'unavailable'

/** Answers from memory, at once: it stands in the way of every request. */
export interface RevocationList {
  check(token: VerifiedToken): RevocationState
}

/**
 * The name of a token without `jti`: SHA-256 over the decoded header and payload, in base64url. Every spelling of a
 * token, and every signature that fits it, has the same one, which a digest of the whole text has not (RFC 7515,
 * section 5.2). An opaque token's is that of its text.
 */
export function signingInputDigest(text: string): string {
  if (!text.includes('.')) return createHash('sha256').update(text).digest('base64url')
  const [header = '', payload = ''] = text.split('.', 2)
  return createHash('sha256')
    .update(Buffer.from(header, 'base64url'))
    .update('.')
    .update(Buffer.from(payload, 'base64url'))
    .digest('base64url')
}
