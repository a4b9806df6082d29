/** Middleware in front of authentication that slows down who guesses. */
import type { Exchange } from '../http/exchange.ts'
import { type Stage, type StageMiddleware, stageMiddleware } from '../http/pipeline.ts'
import { clientKey, identified } from './client-key.ts'
import type { Identify } from './limit-windows.ts'
import { PolicyFields } from './rate-limit-headers.ts'
import { type LocalReservation, RateLimiter, type RateLimiterOptions, shown } from './rate-limiter.ts'
import { refuseTooMany } from './too-many-requests.ts'

export interface FailedAttemptLimitOptions extends RateLimiterOptions {
  /** Who attempts. Default: the client's address, the only thing that is known before authentication. */
  identifier?: Identify
}

export interface FailedAttemptLimit extends StageMiddleware {
  readonly stage: FailedAttemptStage
  /** To stand right behind authentication: gives the attempt back at once, not only when the response begins. */
  readonly passed: StageMiddleware
}

export interface FailedAttemptStats {
  readonly failed: number
  readonly refused: number
}

/**
 * Limits failed attempts, those that are answered with 401. Every attempt takes a unit before it is tried and gets it
 * back when it was none, so that of any number of guesses at the same time no more than `maxRequests` are tried.
 *
 * @throws TypeError when an option is not what it must be
 */
export function failedAttemptLimit(options: FailedAttemptLimitOptions): FailedAttemptLimit {
  const stage = new FailedAttemptStage(options)
  const passed = stageMiddleware({
    name: stage.name,
    enter(exchange) {
      if (exchange.user !== undefined) stage.giveBack(exchange)
      return true
    }
  })
  return Object.assign(stageMiddleware(stage) as FailedAttemptLimit, { passed })
}

export class FailedAttemptStage implements Stage {
  readonly name = 'failedAttemptLimit'
  readonly #limiter: RateLimiter
  readonly #fields: PolicyFields
  readonly #ownClock: boolean
  readonly #identify: Identify | undefined
  readonly #pending = new Map<Exchange, LocalReservation>()
  #failed = 0
  #refused = 0

  constructor(options: FailedAttemptLimitOptions) {
    if (options.identifier !== undefined && typeof options.identifier !== 'function') {
      throw new TypeError(
        `failedAttemptLimit: identifier must be a function, got ${shown(options.identifier)}`
      )
    }
    this.#limiter = new RateLimiter(options)
    this.#fields = new PolicyFields('failed-attempts', this.#limiter.maxRequests, this.#limiter.windowMs)
    this.#ownClock = options.clock !== undefined
    this.#identify = options.identifier
  }

  get stats(): FailedAttemptStats {
    return { failed: this.#failed, refused: this.#refused }
  }

  enter(exchange: Exchange): boolean {
    const key =
      this.#identify === undefined
        ? clientKey(exchange, this.name)
        : identified(this.#identify, exchange, this.name)
    if (key === undefined) return false
    const reservation = this.#ownClock
      ? this.#limiter.reserve(key)
      : this.#limiter.reserve(key, 1, exchange.startedAt)
    const { decision } = reservation
    if (decision.allowed) {
      this.#pending.set(exchange, reservation)
      exchange.onHead(this.#atHead)
      exchange.onEnd(this.#atEnd)
      return true
    }
    this.#refused++
    const { maxRequests, windowMs } = this.#limiter
    const window = { fields: this.#fields, maxRequests, windowMs, identifier: undefined }
    return refuseTooMany(exchange, this.name, {
      policies: [this.#fields.name],
      decision,
      window,
      lockedOut: false
    })
  }

  giveBack(exchange: Exchange): void {
    this.#pending.get(exchange)?.refund()
    this.#pending.delete(exchange)
  }

  /** A stream that goes on for hours need not hold its unit. */
  readonly #atHead = (exchange: Exchange): void => {
    if (exchange.user !== undefined) this.giveBack(exchange)
  }

  /** Who hangs up before the answer has been told nothing, but had the attempt tried: that counts. */
  readonly #atEnd = (exchange: Exchange): void => {
    if (!this.#pending.has(exchange)) return
    const succeeded = exchange.user !== undefined || (exchange.headAt > 0 && exchange.statusCode !== 401)
    if (succeeded) this.giveBack(exchange)
    else this.#failed++
    this.#pending.delete(exchange)
  }
}
