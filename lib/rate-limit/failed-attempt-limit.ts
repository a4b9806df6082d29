/** Middleware in front of authentication that slows down who guesses. */
import type { Exchange } from '../http/exchange.ts'
import { type Stage, type StageMiddleware, stageMiddleware } from '../http/pipeline.ts'
import { clientKey, identified } from './client-key.ts'
import type { Identify } from './limit-windows.ts'
import type { RateLimitDecision } from './rate-limit-decision.ts'
import { PolicyFields } from './rate-limit-headers.ts'
import {
  checkCallback,
  checkWindow,
  type LocalReservation,
  RateLimiter,
  type RateLimiterOptions
} from './rate-limiter.ts'
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
  /** Now. */
  readonly waiting: number
}

/**
 * Limits failed attempts, those that are answered with 401. Every attempt takes a unit before it is tried and gets it
 * back when it did not fail, so that of any number of guesses at the same time no more than `maxRequests` are tried. While
 * the units are only taken by attempts that are still being tried, others wait for how these turn out: who is right is not
 * refused for being quick.
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

/** Attempts that may wait; more are refused. */
const mostWaiting = 1_000

/** An attempt that is being tried, or waits for others of its key. */
interface Attempt {
  readonly exchange: Exchange
  readonly key: string
  /** There while it is tried. */
  reservation: LocalReservation | undefined
  /** There while it waits. */
  go: ((passed: boolean) => void) | undefined
}

/** The attempts of one key that are not decided. */
interface Undecided {
  tried: number
  /** In order of arrival. */
  readonly waiting: Set<Attempt>
}

export class FailedAttemptStage implements Stage {
  readonly name = 'failedAttemptLimit'
  readonly #limiter: RateLimiter
  readonly #fields: PolicyFields
  readonly #ownClock: boolean
  readonly #identify: Identify | undefined
  readonly #attempts = new Map<Exchange, Attempt>()
  readonly #undecided = new Map<string, Undecided>()
  #waiting = 0
  #failed = 0
  #refused = 0

  constructor(options: FailedAttemptLimitOptions) {
    checkCallback(this.name, 'identifier', options.identifier)
    this.#limiter = new RateLimiter(checkWindow(this.name, options))
    const { maxRequests, windowMs } = this.#limiter
    this.#fields = new PolicyFields('failed-attempts', maxRequests, windowMs, this.name)
    this.#ownClock = options.clock !== undefined
    this.#identify = options.identifier
  }

  get stats(): FailedAttemptStats {
    return { failed: this.#failed, refused: this.#refused, waiting: this.#waiting }
  }

  enter(exchange: Exchange): boolean | Promise<boolean> {
    const key =
      this.#identify === undefined
        ? clientKey(exchange, this.name)
        : identified(this.#identify, exchange, this.name)
    if (key === undefined) return false
    const attempt: Attempt = { exchange, key, reservation: undefined, go: undefined }
    const decision = this.#try(attempt, this.#ownClock ? undefined : exchange.startedAt)
    if (!decision.allowed && (!this.#undecided.has(key) || this.#waiting === mostWaiting)) {
      return this.#refuse(exchange, decision)
    }
    this.#attempts.set(exchange, attempt)
    exchange.onHead(this.#atHead)
    if (decision.allowed) {
      exchange.onEnd(this.#atEnd)
      return true
    }
    return new Promise(resolve => {
      attempt.go = resolve
      this.#waiting++
      this.#undecided.get(key)?.waiting.add(attempt)
      exchange.onEnd(this.#atEnd)
    })
  }

  /** The attempt did not fail. */
  giveBack(exchange: Exchange): void {
    const attempt = this.#attempts.get(exchange)
    if (attempt?.reservation === undefined) return
    attempt.reservation.refund()
    this.#decided(attempt)
  }

  #try(attempt: Attempt, now: number | undefined): RateLimitDecision {
    const reservation = this.#limiter.reserve(attempt.key, 1, now)
    if (reservation.decision.allowed) {
      attempt.reservation = reservation
      const undecided = this.#undecided.get(attempt.key)
      if (undecided === undefined) this.#undecided.set(attempt.key, { tried: 1, waiting: new Set() })
      else undecided.tried++
    }
    return reservation.decision
  }

  /** An attempt is over: who waits for it is tried, or refused when there is nothing more to wait for. */
  #decided(attempt: Attempt): void {
    this.#attempts.delete(attempt.exchange)
    const undecided = this.#undecided.get(attempt.key) as Undecided
    undecided.tried--
    for (const next of undecided.waiting) {
      const decision = this.#try(next, undefined)
      if (!decision.allowed && undecided.tried > 0) break
      undecided.waiting.delete(next)
      this.#waiting--
      if (!decision.allowed) this.#attempts.delete(next.exchange)
      next.go?.(decision.allowed || this.#refuse(next.exchange, decision))
      next.go = undefined
    }
    if (undecided.tried === 0) this.#undecided.delete(attempt.key)
  }

  #refuse(exchange: Exchange, decision: RateLimitDecision): false {
    this.#refused++
    const { maxRequests, windowMs } = this.#limiter
    const window = { fields: this.#fields, maxRequests, windowMs, identifier: undefined }
    const policies = [this.#fields.name]
    return refuseTooMany(exchange, this.name, { policies, decision, window, lockedOut: false })
  }

  /** A stream that goes on for hours need not hold its unit. */
  readonly #atHead = (exchange: Exchange): void => {
    if (exchange.user !== undefined) this.giveBack(exchange)
  }

  /** Who hangs up before the answer has been told nothing, but had the attempt tried: that counts. */
  readonly #atEnd = (exchange: Exchange): void => {
    const attempt = this.#attempts.get(exchange)
    if (attempt === undefined) return
    if (attempt.reservation === undefined) {
      this.#attempts.delete(exchange)
      this.#undecided.get(attempt.key)?.waiting.delete(attempt)
      this.#waiting--
      attempt.go?.(false)
      return
    }
    const succeeded = exchange.user !== undefined || (exchange.headAt > 0 && exchange.statusCode !== 401)
    if (succeeded) {
      this.giveBack(exchange)
      return
    }
    this.#failed++
    this.#decided(attempt)
  }
}
