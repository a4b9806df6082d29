/** Revocations of this process. */
import type { RevocationList, RevocationState } from './revocation-list.ts'
import type { VerifiedToken } from './verified-token.ts'

/** One token, by `jti`, or by `signingInputDigest` where it has none. */
export interface RevokedToken {
  issuer: string
  tokenId?: string
  digest?: string
  /** The token's `exp`, seconds since the epoch: the entry is kept so long. Default: as long as `retentionSeconds` says. */
  expiresAt?: number
}

/** Every token of an issuer, or of one subject or client of it, that was issued before an instant. */
export interface RevokedEpoch {
  issuer: string
  subject?: string
  clientId?: string
  /** Neither subject nor client: all tokens of the issuer. */
  everything?: true
  /** Tokens with an older `iat` are revoked, and those without any. Default: now. */
  notBefore?: Date
}

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
    if (!Number.isInteger(maxEntries) || maxEntries < 1) {
      throw new TypeError(`MemoryRevocationList: maxEntries must be a positive integer, got ${maxEntries}`)
    }
    if (!(retentionSeconds > 0 && Number.isFinite(retentionSeconds))) {
      throw new TypeError(
        `MemoryRevocationList: retentionSeconds must be a positive number, got ${retentionSeconds}`
      )
    }
    this.#maxEntries = maxEntries
    this.#retentionMs = retentionSeconds * 1000
    this.#clock = clock
  }

  /**
   * @throws TypeError when it is not said what to revoke
   * @throws RevocationListFullError when there is no room
   */
  revoke(revoked: RevokedToken | RevokedEpoch): void {
    const now = this.#clock()
    const entry = entryOf(revoked, now, this.#retentionMs)
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

interface Entry {
  readonly issuer: string
  readonly kind: 'tokens' | 'digests' | 'subjects' | 'clients' | 'all'
  readonly name: string
  /** ms since the epoch; tokens issued before are revoked. */
  readonly notBefore: number
  /** ms since the epoch. */
  readonly until: number
}

class IssuerRevocations {
  readonly tokens = new Map<string, Entry>()
  readonly digests = new Map<string, Entry>()
  readonly subjects = new Map<string, Entry>()
  readonly clients = new Map<string, Entry>()
  readonly all = new Map<string, Entry>()

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

  get isEmpty(): boolean {
    return this.#maps.every(map => map.size === 0)
  }

  get #maps(): Map<string, Entry>[] {
    return [this.tokens, this.digests, this.subjects, this.clients, this.all]
  }
}

function isBefore(issuedAt: number, epoch: Entry | undefined): boolean {
  return epoch !== undefined && issuedAt < epoch.notBefore
}

function later(a: Entry, b: Entry): Entry {
  return { ...a, notBefore: Math.max(a.notBefore, b.notBefore), until: Math.max(a.until, b.until) }
}

function entryOf(revoked: RevokedToken | RevokedEpoch, now: number, retentionMs: number): Entry {
  const { issuer } = revoked
  if (!isName(issuer)) throw new TypeError(`revoke: issuer must be a non-empty string, got ${String(issuer)}`)
  return isToken(revoked) ? tokenEntry(revoked, now, retentionMs) : epochEntry(revoked, now, retentionMs)
}

function isToken(revoked: RevokedToken | RevokedEpoch): revoked is RevokedToken {
  return 'tokenId' in revoked || 'digest' in revoked
}

function tokenEntry(
  { issuer, tokenId, digest, expiresAt }: RevokedToken,
  now: number,
  retentionMs: number
): Entry {
  if (isName(tokenId) === isName(digest)) {
    throw new TypeError('revoke: a token is named by tokenId or by digest, one of them')
  }
  if (expiresAt !== undefined && !Number.isFinite(expiresAt)) {
    throw new TypeError(`revoke: expiresAt must be seconds since the epoch, got ${expiresAt}`)
  }
  // A minute on top: clocks differ, and verifiers tolerate that.
  const until = expiresAt === undefined ? now + retentionMs : expiresAt * 1000 + 60_000
  const kind = tokenId === undefined ? 'digests' : 'tokens'
  return { issuer, kind, name: (tokenId ?? digest) as string, notBefore: Number.POSITIVE_INFINITY, until }
}

function epochEntry(revoked: RevokedEpoch, now: number, retentionMs: number): Entry {
  const { issuer, subject, clientId, everything, notBefore } = revoked
  // A forgotten value must not turn into "everybody".
  if (Number(isName(subject)) + Number(isName(clientId)) + Number(everything === true) !== 1) {
    throw new TypeError('revoke: needs one of tokenId, digest, subject, clientId, everything')
  }
  const before = notBefore === undefined ? now : notBefore.getTime()
  if (!Number.isFinite(before)) throw new TypeError('revoke: notBefore must be a valid date')
  const kind = isName(subject) ? 'subjects' : isName(clientId) ? 'clients' : 'all'
  const until = Math.max(before, now) + retentionMs
  return { issuer, kind, name: subject ?? clientId ?? '', notBefore: before, until }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
