/** Takes a compact JWS apart, strictly: one token has one spelling, and what is no JWT costs next to nothing. */
import { isUtf8 } from 'node:buffer'
import type { FlattenedJWSInput } from 'jose'
import { Refusal, refusals } from './refusal.ts'
import type { TokenHeaders } from './token-header.ts'
import type { Claims, TokenHeader } from './verified-token.ts'

/** A token as it claims to be; nothing of it is proven yet. */
export interface CompactToken {
  readonly text: string
  readonly header: TokenHeader
  readonly claims: Claims
  /** The three segments, as `flattenedVerify` takes them. */
  readonly jws: FlattenedJWSInput
}

/**
 * RFC 7515 in its strictest reading: three non-empty segments of unpadded base64url with zero spare bits. The header is
 * judged before the claims are read.
 */
export function parseCompactToken(text: string, headers: TokenHeaders): CompactToken | Refusal {
  const headerEnd = text.indexOf('.')
  const claimsEnd = text.indexOf('.', headerEnd + 1)
  if (headerEnd < 1 || claimsEnd <= headerEnd + 1 || claimsEnd === text.length - 1) {
    return refusals.malformed
  }
  const third = text.indexOf('.', claimsEnd + 1)
  if (third !== -1) return hasFiveSegments(text, third) ? refusals.encrypted : refusals.malformed
  if (!compact.test(text)) return refusals.malformed
  if (
    !isCanonical(text, 0, headerEnd) ||
    !isCanonical(text, headerEnd + 1, claimsEnd) ||
    !isCanonical(text, claimsEnd + 1, text.length)
  ) {
    return refusals.notCanonical
  }
  const jws = {
    protected: text.slice(0, headerEnd),
    payload: text.slice(headerEnd + 1, claimsEnd),
    signature: text.slice(claimsEnd + 1)
  }
  const header = headers.read(jws.protected)
  if (header instanceof Refusal) return header
  const claims = jsonObject(jws.payload)
  return claims === undefined ? refusals.malformedClaims : { text, header, claims, jws }
}

const compact = /^[\w.-]+$/

function hasFiveSegments(text: string, third: number): boolean {
  const fourth = text.indexOf('.', third + 1)
  return fourth !== -1 && text.indexOf('.', fourth + 1) === -1
}

/** The last character of a segment holds bits that no byte uses; they must be zero (RFC 4648, section 3.5). */
function isCanonical(text: string, from: number, to: number): boolean {
  const rest = (to - from) & 3
  if (rest === 0) return true
  if (rest === 1) return false
  return (sextet(text.charCodeAt(to - 1)) & (rest === 2 ? 0b1111 : 0b11)) === 0
}

function sextet(code: number): number {
  if (code >= 0x61) return code - 0x61 + 26
  if (code === 0x5f) return 63
  if (code >= 0x41) return code - 0x41
  return code === 0x2d ? 62 : code - 0x30 + 52
}

/** Where segments are decoded, one at a time: a buffer for each would cost more than the decoding. */
const scratch = Buffer.allocUnsafeSlow(8_192)

/** The JSON object in a segment of strict base64url; undefined when it is none, or no UTF-8. */
export function jsonObject(segment: string): Record<string, unknown> | undefined {
  const bytes = segment.length <= scratch.length ? scratch : Buffer.allocUnsafe(segment.length)
  const length = bytes.write(segment, 0, 'base64url')
  const text = bytes.toString('utf8', 0, length)
  // Bytes that are no UTF-8 are read as this character, which may also be there by right.
  if (text.includes('\ufffd') && !isUtf8(bytes.subarray(0, length))) return undefined
  try {
    // A byte order mark stays in the text, where it is no JSON.
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
