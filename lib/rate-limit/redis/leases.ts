/** Units taken from Redis several at a time, to be used in this process without asking. */
import { randomBytes } from 'node:crypto'
import type { BlockedKeys } from './blocked-keys.ts'
import type { RedisRateLimitDecision, ServerAnswer } from './redis-decision.ts'
import type { RedisWindow, Settlement } from './redis-window.ts'

/*
 * Why no window of W ever holds more than the limit, over all processes:
 *
 *     taken           used            ends                    ends + W
 *     ──┼───────────────┼───────────────┼────────────────────────┼──> server's time
 *       |<──────────────── counted: all n units ────────────────>|        unless settled
 *       |<── counted: all n ──>| settled: k units, stamped with the last use or later, count for W from there
 *
 * A unit is used only between `taken` and `ends`, so either way it counts from before its use to a window after it; and
 * the server never counts more than the limit at any one time. Times of use are known here as "so long after the request
 * for the lease went out", which is no earlier than the server's answer says. This needs clocks of one speed, not of one
 * time.
 */

/** Usable until `endsAt`. */
export class Lease {
  /** The name that the server knows it by. */
  readonly name: string
  readonly endsAt: number
  /** Units that were free for all when this was taken. */
  readonly elsewhere: number
  /** ms: nothing of the key counts after this, as far as was known when this was taken. */
  readonly resetAt: number
  left: number
  /** µs on the server's clock, 0 until the server has told: what identifies the used units once the lease is settled. */
  settledStamp = 0
  /** ms: before the request for it went out. */
  readonly #askedAt: number
  readonly #takenUs: number
  #used = 0
  #lastUsedAt: number

  constructor(name: string, askedAt: number, leaseMs: number, now: number, answer: ServerAnswer) {
    this.name = name
    this.endsAt = askedAt + leaseMs
    this.elsewhere = answer.remaining
    this.resetAt = now + answer.resetMs
    this.left = answer.granted
    this.#askedAt = askedAt
    this.#takenUs = answer.stamp
    this.#lastUsedAt = askedAt
  }

  take(cost: number, now: number): void {
    this.left -= cost
    this.#used += cost
    if (now > this.#lastUsedAt) this.#lastUsedAt = now
  }

  giveBack(cost: number): void {
    this.left += cost
    this.#used -= cost
  }

  /** The last use counts as late as it may have been on the server's clock. */
  get settlement(): Settlement {
    const lastUsedUs = this.#takenUs + Math.ceil((this.#lastUsedAt - this.#askedAt) * 1_000)
    return { name: this.name, used: this.#used, lastUsedUs }
  }
}

/** A key that was asked for within the last `leaseMs`. */
class LeasedKey {
  lease: Lease | undefined
  /** The round trip under way for this key; it gives the refusal, if it is one. */
  asking: Promise<Refusal | undefined> | undefined
  /** Units wanted by those who wait for it. */
  demand = 0
  /** ms: when the server was last asked. */
  askedAt: number

  constructor(askedAt: number) {
    this.askedAt = askedAt
  }
}

interface Refusal {
  readonly cost: number
  readonly decision: RedisRateLimitDecision
}

/** What a request got, and the lease that it came from. */
export interface LeasedCharge {
  readonly decision: RedisRateLimitDecision
  readonly lease?: Lease
}

export interface LeasesOptions {
  window: RedisWindow
  blocked: BlockedKeys
  limit: number
  windowMs: number
  /** Units to take at a time. */
  units: number
  leaseMs: number
  timeoutMs: number
  maxKeys: number
  clock: () => number
}

/**
 * The leases of one process. A key's first request is counted by itself, a second one within `leaseMs` takes a lease, so
 * that keys seen once neither hold units back nor cost a second round trip. One round trip is under way for a key at a
 * time; it asks for what all who wait need.
 */
export class Leases {
  readonly #options: LeasesOptions
  readonly #holder = randomBytes(9).toString('base64url')
  /** Oldest request first. */
  readonly #keys = new Map<string, LeasedKey>()
  #taken = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: LeasesOptions) {
    this.#options = options
  }

  /** Leases taken since the start. */
  get taken(): number {
    return this.#taken
  }

  /** Units of this key that this process may still use. */
  left(identifier: string): number {
    const lease = this.#keys.get(identifier)?.lease
    return lease === undefined || this.#options.clock() >= lease.endsAt ? 0 : lease.left
  }

  /** Answers from a lease; undefined for a key that was not asked for lately, which is counted by itself. */
  async consume(identifier: string, cost: number): Promise<LeasedCharge | undefined> {
    const now = this.#options.clock()
    const key = this.#keys.get(identifier)
    if (key === undefined) {
      this.#noteFirst(identifier, now)
      return undefined
    }
    const charge = this.#use(key, cost, now)
    if (charge !== undefined) return charge
    key.demand += cost
    try {
      while (key.asking !== undefined) {
        const refusal = await key.asking
        // The answer that this request would have got, had it been sent in the other's place.
        if (refusal !== undefined && cost >= refusal.cost) return { decision: refusal.decision }
        const charge = this.#use(key, cost, this.#options.clock())
        if (charge !== undefined) return charge
      }
      const left = Math.max(1, now + this.#options.timeoutMs - this.#options.clock())
      key.asking = this.#ask(identifier, key, cost, left)
      const refusal = await key.asking
      return refusal ?? this.#use(key, cost, key.askedAt)!
    } finally {
      key.demand -= cost
    }
  }

  /** Gives units back: to their lease while it lasts, else to the server. */
  async refund(identifier: string, cost: number, lease: Lease): Promise<void> {
    if (this.#keys.get(identifier)?.lease === lease) lease.giveBack(cost)
    else if (lease.settledStamp > 0) await this.#options.window.refund(identifier, lease.settledStamp, cost)
  }

  /** Forgets a key's lease and gives its name. */
  drop(identifier: string): string {
    const key = this.#keys.get(identifier)
    const name = key?.lease?.name ?? ''
    if (key !== undefined) key.lease = undefined
    return name
  }

  /** Settles all leases. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const ending: Promise<void>[] = []
    for (const [identifier, key] of this.#keys) ending.push(this.#end(identifier, key))
    await Promise.all(ending)
  }

  #use(key: LeasedKey, cost: number, now: number): LeasedCharge | undefined {
    const lease = key.lease
    if (lease === undefined || lease.left < cost || now >= lease.endsAt) return undefined
    lease.take(cost, now)
    return { decision: this.#decisionOf(lease, now), lease }
  }

  async #ask(
    identifier: string,
    key: LeasedKey,
    cost: number,
    timeoutMs: number
  ): Promise<Refusal | undefined> {
    const { window, clock, leaseMs, blocked } = this.#options
    const askedAt = clock()
    const before = key.lease
    key.lease = undefined
    this.#touch(identifier, key, askedAt)
    const name = `${this.#holder}.${++this.#taken}`
    const request = {
      units: Math.max(this.#options.units, key.demand),
      leaseUs: Math.floor(leaseMs * 1_000),
      name,
      settle: before?.settlement
    }
    const late = (answer: ServerAnswer) => this.#giveBackLate(identifier, name, answer)
    try {
      const answer = await window.lease(identifier, cost, request, timeoutMs, late)
      if (before !== undefined) before.settledStamp = answer.settledStamp
      if (answer.allowed) {
        key.lease = new Lease(name, askedAt, leaseMs, clock(), answer)
        return undefined
      }
      blocked.learn(identifier, cost, askedAt, clock(), answer)
      return { cost, decision: refusalOf(answer, this.#options.limit) }
    } finally {
      key.asking = undefined
    }
  }

  /** A lease that was granted after its request was given up has no user. */
  #giveBackLate(identifier: string, name: string, answer: ServerAnswer): void {
    if (answer.granted > 0) this.#settle(identifier, { name, used: 0, lastUsedUs: answer.stamp })
  }

  #decisionOf(lease: Lease, now: number): RedisRateLimitDecision {
    return {
      allowed: true,
      limit: this.#options.limit,
      remaining: lease.elsewhere + lease.left,
      retryAfterMs: 0,
      resetMs: Math.max(lease.resetAt - now, this.#options.windowMs),
      decidedBy: 'lease'
    }
  }

  #noteFirst(identifier: string, now: number): void {
    // At the cap a key is not remembered: all its requests are first ones.
    if (this.#keys.size >= this.#options.maxKeys) return
    this.#keys.set(identifier, new LeasedKey(now))
    this.#timer ??= setTimeout(() => this.#sweep(), this.#options.leaseMs).unref()
  }

  #touch(identifier: string, key: LeasedKey, now: number): void {
    key.askedAt = now
    this.#keys.delete(identifier)
    this.#keys.set(identifier, key)
    this.#timer ??= setTimeout(() => this.#sweep(), this.#options.leaseMs).unref()
  }

  #sweep(): void {
    this.#timer = undefined
    const due = this.#options.clock() - this.#options.leaseMs
    for (const [identifier, key] of this.#keys) {
      if (key.askedAt > due) break
      if (key.asking === undefined) void this.#end(identifier, key)
    }
    if (this.#keys.size > 0) this.#timer = setTimeout(() => this.#sweep(), this.#options.leaseMs).unref()
  }

  async #end(identifier: string, key: LeasedKey): Promise<void> {
    const lease = key.lease
    this.#keys.delete(identifier)
    key.lease = undefined
    if (lease === undefined) return
    const answer = await this.#settle(identifier, lease.settlement)
    if (answer !== undefined) lease.settledStamp = answer.settledStamp
  }

  /** What cannot be settled counts until a window after its end; the store has reported why. */
  #settle(identifier: string, settlement: Settlement): Promise<ServerAnswer | undefined> {
    return this.#options.window.settle(identifier, settlement).catch(() => undefined)
  }
}

function refusalOf(answer: ServerAnswer, limit: number): RedisRateLimitDecision {
  return {
    allowed: false,
    limit,
    remaining: answer.remaining,
    retryAfterMs: answer.retryAfterMs,
    resetMs: answer.resetMs,
    decidedBy: 'redis'
  }
}
