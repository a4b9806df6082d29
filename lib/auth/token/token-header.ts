/** Reads and judges JOSE headers before anything in them is believed or looked up. */
import { jsonObject } from './compact-token.ts'
import { freezeClaims } from './frozen-claims.ts'
import { type Refusal, refusals } from './refusal.ts'
import { mediaType } from './token-type.ts'
import type { TokenHeader } from './verified-token.ts'

const maxKidLength = 256
const maxRemembered = 100

/** An issuer's tokens share a handful of headers: good ones are read once. */
export class TokenHeaders {
  readonly #algorithms: ReadonlySet<string>
  readonly #good = new Map<string, TokenHeader>()

  constructor(algorithms: ReadonlySet<string>) {
    this.#algorithms = algorithms
  }

  /** The header in a segment of strict base64url, frozen. */
  read(segment: string): TokenHeader | Refusal {
    const known = this.#good.get(segment)
    if (known !== undefined) return known
    const header = jsonObject(segment)
    if (header === undefined) return refusals.malformedHeader
    const refusal = judgeHeader(header, this.#algorithms)
    if (refusal !== undefined) return refusal
    if (!freezeClaims(header)) return refusals.tooDeep
    if (this.#good.size >= maxRemembered) this.#good.clear()
    this.#good.set(segment, header)
    return header
  }
}

/**
 * Refuses algorithms off the list, critical extensions (none is understood here; RFC 7515, section 4.1.11), keys and
 * key locations that the token brings itself, key ids that are no plain short string, and other types of token.
 */
function judgeHeader(header: TokenHeader, algorithms: ReadonlySet<string>): Refusal | undefined {
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
