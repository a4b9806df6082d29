/** Judges a JOSE header before anything in it is believed or looked up. */
import { type Refusal, refusals } from './refusal.ts'
import { mediaType } from './token-type.ts'
import type { TokenHeader } from './verified-token.ts'

const maxKidLength = 256

/**
 * Refuses algorithms off the list, critical extensions (none is understood here; RFC 7515, section 4.1.11), keys and
 * key locations that the token brings itself, key ids that are no plain short string, and other types of token.
 */
export function judgeHeader(header: TokenHeader, algorithms: ReadonlySet<string>): Refusal | undefined {
  if (typeof header.alg !== 'string' || !algorithms.has(header.alg)) return refusals.algorithm
  if (Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64')) return refusals.critical
  for (const name of embedded) {
    if (Object.hasOwn(header, name)) return refusals.embeddedKey
  }
  if (Object.hasOwn(header, 'kid') && !isKeyId(header.kid)) return refusals.keyId
  if (Object.hasOwn(header, 'typ')) {
    const type = mediaType(header)
    if (type !== 'jwt' && type !== 'at+jwt') return refusals.type
  }
  return undefined
}

const embedded = ['jwk', 'jku', 'x5u', 'x5c']

function isKeyId(kid: unknown): boolean {
  return typeof kid === 'string' && kid.length <= maxKidLength && /^[ -~]+$/.test(kid)
}
