/** A bounded map keyed by complete tokens, whose look-up does not hash them. */
import { createHash } from 'node:crypto'

export interface TokenMapOptions {
  maxEntries: number
  /** Over all entries, by their own estimate. */
  maxBytes: number
  /** Keeps SHA-256 digests instead of tokens: safer in a heap dump, about 1 µs more a look-up. */
  hashTokens: boolean
}

/** How a map names its entries. */
export type TokenKeys = Pick<TokenMap<TokenEntry>, 'keyOf' | 'hashesTokens'>

/** What a map holds; `TokenMap` alone writes its members. */
export class TokenEntry {
  /** The end of the token, or the digest of all of it. */
  readonly key: string
  /** The complete token; empty when tokens are kept as digests. */
  readonly text: string
  /** Roughly what the entry occupies. */
  readonly bytes: number
  /** False once it has left the map, whoever still holds it. */
  alive = false
  /** Used since the hand last came by. */
  used = false

  constructor(map: TokenKeys, text: string, bytes: number) {
    this.key = map.keyOf(text)
    this.text = map.hashesTokens ? '' : text
    this.bytes = bytes
  }
}

/** 72 bits of the signature: short enough to be copied and hashed in some 30 ns, where 540 characters take 800. */
const keyLength = 12

/**
 * The key is the token's end; then the complete token is compared, which is a memcmp. Two tokens with one end displace
 * each other, and are never taken for each other.
 *
 * Eviction is SIEVE (Zhang et al., NSDI 2024): a hand goes from the oldest entry to the newest and around, spares
 * what was used since it last came by, and takes the first that was not. A hit only sets a flag.
 */
export class TokenMap<E extends TokenEntry> {
  readonly hashesTokens: boolean
  readonly #maxEntries: number
  readonly #maxBytes: number
  readonly #entries = new Map<string, E>()
  #hand: Iterator<E>
  /** Entries added since the hand last moved. */
  #addedSince = 0
  #bytes = 0
  #evictions = 0

  constructor(options: TokenMapOptions) {
    this.#maxEntries = options.maxEntries
    this.#maxBytes = options.maxBytes
    this.hashesTokens = options.hashTokens
    this.#hand = this.#entries.values()
  }

  keyOf(text: string): string {
    return this.hashesTokens ? createHash('sha256').update(text).digest('base64url') : text.slice(-keyLength)
  }

  find(text: string): E | undefined {
    const entry = this.#entries.get(this.keyOf(text))
    return entry !== undefined && (this.hashesTokens || entry.text === text) ? entry : undefined
  }

  add(entry: E): void {
    if (entry.bytes > this.#maxBytes || this.#maxEntries === 0) return
    const displaced = this.#entries.get(entry.key)
    if (displaced !== undefined) this.delete(displaced)
    while (this.#entries.size >= this.#maxEntries || this.#bytes + entry.bytes > this.#maxBytes) this.#evict()
    this.#entries.set(entry.key, entry)
    this.#bytes += entry.bytes
    entry.alive = true
    // A map holds on to what it deleted for as long as an iterator of its stands where that was.
    if (++this.#addedSince > this.#entries.size) this.#moveHandToStart()
  }

  delete(entry: E): void {
    if (!entry.alive) return
    entry.alive = false
    this.#entries.delete(entry.key)
    this.#bytes -= entry.bytes
  }

  /** Deletes what the test picks; answers how many that were. */
  deleteWhere(test: (entry: E) => boolean): number {
    const before = this.#entries.size
    for (const entry of this.#entries.values()) {
      if (test(entry)) this.delete(entry)
    }
    return before - this.#entries.size
  }

  get size(): number {
    return this.#entries.size
  }

  get bytes(): number {
    return this.#bytes
  }

  get evictions(): number {
    return this.#evictions
  }

  #moveHandToStart(): void {
    this.#hand = this.#entries.values()
    this.#addedSince = 0
  }

  #evict(): void {
    this.#addedSince = 0
    for (;;) {
      const next = this.#hand.next()
      if (next.done === true) {
        this.#moveHandToStart()
      } else if (next.value.used) {
        next.value.used = false
      } else {
        this.delete(next.value)
        this.#evictions++
        return
      }
    }
  }
}
