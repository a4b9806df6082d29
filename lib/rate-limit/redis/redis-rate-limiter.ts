/** An exact rate limiter for many processes: the windows are kept in Redis, one round trip a decision or fewer. */
import { defaultReporter } from '../../http/reporter.ts'
import { type Limiter, LimiterUnavailableError, type Reservation } from '../rate-limit-decision.ts'
import { RateLimiter } from '../rate-limiter.ts'
import { BlockedKeys } from './blocked-keys.ts'
import { type Lease, Leases } from './leases.ts'
import type { RedisRateLimitDecision, ServerAnswer } from './redis-decision.ts'
import {
  checkCost,
  checkIdentifier,
  type RedisRateLimiterOptions,
  settingsOf
} from './redis-rate-limiter-options.ts'
import { RedisStore, type RedisStoreStats } from './redis-store.ts'
import { RedisWindow } from './redis-window.ts'
import { WindowKeys } from './window-keys.ts'

export interface RedisRateLimiterStats extends RedisStoreStats {
  /** Refusals made without asking, because the key was known to be blocked. */
  readonly refusedLocally: number
  /** Leases asked for. */
  readonly leases: number
  /** Decisions that `onOutage` made, refusals of service included. */
  readonly outages: number
}

/** What a request got, and where that can be given back. */
interface Charge {
  readonly decision: RedisRateLimitDecision
  /** µs of the server's clock. */
  readonly stamp?: number
  readonly lease?: Lease
  readonly local?: Reservation
}

/** Keys whose end of block is remembered. */
const blockedKeys = 10_000

/**
 * The interface of `RateLimiter`, with promises. Exact over all processes: no window of Redis's clock ever holds more
 * than the limit, nothing that fits is refused. Refusals leave no trace; dead keys vanish by themselves.
 *
 * With `lease` it still never admits too many; the price is an early refusal. What one process has leased and not used is
 * not there for another until it is given back: when the lease ends (`leaseMs`), or `leaseMs` and a window after it was
 * taken when the process died.
 *
 * A key that Redis has refused is refused here until the block ends; `reset` and `refund` in another process are seen
 * then. Redis must not evict keys (`maxmemory-policy noeviction` or a volatile policy with room), and what a failover
 * loses is lost.
 */
export class RedisRateLimiter implements Limiter {
  readonly maxRequests: number
  readonly windowMs: number
  readonly #store: RedisStore
  /** @internal */
  readonly window: RedisWindow
  readonly #client: RedisRateLimiterOptions['client']
  readonly #blocked: BlockedKeys
  readonly #leases: Leases | undefined
  readonly #onOutage: 'closed' | 'open' | 'local'
  readonly #local: RateLimiter
  readonly #clock: () => number
  #outages = 0

  /** @throws TypeError when an option is not what it must be */
  constructor(options: RedisRateLimiterOptions) {
    const settings = settingsOf(options)
    const { maxRequests, windowMs, timeoutMs, retryMs, maxKeys, clock } = settings
    const keys = new WindowKeys(settings.prefix)
    const reporter = options.reporter ?? defaultReporter
    this.maxRequests = maxRequests
    this.windowMs = windowMs
    this.#clock = clock
    this.#client = options.client
    this.#onOutage = settings.onOutage
    this.#local = new RateLimiter({ maxRequests, windowSeconds: options.windowSeconds, maxKeys, clock })
    this.#store = new RedisStore({ client: options.client, timeoutMs, retryMs, reporter, clock })
    this.window = new RedisWindow(this.#store, keys, windowMs, maxRequests, settings.resolutionMs)
    this.#blocked = new BlockedKeys(maxRequests, blockedKeys)
    if (settings.lease > 1) {
      this.#leases = new Leases({
        window: this.window,
        blocked: this.#blocked,
        limit: maxRequests,
        windowMs,
        units: settings.lease,
        leaseMs: settings.leaseMs,
        timeoutMs,
        maxKeys,
        clock
      })
    }
  }

  get stats(): RedisRateLimiterStats {
    return {
      ...this.#store.stats,
      refusedLocally: this.#blocked.refusals,
      leases: this.#leases?.taken ?? 0,
      outages: this.#outages
    }
  }

  /**
   * Counts `cost` units of `identifier` when they fit in the window that ends now, by Redis's clock.
   * @param cost a non-negative integer; 0 counts nothing, more than `maxRequests` can never pass
   * @throws TypeError when an argument is not what it must be; nothing is sent then
   * @throws LimiterUnavailableError when Redis does not answer in time and `onOutage` is `'closed'`
   */
  async consume(identifier: string, cost = 1): Promise<RedisRateLimitDecision> {
    return (await this.#charge(identifier, cost)).decision
  }

  /** What `consume(identifier, cost)` would answer, without counting: `remaining` is what is left before it. */
  async peek(identifier: string, cost = 1): Promise<RedisRateLimitDecision> {
    checkIdentifier(identifier)
    checkCost(cost)
    try {
      const answer = await this.window.consume(identifier, cost, true)
      const left = this.#leases?.left(identifier) ?? 0
      const decision = this.#decisionOf(answer, left)
      return left >= cost && !decision.allowed ? { ...decision, allowed: true, retryAfterMs: 0 } : decision
    } catch (error) {
      return this.#withoutRedis(error, () => this.#local.peek(identifier, cost))
    }
  }

  /** Counts one unit and says whether it fitted. */
  async isAllowed(identifier: string): Promise<boolean> {
    return (await this.consume(identifier)).allowed
  }

  /** Units left, without counting. */
  async getRemaining(identifier: string): Promise<number> {
    return (await this.peek(identifier)).remaining
  }

  /**
   * Forgets what `identifier` has taken. Units that other processes have leased still count: they may yet be used.
   * @throws LimiterUnavailableError when Redis does not answer in time
   */
  async reset(identifier: string): Promise<void> {
    checkIdentifier(identifier)
    this.#local.reset(identifier)
    await this.window.reset(identifier, this.#leases?.drop(identifier) ?? '')
    this.#blocked.forget(identifier)
  }

  /**
   * Forgets all keys of this limiter, for all processes, by a scan over the database.
   * @throws LimiterUnavailableError when Redis does not answer in time
   */
  async clearAll(): Promise<void> {
    this.#local.clearAll()
    await this.#leases?.close()
    await this.window.clear()
    this.#blocked.clear()
  }

  /** `consume` with a way back: `refund()` takes out that very stamp. Units of a lease go back to the lease. */
  async reserve(identifier: string, cost = 1): Promise<RedisReservation> {
    return this.#reservation(identifier, cost, await this.#charge(identifier, cost))
  }

  /**
   * `reserve` with other limiters, all or none, in one round trip: each charges its own identifier.
   * @returns undefined when one script cannot do it: a limiter of another client or kind, with leases or another
   *   `onOutage`, twice the same window, or on a cluster identifiers that differ
   */
  reserveWith(
    others: readonly Limiter[],
    identifiers: readonly string[],
    cost: number
  ): Promise<RedisReservation[]> | undefined {
    const limiters: RedisRateLimiter[] = [this]
    for (const other of others) {
      if (!(other instanceof RedisRateLimiter) || !this.#goesWith(other)) return undefined
      limiters.push(other)
    }
    const isCluster = 'nodes' in this.#client
    if (isCluster && identifiers.some(identifier => identifier !== identifiers[0])) return undefined
    identifiers.forEach(checkIdentifier)
    checkCost(cost)
    const keys = limiters.map(({ window }, i) => window.keyOf(identifiers[i]))
    return new Set(keys).size < keys.length ? undefined : this.#reserveAll(limiters, identifiers, cost)
  }

  /** Settles the leases and ends the limiter's connection. The client that was given stays as it is. */
  async close(): Promise<void> {
    await this.#leases?.close()
    await this.#store.close()
  }

  async #charge(identifier: string, cost: number): Promise<Charge> {
    checkIdentifier(identifier)
    checkCost(cost)
    const refusal = this.#blocked.refusal(identifier, cost, this.#clock())
    if (refusal !== undefined) return { decision: refusal }
    try {
      if (this.#leases !== undefined && cost > 0 && cost <= this.maxRequests) {
        const charge = await this.#leases.consume(identifier, cost)
        if (charge !== undefined) return charge
      }
      return await this.#consumeAlone(identifier, cost)
    } catch (error) {
      return this.#chargeInOutage(identifier, cost, error)
    }
  }

  #chargeInOutage(identifier: string, cost: number, error: unknown): Charge {
    if (this.#onOutage !== 'local') return { decision: this.#withoutRedis(error) }
    const local = this.#local.reserve(identifier, cost)
    return { decision: this.#withoutRedis(error, () => local.decision), local }
  }

  async #consumeAlone(identifier: string, cost: number): Promise<Charge> {
    const askedAt = this.#clock()
    const answer = await this.window.consume(identifier, cost, false)
    this.#blocked.learn(identifier, cost, askedAt, this.#clock(), answer)
    return { decision: this.#decisionOf(answer, 0), stamp: answer.stamp }
  }

  #goesWith(other: RedisRateLimiter): boolean {
    return (
      other.#client === this.#client &&
      other.#onOutage === this.#onOutage &&
      other.#leases === undefined &&
      this.#leases === undefined
    )
  }

  async #reserveAll(
    limiters: readonly RedisRateLimiter[],
    identifiers: readonly string[],
    cost: number
  ): Promise<RedisReservation[]> {
    const askedAt = this.#clock()
    let answers: ServerAnswer[]
    try {
      answers = await RedisWindow.consumeAll(
        limiters.map(({ window }) => window),
        identifiers,
        cost
      )
    } catch (error) {
      return limiters.map((limiter, i) => limiter.#reserveInOutage(identifiers[i], cost, error))
    }
    const isTaken = cost > 0 && answers.every(({ allowed }) => allowed)
    return limiters.map((limiter, i) => {
      const answer = answers[i]
      limiter.#blocked.learn(identifiers[i], cost, askedAt, this.#clock(), answer)
      const charge = { decision: limiter.#decisionOf(answer, 0), stamp: answer.stamp }
      return limiter.#reservation(identifiers[i], isTaken ? cost : 0, charge)
    })
  }

  #reserveInOutage(identifier: string, cost: number, error: unknown): RedisReservation {
    return this.#reservation(identifier, cost, this.#chargeInOutage(identifier, cost, error))
  }

  #reservation(identifier: string, cost: number, charge: Charge): RedisReservation {
    const isTaken = charge.decision.allowed && cost > 0
    return new RedisReservation(
      charge.decision,
      isTaken ? () => this.#refund(identifier, cost, charge) : undefined
    )
  }

  async #refund(identifier: string, cost: number, charge: Charge): Promise<void> {
    this.#blocked.forget(identifier)
    if (charge.local !== undefined) await charge.local.refund()
    else if (charge.lease !== undefined) await this.#leases!.refund(identifier, cost, charge.lease)
    else if (charge.stamp !== undefined) await this.window.refund(identifier, charge.stamp, cost)
  }

  #decisionOf(answer: ServerAnswer, left: number): RedisRateLimitDecision {
    return {
      allowed: answer.allowed,
      limit: this.maxRequests,
      remaining: answer.remaining + left,
      retryAfterMs: answer.retryAfterMs,
      resetMs: answer.resetMs,
      decidedBy: 'redis'
    }
  }

  /** What an outage decides; other errors are not the store's. */
  #withoutRedis(
    error: unknown,
    local?: () => Omit<RedisRateLimitDecision, 'decidedBy'>
  ): RedisRateLimitDecision {
    if (!(error instanceof LimiterUnavailableError)) throw error
    this.#outages++
    if (this.#onOutage === 'closed') throw error
    if (this.#onOutage === 'local' && local !== undefined) return { ...local(), decidedBy: 'outage' }
    return {
      allowed: true,
      limit: this.maxRequests,
      remaining: this.maxRequests,
      retryAfterMs: 0,
      resetMs: 0,
      decidedBy: 'outage',
      uncounted: true
    }
  }
}

/** Units counted on Redis that can be given back, once. */
export class RedisReservation implements Reservation {
  readonly decision: RedisRateLimitDecision
  #giveBack: (() => Promise<void>) | undefined

  constructor(decision: RedisRateLimitDecision, giveBack: (() => Promise<void>) | undefined) {
    this.decision = decision
    this.#giveBack = giveBack
  }

  /** @throws LimiterUnavailableError when Redis does not answer in time; the units then count on. */
  async refund(): Promise<void> {
    const giveBack = this.#giveBack
    this.#giveBack = undefined
    await giveBack?.()
  }
}
