/** Revocations of this process. */
import { checkInteger, checkPositive } from '../../options.ts'
import type { VerifiedToken } from '../token/verified-token.ts'
import {
  type RevocationEntry,
  type RevokedEpoch,
  type RevokedToken,
  revocationEntry
} from './revocation-entry.ts'
import type { RevocationList, RevocationState } from './revocation-list.ts'

export interface MemoryRevocationListOptions {
  /** Default 100 000. */
  maxEntries?: number
  /** Seconds that an entry without an expiry of its own is kept: at least as long as any token lives. Default 30 days. */
  retentionSeconds?: number
  /** Wall clock, ms. */
  clock?: () => number
}

export interface RevocationListStats {
  entries: number
  /** Entries dropped because the tokens they revoked had expired. */
  expired: number
}

/** What `revoke` throws when there is no room: forgetting an older revocation would make a revoked token good again. */
export class RevocationListFullError extends Error {
  override readonly name = 'RevocationListFullError'
  readonly code = 'ERR_REVOCATION_LIST_FULL'
}

/** Keeps each entry until what it revokes has expired anyway, and never more than `maxEntries`. */
export class MemoryRevocationList implements RevocationList {
  readonly #issuers = new Map<string, IssuerRevocations>()
  readonly #maxEntries: number
  readonly #retentionMs: number
  readonly #clock: () => number
  #entries = 0
  #expired = 0
  #nextSweepAt = 0

  /** @throws TypeError when an option is not what it must be */
  constructor(options: MemoryRevocationListOptions = {}) {
    const { maxEntries = 100_000, retentionSeconds = 2_592_000, clock = Date.now } = options
    checkInteger('MemoryRevocationList', 'maxEntries', maxEntries, 1)
    checkPositive('MemoryRevocationList', 'retentionSeconds', retentionSeconds)
    this.#maxEntries = maxEntries
    this.#retentionMs = retentionSeconds * 1000
    this.#clock = clock
  }

  /**
   * @throws TypeError when it is not said what to revoke
   * @throws RevocationListFullError when there is no room
   */
  revoke(revoked: RevokedToken | RevokedEpoch): void {
    this.add(revocationEntry(revoked, this.#clock(), this.#retentionMs))
  }

  /** @internal */
  add(entry: RevocationEntry): void {
    const now = this.#clock()
    if (entry.until <= now) return
    if (now >= this.#nextSweepAt || this.#entries >= this.#maxEntries) this.#sweep(now)
    const issuer = this.#issuers.get(entry.issuer) ?? new IssuerRevocations()
    const kept = issuer[entry.kind].get(entry.name)
    if (kept === undefined && this.#entries >= this.#maxEntries) {
      throw new RevocationListFullError(`MemoryRevocationList: ${this.#maxEntries} entries are live already`)
    }
    this.#issuers.set(entry.issuer, issuer)
    if (kept === undefined) this.#entries++
    issuer[entry.kind].set(entry.name, kept === undefined ? entry : later(kept, entry))
  }

  check(token: VerifiedToken): RevocationState {
    if (this.#entries === 0) return 'good'
    const issuer = this.#issuers.get(token.issuer)
    return issuer?.revokes(token) ? 'revoked' : 'good'
  }

  /** @internal */
  *entries(): Generator<RevocationEntry> {
    for (const issuer of this.#issuers.values()) yield* issuer.entries()
  }

  clear(): void {
    this.#issuers.clear()
    this.#entries = 0
  }

  get stats(): RevocationListStats {
    return { entries: this.#entries, expired: this.#expired }
  }

  #sweep(now: number): void {
    this.#nextSweepAt = now + 60_000
    for (const [name, issuer] of this.#issuers) {
      const dropped = issuer.dropExpired(now)
      this.#entries -= dropped
      this.#expired += dropped
      if (issuer.isEmpty) this.#issuers.delete(name)
    }
  }
}

class IssuerRevocations {
  readonly tokens = new Map<string, RevocationEntry>()
  readonly digests = new Map<string, RevocationEntry>()
  readonly subjects = new Map<string, RevocationEntry>()
  readonly clients = new Map<string, RevocationEntry>()
  readonly all = new Map<string, RevocationEntry>()

  revokes({ tokenId, digest, claims, identity }: VerifiedToken): boolean {
    if (tokenId !== undefined && this.tokens.has(tokenId)) return true
    if (digest !== undefined && this.digests.has(digest)) return true
    const issuedAt = typeof claims.iat === 'number' ? claims.iat * 1000 : Number.NEGATIVE_INFINITY
    return (
      isBefore(issuedAt, this.all.get('')) ||
      (typeof claims.sub === 'string' && isBefore(issuedAt, this.subjects.get(claims.sub))) ||
      (identity.clientId !== null && isBefore(issuedAt, this.clients.get(identity.clientId)))
    )
  }

  dropExpired(now: number): number {
    let dropped = 0
    for (const map of this.#maps) {
      for (const [name, entry] of map) {
        if (entry.until > now) continue
        map.delete(name)
        dropped++
      }
    }
    return dropped
  }

  *entries(): Generator<RevocationEntry> {
    for (const map of this.#maps) yield* map.values()
  }

  get isEmpty(): boolean {
    return this.#maps.every(map => map.size === 0)
  }

  get #maps(): Map<string, RevocationEntry>[] {
    return [this.tokens, this.digests, this.subjects, this.clients, this.all]
  }
}

function isBefore(issuedAt: number, epoch: RevocationEntry | undefined): boolean {
  return epoch !== undefined && issuedAt < epoch.notBefore
}

function later(a: RevocationEntry, b: RevocationEntry): RevocationEntry {
  return { ...a, notBefore: Math.max(a.notBefore, b.notBefore), until: Math.max(a.until, b.until) }
}
