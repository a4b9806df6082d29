/** An exact rate limiter in memory: no window ever admits more than the limit, nothing that fits is refused. */
import { performance } from 'node:perf_hooks'
import { shown, wrongOption } from '../options.ts'
import {
  areKeys,
  checkExported,
  checkState,
  isLeftOf,
  isStamps,
  keysOf,
  lastOf,
  passedSince,
  type RateLimiterState,
  stampsOf,
  stampsState
} from './limiter-state.ts'
import type { Limiter, RateLimitDecision, Reservation } from './rate-limit-decision.ts'
import { SlidingWindow, type SlidingWindowStats } from './window/sliding-window.ts'
import type { Charge } from './window/slot-windows.ts'

export type { RateLimiterState } from './limiter-state.ts'

const name = 'RateLimiter'

export interface RateLimiterOptions {
  /** Units that any window holds, 1 to 2 147 483 647. */
  maxRequests: number
  /** Length of the window, s; fractions of a second are fine. */
  windowSeconds: number
  /** Keys that are remembered at a time, up to 16 000 000. Default 100 000. At the cap, fresh keys share one window. */
  maxKeys?: number
  /**
   * Units taken within one tick of this many ms share a stamp: less memory, no unit freed early, none more than a tick
   * late. Default 0: exact.
   */
  resolutionMs?: number
  /** ms, monotonic. Default `performance.now`. */
  clock?: () => number
}

/**
 * Every method answers at once. A window is half open: what is admitted at t counts in (t − W, t], and is free again at
 * exactly t + W. Refusals leave no trace. Memory is bounded by `maxKeys` and what is live; a key with a live stamp is
 * never evicted.
 */
export class RateLimiter implements Limiter {
  readonly maxRequests: number
  readonly windowMs: number
  /** @internal */
  readonly window: SlidingWindow
  /** @internal */
  readonly ownClock: (() => number) | undefined
  readonly #clock: () => number
  readonly #maxKeys: number

  /** @throws TypeError when an option is not what it must be */
  constructor(options: RateLimiterOptions) {
    const { maxRequests, windowMs, resolutionMs, maxKeys } = checkWindow(name, options)
    this.maxRequests = maxRequests
    this.windowMs = windowMs
    this.window = new SlidingWindow({ largestLimit: maxRequests, windowMs, resolutionMs, maxKeys })
    this.#maxKeys = maxKeys
    this.ownClock = options.clock
    this.#clock = options.clock ?? monotonic
  }

  get stats(): SlidingWindowStats {
    return this.window.stats
  }

  /**
   * Counts `cost` units of `identifier` when they fit in the window that ends now.
   * @param cost a non-negative integer; 0 counts nothing, more than `maxRequests` can never pass
   * @param now ms, on the limiter's clock
   * @throws TypeError when an argument is not what it must be; nothing is counted then
   */
  consume(identifier: string, cost = 1, now: number = this.#clock()): RateLimitDecision {
    // Small enough, with what it calls, for the engine to put all of it into its callers.
    return cost !== 1 || typeof identifier !== 'string' || !Number.isFinite(now)
      ? this.#consumeChecked(identifier, cost, now)
      : this.window.consumeOne(identifier, this.maxRequests, now)
  }

  /** What `consume(identifier, cost, now)` would answer, without counting: `remaining` is what is left before it. */
  peek(identifier: string, cost = 1, now: number = this.#clock()): RateLimitDecision {
    checkKey(name, identifier, now)
    checkCost(name, cost)
    return this.window.peek(identifier, this.maxRequests, cost, now)
  }

  /** Counts one unit and says whether it fitted. */
  isAllowed(identifier: string): boolean {
    return this.consume(identifier).allowed
  }

  /** Units left, without counting. */
  getRemaining(identifier: string): number {
    return this.peek(identifier).remaining
  }

  /** Forgets what `identifier` has taken. */
  reset(identifier: string): void {
    checkKey(name, identifier, 0)
    this.window.reset(identifier)
  }

  /** Forgets all keys. */
  clearAll(): void {
    this.window.clear()
  }

  #consumeChecked(identifier: string, cost: number, now: number): RateLimitDecision {
    checkCost(name, cost)
    checkKey(name, identifier, now)
    return cost === 0
      ? this.window.peek(identifier, this.maxRequests, 0, now)
      : this.window.consume(identifier, this.maxRequests, cost, now)
  }

  /** What every key has taken, for the process that comes after this one. */
  export(now: number = this.#clock()): RateLimiterState {
    const keys: [string, [number, number][]][] = []
    for (const { key, stamps } of this.window.live(now)) keys.push([key, stampsState(stamps, now)])
    const overflow = this.window.overflow(now)
    return {
      version: 1,
      windowMs: this.windowMs,
      exportedAt: Date.now(),
      clockAt: this.ownClock === undefined ? null : now,
      keys,
      ...(overflow.stamps.length === 0
        ? {}
        : {
            overflow: {
              stamps: stampsState(overflow.stamps, now),
              keys: overflow.keys.map(([key, stamp]) => [key, stamp - now] as const)
            }
          })
    }
  }

  /**
   * Takes over what another limiter's `export` gave. Time that has passed since has passed for the keys too, by the wall
   * clock, or by the limiters' own if both were given one: that has to go on from one process to the next. A clock that
   * was set back gives nothing away. A smaller limit applies at once.
   * @throws TypeError when the state is none, is of another window, or has more keys than `maxKeys`
   * @throws Error when this limiter has keys already
   */
  import(state: RateLimiterState, now: number = this.#clock()): void {
    checkState(name, state, this.windowMs)
    checkOverflow(state)
    if (this.stats.keys > 0) throw new Error('RateLimiter: import comes before the first request')
    const passedMs = passedSince(state, this.ownClock !== undefined, now)
    const keys = keysOf(name, state, this.#maxKeys, this.maxRequests, passedMs, now)
    const { stamps = [], keys: overflowKeys = [] } = state.overflow ?? {}
    const shared = stampsOf(stamps, this.maxRequests, passedMs, now)
    const staying = overflowKeys.map(([key, leftMs]) => [key, now + (leftMs - passedMs)] as const)
    const older = shared.length > 0 ? keys.filter(([, own]) => lastOf(own) <= lastOf(shared)) : []
    for (const [key, own] of older) this.window.restore(key, own)
    if (shared.length > 0) this.window.restoreOverflow(shared, staying)
    for (const [key, own] of keys.slice(older.length)) this.window.restore(key, own)
  }

  /** `consume` with a way back: `refund()` takes out that very stamp. */
  reserve(identifier: string, cost = 1, now: number = this.#clock()): LocalReservation {
    const decision = this.consume(identifier, cost, now)
    const charge = decision.allowed && cost > 0 ? this.window.lastCharge(identifier, cost) : undefined
    return new LocalReservation(decision, this.window, charge)
  }
}

/** Units of a local limiter that can be given back, once. */
export class LocalReservation implements Reservation {
  readonly decision: RateLimitDecision
  readonly #window: SlidingWindow
  #charge: Charge | undefined

  constructor(decision: RateLimitDecision, window: SlidingWindow, charge: Charge | undefined) {
    this.decision = decision
    this.#window = window
    this.#charge = charge
  }

  refund(): void {
    const charge = this.#charge
    this.#charge = undefined
    if (charge !== undefined) this.#window.refund(charge)
  }
}

function monotonic(): number {
  return performance.now()
}

/** The numbers of a window, with defaults. `owner` begins the error texts. */
export function checkWindow(owner: string, options: Partial<RateLimiterOptions>): CheckedWindow {
  const { maxRequests, windowSeconds, maxKeys = 100_000, resolutionMs = 0, clock } = options ?? {}
  const windowMs = typeof windowSeconds === 'number' ? thousandfold(windowSeconds) : Number.NaN
  if (typeof windowSeconds !== 'number' || !Number.isFinite(windowMs) || windowMs <= 0) {
    throw wrongOption(owner, 'windowSeconds', 'a positive number', shown(windowSeconds))
  }
  if (typeof resolutionMs !== 'number' || !(resolutionMs >= 0 && resolutionMs <= windowMs)) {
    throw wrongOption(owner, 'resolutionMs', "a number from 0 to the window's length", shown(resolutionMs))
  }
  checkCallback(owner, 'clock', clock)
  return {
    ...options,
    maxRequests: checkCount(owner, 'maxRequests', maxRequests, 2_147_483_647),
    windowSeconds,
    windowMs,
    resolutionMs,
    maxKeys: checkCount(owner, 'maxKeys', maxKeys, 16_000_000)
  }
}

interface CheckedWindow extends RateLimiterOptions {
  windowMs: number
  resolutionMs: number
  maxKeys: number
}

/** 2.006 s are 2 006 ms, although floating point has it a little less; and so with the µs of a ms. */
export function thousandfold(value: number): number {
  const product = value * 1_000
  const whole = Math.round(product)
  return whole > 0 && Math.abs(product - whole) < 1e-6 ? whole : product
}

/** @throws TypeError when it is no integer from 1 to `most` */
export function checkCount(owner: string, option: string, value: unknown, most: number): number {
  const isNumber = typeof value === 'number'
  if (isNumber && Number.isInteger(value) && value >= 1 && value <= most) return value
  const bound = isNumber && value > most ? ` up to ${most}` : ''
  throw wrongOption(owner, option, `a positive integer${bound}`, shown(value))
}

/** @throws TypeError when a function that may be left out is there and none */
export function checkCallback(owner: string, option: string, value: unknown): void {
  if (value === undefined || typeof value === 'function') return
  throw wrongOption(owner, option, 'a function', shown(value))
}

export function checkCost(owner: string, cost: unknown): void {
  if (Number.isSafeInteger(cost) && (cost as number) >= 0) return
  throw wrongOption(owner, 'cost', 'a non-negative integer', shown(cost))
}

/** An identifier that is no string would be one shared key; a time that is none would admit all. */
export function checkKey(owner: string, identifier: unknown, now: unknown): void {
  if (typeof identifier !== 'string') {
    throw wrongOption(owner, 'identifier', 'a string', shown(identifier))
  }
  if (!Number.isFinite(now)) throw wrongOption(owner, 'now', 'a finite number', shown(now))
}

function checkOverflow({ overflow, windowMs }: RateLimiterState): void {
  if (overflow === undefined) return
  const { stamps, keys } = overflow ?? {}
  const isLeft = (leftMs: unknown): boolean => isLeftOf(leftMs, windowMs)
  checkExported(name, isStamps(stamps, windowMs) && areKeys(keys, isLeft))
}
