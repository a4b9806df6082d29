/** The Redis keys of one identifier: both in one slot of a cluster, short, and no two identifiers with the same. */
import { createHash } from 'node:crypto'

/** Identifiers up to this length, without braces, stand in the key as they are; others as a digest. */
const longestPlain = 128

export class WindowKeys {
  /** What the keys of all windows start with. */
  readonly windowPrefix: string
  readonly #leasePrefix: string

  /** @throws TypeError when the prefix holds a brace: it would decide on the slot */
  constructor(prefix: string) {
    if (/[{}]/.test(prefix)) {
      throw new TypeError(
        `RedisRateLimiter: prefix and name must not hold braces, got ${JSON.stringify(prefix)}`
      )
    }
    this.windowPrefix = `${prefix}:window:`
    this.#leasePrefix = `${prefix}:leases:`
  }

  /** The key of the window and the key of its leases. */
  of(identifier: string): [string, string] {
    const tag = tagOf(identifier)
    return [this.windowPrefix + tag, this.#leasePrefix + tag]
  }

  /** The key of the leases of a window's key. */
  leasesOf(windowKey: string): string {
    return this.#leasePrefix + windowKey.slice(this.windowPrefix.length)
  }
}

function tagOf(identifier: string): string {
  const plain = identifier.length <= longestPlain && /^[^#{}][^{}]*$/.test(identifier)
  if (plain && isWellFormed(identifier)) return `{${identifier}}`
  // Every code unit goes into the digest: as UTF-8, all lone surrogates would be one.
  return `{#${createHash('sha256').update(identifier, 'utf16le').digest('base64url')}}`
}

function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text)
}
