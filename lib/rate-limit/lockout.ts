/** Shuts out who was refused too often. */
import { checkOption, shown, wrongOption } from '../options.ts'
import { checkCount, thousandfold } from './rate-limiter.ts'
import { SlidingWindow } from './window/sliding-window.ts'

const owner = 'rateLimit'
/** Of those that are refused, and of those that are shut out. */
const maxKeys = 100_000

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
    checkOption(typeof options === 'object' && options !== null, owner, 'block', 'an object', shown(options))
    const { after, forSeconds, withinSeconds = longestWindowSeconds ?? forSeconds } = options
    this.#after = checkCount(owner, 'block.after', after, 2_147_483_647)
    const lockedMs = checkedMs('block.forSeconds', forSeconds)
    const watchedMs = checkedMs('block.withinSeconds', withinSeconds)
    const common = { resolutionMs: 0, maxKeys }
    this.#violations = new SlidingWindow({ ...common, windowMs: watchedMs, largestLimit: after })
    this.#locked = new SlidingWindow({ ...common, windowMs: lockedMs, largestLimit: 1 })
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

function checkedMs(option: string, seconds: number): number {
  const ms = typeof seconds === 'number' ? thousandfold(seconds) : Number.NaN
  if (!(ms > 0 && ms < Infinity)) throw wrongOption(owner, option, 'a positive number', shown(seconds))
  return ms
}
