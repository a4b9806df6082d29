/** Revocations that many processes share: kept in Redis, asked in a local copy. */
import type { Cluster, Redis } from 'ioredis'
import { defaultReporter, type Reporter } from '../../../http/reporter.ts'
import { checkMs, checkOption, shown, wrongOption } from '../../../options.ts'
import type { VerifiedToken } from '../../token/verified-token.ts'
import { MemoryRevocationList } from '../memory-revocation-list.ts'
import {
  type RevocationEntry,
  type RevokedEpoch,
  type RevokedToken,
  revocationEntry
} from '../revocation-entry.ts'
import type { RevocationList, RevocationState } from '../revocation-list.ts'
import { RevocationFeed } from './revocation-feed.ts'

export interface RedisRevocationListOptions {
  /** An ioredis client or cluster. The list talks over two duplicates of it, which end with `close()`. */
  client: Redis | Cluster
  /** What all keys start with. Default `ostiary`; a `keyPrefix` of the client stands before it. */
  prefix?: string
  /**
   * What to say of a token that the local copy does not know when the copy may be out of date: `'closed'` is `unavailable`, a 503;
   * `'open'` takes the token for good. Tokens known to be revoked stay so. Default `'closed'`.
   */
  onOutage?: 'closed' | 'open'
  /** ms between questions whether the copy is complete. Default 1000. */
  pollMs?: number
  /** ms after the last proof that the copy is complete from which it may be out of date. Default 5000. */
  maxStaleMs?: number
  /** ms that Redis may take to answer. Default 1000. */
  timeoutMs?: number
  /** Default 100 000; with more than that live the copy is incomplete, and counts as out of date. */
  maxEntries?: number
  /** Seconds that an entry without an expiry of its own is kept: at least as long as any token lives. Default 30 days. */
  retentionSeconds?: number
  reporter?: Reporter
  /** Wall clock, ms. */
  clock?: () => number
}

export interface RedisRevocationListStats {
  entries: number
  /** Whether the local copy is known to be complete. */
  fresh: boolean
  /** Times the whole list was loaded. */
  loads: number
  /** Revocations that came by message. */
  received: number
  /** Questions to Redis that failed. */
  failures: number
}

/**
 * A revocation takes effect in this process at once, in the others with the message that Redis sends them, some ms later. A message
 * that was lost is noticed by the next poll. When Redis lost its data, the processes write back what they know.
 */
export class RedisRevocationList implements RevocationList {
  readonly #copy: MemoryRevocationList
  readonly #feed: RevocationFeed
  readonly #closedOnOutage: boolean
  readonly #retentionMs: number
  readonly #clock: () => number

  /** @throws TypeError when an option is not what it must be */
  constructor(options: RedisRevocationListOptions) {
    const {
      client,
      prefix = 'ostiary',
      onOutage = 'closed',
      retentionSeconds = 2_592_000,
      clock = Date.now
    } = options
    const { pollMs = 1_000, maxStaleMs = 5_000, timeoutMs = 1_000, reporter = defaultReporter } = options
    if (typeof client?.duplicate !== 'function') {
      throw wrongOption('RedisRevocationList', 'client', 'an ioredis client', client)
    }
    if (typeof prefix !== 'string' || prefix === '' || /[{}]/.test(prefix)) {
      throw wrongOption('RedisRevocationList', 'prefix', 'a non-empty string without braces', shown(prefix))
    }
    if (onOutage !== 'closed' && onOutage !== 'open') {
      throw wrongOption('RedisRevocationList', 'onOutage', "'closed' or 'open'", shown(onOutage))
    }
    for (const [name, value] of Object.entries({ pollMs, maxStaleMs, timeoutMs })) {
      checkMs('RedisRevocationList', name, value)
    }
    checkOption(maxStaleMs > pollMs, 'RedisRevocationList', 'maxStaleMs', 'more than pollMs', maxStaleMs)
    this.#copy = new MemoryRevocationList({
      retentionSeconds,
      clock,
      ...(options.maxEntries !== undefined && { maxEntries: options.maxEntries })
    })
    this.#retentionMs = retentionSeconds * 1000
    this.#clock = clock
    this.#closedOnOutage = onOutage === 'closed'
    this.#feed = new RevocationFeed({
      client,
      prefix,
      pollMs,
      maxStaleMs,
      timeoutMs,
      reporter,
      clock,
      copy: this.#copy
    })
  }

  check(token: VerifiedToken): RevocationState {
    if (this.#copy.check(token) === 'revoked') return 'revoked'
    return this.#feed.fresh || !this.#closedOnOutage ? 'good' : 'unavailable'
  }

  /**
   * In force in this process at once, and in the others once this resolves and Redis has told them.
   * @throws TypeError when it is not said what to revoke
   * @throws Error when Redis did not take it: it then holds in this process only, and should be tried again
   */
  async revoke(revoked: RevokedToken | RevokedEpoch): Promise<void> {
    const entry: RevocationEntry = revocationEntry(revoked, this.#clock(), this.#retentionMs)
    this.#copy.add(entry)
    await this.#feed.send(entry)
  }

  /** The local copy is complete. Waits for Redis as long as it takes. */
  ready(): Promise<void> {
    return this.#feed.ready
  }

  /** Ends both connections. Safe to call twice. */
  close(): void {
    this.#feed.close()
  }

  get stats(): RedisRevocationListStats {
    return { entries: this.#copy.stats.entries, ...this.#feed.stats }
  }
}
