/** The windows of one limiter as they stand in Redis: every method is one script call. */
import { thousandfold } from '../rate-limiter.ts'
import { answerOf, type ServerAnswer } from './redis-decision.ts'
import type { RedisStore } from './redis-store.ts'
import type { WindowKeys } from './window-keys.ts'
import { consumeScript, refundScript, resetScript, togetherScript } from './window-script.ts'

/** In the answer to several windows at once. */
const numbersEach = 6

/** A lease to take, and the one before it to settle. */
export interface LeaseRequest {
  readonly units: number
  readonly leaseUs: number
  readonly name: string
  readonly settle: Settlement | undefined
}

/** What became of a lease. */
export interface Settlement {
  readonly name: string
  readonly used: number
  /** µs on the server's clock. */
  readonly lastUsedUs: number
}

export class RedisWindow {
  readonly #store: RedisStore
  readonly #keys: WindowKeys
  /** Window µs, limit, tick µs: what every script is told first. */
  readonly #shape: readonly [number, number, number]

  constructor(store: RedisStore, keys: WindowKeys, windowMs: number, limit: number, resolutionMs: number) {
    this.#store = store
    this.#keys = keys
    // Up, not down: a window may be a fraction of a µs too long, never too short.
    this.#shape = [Math.ceil(thousandfold(windowMs)), limit, Math.ceil(thousandfold(resolutionMs))]
  }

  async consume(identifier: string, cost: number, look: boolean): Promise<ServerAnswer> {
    const args = [...this.#shape, cost, look ? 1 : 0]
    return answerOf(await this.#store.run(consumeScript, this.#keys.of(identifier), args))
  }

  /** Takes the units of several windows on one server, all or none. */
  static async consumeAll(
    windows: readonly RedisWindow[],
    identifiers: readonly string[],
    cost: number
  ): Promise<ServerAnswer[]> {
    const keys = windows.flatMap((window, i) => window.#keys.of(identifiers[i]))
    const shapes = windows.flatMap(window => window.#shape)
    const reply = await windows[0].#store.run(togetherScript, keys, [cost, ...shapes])
    return windows.map((_, i) => answerOf(reply.slice(numbersEach * i, numbersEach * (i + 1))))
  }

  /** Where its units are: two windows with one key are one. */
  keyOf(identifier: string): string {
    return this.#keys.of(identifier)[0]
  }

  /** Takes a lease of up to `request.units` units, if `cost` of them are there. */
  async lease(
    identifier: string,
    cost: number,
    request: LeaseRequest,
    timeoutMs: number,
    late: (answer: ServerAnswer) => void
  ): Promise<ServerAnswer> {
    const { units, leaseUs, name, settle } = request
    const args = [...this.#shape, cost, 0, units, leaseUs, name]
    if (settle !== undefined) args.push(settle.name, settle.used, settle.lastUsedUs)
    const keys = this.#keys.of(identifier)
    return answerOf(
      await this.#store.run(consumeScript, keys, args, timeoutMs, reply => late(answerOf(reply)))
    )
  }

  /** Tells the server what of a lease was used; the rest is free again. */
  async settle(identifier: string, { name, used, lastUsedUs }: Settlement): Promise<ServerAnswer> {
    const args = [...this.#shape, 0, 0, 0, 0, '', name, used, lastUsedUs]
    return answerOf(await this.#store.run(consumeScript, this.#keys.of(identifier), args))
  }

  async refund(identifier: string, stamp: number, units: number): Promise<void> {
    await this.#store.run(refundScript, this.#keys.of(identifier), [...this.#shape, stamp, units])
  }

  /** @param ownLease the name of a lease that is dropped too */
  async reset(identifier: string, ownLease: string): Promise<void> {
    await this.#store.run(resetScript, this.#keys.of(identifier), [...this.#shape, ownLease])
  }

  async clear(): Promise<void> {
    for await (const keys of this.#store.scan(this.#keys.windowPrefix)) {
      await Promise.all(
        keys.map(key => this.#store.run(resetScript, [key, this.#keys.leasesOf(key)], [...this.#shape, '']))
      )
    }
  }
}
