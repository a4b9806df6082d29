/** The windows that decide on a request together: all of them admit it, or none is charged. */
import type { Exchange } from '../http/exchange.ts'
import type { GuardedRequest } from '../http/pipeline.ts'
import type { Limiter, RateLimitDecision, Reservation } from './rate-limit-decision.ts'
import { type PolicyFields, policyLines } from './rate-limit-headers.ts'
import { LocalReservation } from './rate-limiter.ts'
import type { SlidingWindow } from './window/sliding-window.ts'

/** Whose budget a request uses. */
export type Identify = (req: GuardedRequest, exchange: Exchange) => string

/** One window as the middleware sees it. */
export interface LimitWindow {
  readonly fields: PolicyFields
  readonly maxRequests: number
  readonly windowMs: number
  /** Undefined: the identifier of the whole middleware. */
  readonly identifier: Identify | undefined
}

/** A window on rings of this process. */
export interface LocalWindow extends LimitWindow {
  readonly rings: SlidingWindow
  /** Undefined: the exchange's own time. */
  readonly clock: (() => number) | undefined
}

/** A window on a limiter that may need to ask a server. */
export interface LimiterWindow extends LimitWindow {
  readonly limiter: Limiter
}

/** What was decided, by window, and what can be given back. */
export interface Verdict {
  readonly allowed: boolean
  readonly decisions: readonly RateLimitDecision[]
  readonly reservations: readonly Reservation[] | undefined
}

/** Several windows and how to ask them; `keys` and decisions are in the order of `windows`. */
export interface WindowSet {
  readonly windows: readonly LimitWindow[]
  /** Those that are not of this process. */
  readonly limiters: readonly Limiter[]
  /** Those that are. */
  readonly rings: readonly SlidingWindow[]
  /** The members of `RateLimit-Policy`. */
  readonly policy: string
  /** The draft's lines up to what remains of the first window. */
  readonly draftLines: string
  /** @param refundable whether the verdict must hold reservations */
  decide(
    exchange: Exchange,
    keys: readonly string[],
    cost: number,
    refundable: boolean
  ): Verdict | Promise<Verdict>
  /** Until more of a window can be taken; undefined when all can, or nobody knows. */
  nextUnitMs(exchange: Exchange, keys: readonly string[], window: number): number | undefined
}

/** Windows of this process: what is admitted is known before anything is charged. */
export class LocalWindows implements WindowSet {
  readonly windows: readonly LocalWindow[]
  readonly limiters: readonly Limiter[] = []
  readonly rings: readonly SlidingWindow[]
  readonly policy: string
  readonly draftLines: string

  constructor(windows: readonly LocalWindow[]) {
    this.windows = windows
    this.rings = windows.map(({ rings }) => rings)
    this.policy = policyOf(windows)
    this.draftLines = draftLines(this.policy, windows)
  }

  /** What `decide` says for one window, where nothing is to be given back. */
  decideAlone(exchange: Exchange, key: string, cost: number): RateLimitDecision {
    return decideOne(this.windows[0], exchange, key, cost)
  }

  decide(exchange: Exchange, keys: readonly string[], cost: number, refundable: boolean): Verdict {
    const { windows } = this
    let decisions: RateLimitDecision[]
    let allowed = true
    if (windows.length === 1) {
      decisions = [decideOne(windows[0], exchange, keys[0], cost)]
      allowed = decisions[0].allowed
    } else {
      decisions = windows.map((window, i) =>
        window.rings.peek(keys[i], window.maxRequests, cost, now(window, exchange))
      )
      for (const decision of decisions) allowed &&= decision.allowed
      if (allowed) decisions = windows.map((window, i) => decideOne(window, exchange, keys[i], cost))
    }
    const reservations =
      refundable && allowed && cost > 0
        ? windows.map(
            ({ rings }, i) => new LocalReservation(decisions[i], rings, rings.lastCharge(keys[i], cost))
          )
        : undefined
    return { allowed, decisions, reservations }
  }

  nextUnitMs(exchange: Exchange, keys: readonly string[], i: number): number | undefined {
    return this.windows[i].rings.nextUnitMs(keys[i], now(this.windows[i], exchange))
  }
}

/** Windows of any kind of limiter: each is charged, and given back when another refuses. */
export class LimiterWindows implements WindowSet {
  readonly windows: readonly LimiterWindow[]
  readonly limiters: readonly Limiter[]
  readonly rings: readonly SlidingWindow[] = []
  readonly policy: string
  readonly draftLines: string

  constructor(windows: readonly LimiterWindow[]) {
    this.windows = windows
    this.limiters = windows.map(({ limiter }) => limiter)
    this.policy = policyOf(windows)
    this.draftLines = draftLines(this.policy, windows)
  }

  decide(
    _exchange: Exchange,
    keys: readonly string[],
    cost: number,
    refundable: boolean
  ): Verdict | Promise<Verdict> {
    if (this.windows.length > 1 || refundable) return this.#reserveAll(keys, cost)
    const decision = this.windows[0].limiter.consume(keys[0], cost)
    return 'then' in decision ? Promise.resolve(decision).then(verdictOf) : verdictOf(decision)
  }

  nextUnitMs(): undefined {
    return undefined
  }

  async #reserveAll(keys: readonly string[], cost: number): Promise<Verdict> {
    const [first, ...others] = this.limiters
    const together = others.length === 0 ? undefined : first.reserveWith?.(others, keys, cost)
    if (together !== undefined) return verdictOnAll(await together)
    const asked = await Promise.allSettled(
      this.windows.map(
        async ({ limiter }, i) => await (limiter.reserve as Reserve).call(limiter, keys[i], cost)
      )
    )
    const reservations: Reservation[] = []
    for (const one of asked) if (one.status === 'fulfilled') reservations.push(one.value)
    const failed = asked.find(one => one.status === 'rejected')
    if (failed === undefined) return verdictOnAll(reservations)
    await Promise.all(reservations.map(reservation => reservation.refund()))
    throw failed.reason
  }
}

async function verdictOnAll(reservations: readonly Reservation[]): Promise<Verdict> {
  const allowed = reservations.every(({ decision }) => decision.allowed)
  if (!allowed) await Promise.all(reservations.map(reservation => reservation.refund()))
  return { allowed, decisions: reservations.map(({ decision }) => decision), reservations }
}

type Reserve = NonNullable<Limiter['reserve']>

function decideOne(window: LocalWindow, exchange: Exchange, key: string, cost: number): RateLimitDecision {
  const { rings, maxRequests } = window
  return cost === 0
    ? rings.peek(key, maxRequests, 0, now(window, exchange))
    : rings.consume(key, maxRequests, cost, now(window, exchange))
}

function now({ clock }: LocalWindow, exchange: Exchange): number {
  return clock === undefined ? exchange.startedAt : clock()
}

/** What one window decided. */
export function verdictOf(decision: RateLimitDecision): Verdict {
  return { allowed: decision.allowed, decisions: [decision], reservations: undefined }
}

function draftLines(policy: string, [first]: readonly LimitWindow[]): string {
  return policyLines(policy) + first.fields.beforeRemaining
}

function policyOf(windows: readonly LimitWindow[]): string {
  return windows.map(({ fields }) => fields.policy).join(', ')
}
