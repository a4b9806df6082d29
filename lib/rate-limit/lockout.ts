/** Shuts out who was refused too often. */
import { checkWindow } from './rate-limiter.ts'
import { SlidingWindow } from './window/sliding-window.ts'

export interface LockoutOptions {
  /** Refusals of one key, within `withinSeconds`, that shut it out. */
  after: number
  /** How long it is shut out, s. What it tries meanwhile does not make it longer. */
  forSeconds: number
  /** Default: the longest window of the limits, or `forSeconds` when they depend on the caller. */
  withinSeconds?: number
}

/**
 * Both what was refused and who is shut out are sliding windows: bounded in keys, exact in time, without timers. A key that
 * found no room of its own is not shut out for what other keys did.
 */
export class Lockout {
  readonly #after: number
  readonly #violations: SlidingWindow
  readonly #locked: SlidingWindow

  /** @throws TypeError when an option is not what it must be */
  constructor(options: LockoutOptions, longestWindowSeconds: number | undefined) {
    const { after, forSeconds, withinSeconds = longestWindowSeconds ?? forSeconds } = options
    const lock = checkWindow('rateLimit: block', { maxRequests: 1, windowSeconds: forSeconds })
    const watch = checkWindow('rateLimit: block', { maxRequests: after, windowSeconds: withinSeconds })
    this.#after = after
    this.#violations = new SlidingWindow({ ...watch, largestLimit: after })
    this.#locked = new SlidingWindow({ ...lock, largestLimit: 1 })
  }

  /** ms until the key is let in again; 0 when it is not shut out. */
  remainingMs(key: string, now: number): number {
    return Math.max(0, this.#locked.lastStamp(key) - now)
  }

  /** Counts a refusal. What `remainingMs` says from now on. */
  violate(key: string, now: number): number {
    const { remaining } = this.#violations.consume(key, this.#after, 1, now)
    if (remaining > 0 || !this.#violations.owns(key)) return 0
    this.#violations.reset(key)
    this.#locked.consume(key, 1, 1, now)
    return this.remainingMs(key, now)
  }
}
