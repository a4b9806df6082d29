/** Remembers which tokens were good, so that their signatures are verified once. */
import { checkBoolean, checkInteger, checkObject, checkOption } from '../../options.ts'
import type { VerificationKey } from '../keys/key-set.ts'
import type { KeySource } from '../keys/key-source.ts'
import { TokenEntry, type TokenKeys, TokenMap } from './token-map.ts'
import type { VerifiedToken } from './verified-token.ts'

export interface VerifiedTokenCacheOptions {
  /** Default 10 000; 0 switches the cache off. */
  maxEntries?: number
  /** Estimated, over all entries. Default 32 MiB. */
  maxBytes?: number
  /** Seconds after which a token is verified anew, however long it is valid. Default 60. */
  maxAgeSeconds?: number
  /** Longer tokens are verified every time. Default 4096. */
  maxTokenBytes?: number
  /** Keeps SHA-256 digests instead of tokens. Default false. */
  hashTokens?: boolean
}

export interface VerifiedTokenCacheStats {
  entries: number
  bytes: number
  hits: number
  misses: number
  /** Left to make room. */
  evictions: number
  /** Found on a hit, and refused, since their `exp` had passed. */
  expired: number
  /** Good tokens, in the cache or not, that the revocation list refused. */
  revoked: number
}

/** How long what verified a token may be trusted, as a `KeySource` says it. */
export type Usable = Pick<KeySource, 'usableUntil'>

/** One good token; every hit asks again what may have changed since. */
export class CachedToken extends TokenEntry {
  readonly token: VerifiedToken
  readonly verifiedBy: VerificationKey
  readonly keys: Usable
  /** Wall clock, ms. */
  readonly notBefore: number
  /** Wall clock, ms. */
  readonly expiresAt: number
  /** Monotonic, ms. */
  readonly deadline: number

  constructor(map: TokenKeys, text: string, proof: Proof, deadline: number) {
    // The text, and the claims, which take about twice the room of their JSON.
    super(map, text, 3 * text.length + 1_024)
    this.token = proof.token
    this.verifiedBy = proof.verifiedBy
    this.keys = proof.keys
    this.notBefore = proof.notBefore
    this.expiresAt = proof.expiresAt
    this.deadline = deadline
  }
}

/** What a verification established. */
export interface Proof {
  readonly token: VerifiedToken
  readonly verifiedBy: VerificationKey
  readonly keys: Usable
  /** Wall clock, ms, with the tolerance. */
  readonly notBefore: number
  readonly expiresAt: number
}

/**
 * Holds successes only, for one verifier and its fixed configuration.
 * @throws TypeError when an option is not what it must be
 */
export class VerifiedTokenCache {
  /** @internal Counted by the verifier. */
  readonly counts = { hits: 0, misses: 0, expired: 0, revoked: 0 }
  readonly #map: TokenMap<CachedToken>
  readonly #maxAgeMs: number
  readonly #maxTokenBytes: number

  constructor(options: VerifiedTokenCacheOptions = {}) {
    checkObject('authenticate', 'cache', options)
    const {
      maxEntries = 10_000,
      maxBytes = 33_554_432,
      maxAgeSeconds = 60,
      maxTokenBytes = 4_096,
      hashTokens = false
    } = options
    for (const [name, value] of Object.entries({ maxEntries, maxBytes, maxTokenBytes })) {
      checkInteger('VerifiedTokenCache', name, value, 0)
    }
    const isAge = typeof maxAgeSeconds === 'number' && maxAgeSeconds > 0
    checkOption(isAge, 'VerifiedTokenCache', 'maxAgeSeconds', 'a positive number', maxAgeSeconds)
    checkBoolean('VerifiedTokenCache', 'hashTokens', hashTokens)
    this.#map = new TokenMap({ maxEntries, maxBytes, hashTokens })
    this.#maxAgeMs = maxAgeSeconds * 1000
    this.#maxTokenBytes = maxEntries === 0 ? 0 : maxTokenBytes
  }

  /** Whether tokens themselves are never kept. */
  get hashesTokens(): boolean {
    return this.#map.hashesTokens
  }

  /** @internal An entry is no answer yet: `TokenVerifier` asks again what may have changed. */
  find(text: string): CachedToken | undefined {
    return this.#map.find(text)
  }

  /** @internal Whether a token may be kept at all. */
  takes(text: string): boolean {
    return text.length <= this.#maxTokenBytes
  }

  /**
   * @internal
   * @param wallNow ms, wall clock
   * @param now ms, monotonic
   */
  add(text: string, proof: Proof, wallNow: number, now: number): void {
    const lifetime = Math.min(this.#maxAgeMs, proof.expiresAt - wallNow)
    if (!this.takes(text) || lifetime <= 0) return
    this.#map.add(new CachedToken(this.#map, text, proof, now + lifetime))
  }

  /** @internal */
  delete(entry: CachedToken): void {
    this.#map.delete(entry)
  }

  /** Drops what withdrawn keys verified. */
  deleteWithdrawn(): number {
    return this.#map.deleteWhere(entry => !entry.verifiedBy.current)
  }

  /** Drops the tokens of one subject, for instance after its rights changed. */
  deleteBySubject(subject: string): number {
    return this.#map.deleteWhere(entry => entry.token.claims.sub === subject)
  }

  clear(): void {
    this.#map.deleteWhere(() => true)
  }

  get stats(): VerifiedTokenCacheStats {
    const { size: entries, bytes, evictions } = this.#map
    return { entries, bytes, evictions, ...this.counts }
  }
}
