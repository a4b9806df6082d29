/** Remembers for some seconds whose signature was bad, so that a client that repeats itself costs no cryptography. */
import type { VerificationKey } from '../keys/key-set.ts'
import type { Refusal } from './refusal.ts'
import { TokenEntry, type TokenKeys, TokenMap } from './token-map.ts'

const memoryMs = 5_000
const maxEntries = 1_000
const maxBytes = 2_097_152

class RefusedToken extends TokenEntry {
  readonly refusal: Refusal
  readonly tried: readonly VerificationKey[]
  /** Monotonic, ms. */
  readonly until: number

  constructor(
    map: TokenKeys,
    text: string,
    refusal: Refusal,
    tried: readonly VerificationKey[],
    until: number
  ) {
    super(map, text, text.length + 256)
    this.refusal = refusal
    this.tried = tried
    this.until = until
  }
}

/** Apart from the verified tokens, so that junk evicts only junk. Refusals that time or a refresh can change stay out. */
export class RefusedTokens {
  readonly #map: TokenMap<RefusedToken>

  constructor(hashTokens: boolean) {
    this.#map = new TokenMap({ maxEntries, maxBytes, hashTokens })
  }

  /** @param now ms, monotonic */
  find(text: string, now: number): Refusal | undefined {
    if (this.#map.size === 0) return undefined
    const entry = this.#map.find(text)
    if (entry === undefined) return undefined
    if (now < entry.until && entry.tried.every(key => key.current)) return entry.refusal
    this.#map.delete(entry)
    return undefined
  }

  add(text: string, refusal: Refusal, tried: readonly VerificationKey[], now: number): void {
    this.#map.add(new RefusedToken(this.#map, text, refusal, tried, now + memoryMs))
  }
}
