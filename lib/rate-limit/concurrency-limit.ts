/** Middleware that limits how many requests are in progress at a time. */
import type { Exchange } from '../http/exchange.ts'
import { type Stage, type StageMiddleware, stageMiddleware } from '../http/pipeline.ts'
import { shown, wrongOption } from '../options.ts'
import { clientKey, identified } from './client-key.ts'
import type { Identify } from './limit-windows.ts'
import { addDraftFields, PolicyFields } from './rate-limit-headers.ts'
import { checkCallback } from './rate-limiter.ts'
import { refuseBusy } from './too-many-requests.ts'

export interface ConcurrencyLimitOptions {
  /** Requests in progress at a time. */
  max: number
  /** Of these, how many of one client. Default: as many as it likes. */
  perKey?: number
  /** Who a client is. Default: the verified user or client, before authentication the client's address. */
  identifier?: Identify
  /** Requests that may wait for a place. Default 0. */
  queue?: number
  /** How long one waits, ms. Default 1 000. */
  queueTimeoutMs?: number
  /** The policy's name in the headers. Default `concurrency`. */
  name?: string
  /** Default `['draft-11']`: `RateLimit-Policy` and `RateLimit`, the quota unit being `concurrent-requests`. None with `[]`. */
  headers?: readonly 'draft-11'[]
}

export interface ConcurrencyStats {
  readonly active: number
  readonly waiting: number
  /** Answered with 503: no place, and none to wait in. */
  readonly refused: number
  /** Answered with 503 after a wait. */
  readonly timedOut: number
}

export interface ConcurrencyLimitMiddleware extends StageMiddleware {
  readonly stage: ConcurrencyLimitStage
}

/**
 * Lets at most `max` requests be in progress: from here until the response is over or the connection is gone. Others wait
 * in order, as long as there is room to wait and the client stays, or are answered with 503 and `Retry-After`.
 *
 * @throws TypeError when an option is not what it must be
 */
export function concurrencyLimit(options: ConcurrencyLimitOptions): ConcurrencyLimitMiddleware {
  return stageMiddleware(new ConcurrencyLimitStage(options)) as ConcurrencyLimitMiddleware
}

/** What a timer can wait for; more requests than that are not at a time either. */
const most = 2_147_483_647

/** A request that has a place or waits for one. */
interface Ticket {
  readonly exchange: Exchange
  readonly key: string
  /** There while it waits. */
  go: ((passed: boolean) => void) | undefined
  timer: NodeJS.Timeout | undefined
}

export class ConcurrencyLimitStage implements Stage {
  readonly name = 'concurrencyLimit'
  readonly #max: number
  readonly #perKey: number | undefined
  readonly #identify: Identify | undefined
  readonly #queue: number
  readonly #queueTimeoutMs: number
  /** Undefined: no headers. */
  readonly #fields: PolicyFields | undefined
  readonly #tickets = new Map<Exchange, Ticket>()
  /** In order of arrival. */
  readonly #waiting = new Set<Ticket>()
  readonly #activeOf = new Map<string, number>()
  #active = 0
  #refused = 0
  #timedOut = 0

  constructor(options: ConcurrencyLimitOptions) {
    const { max, perKey, identifier, queue = 0, queueTimeoutMs = 1_000 } = options
    const { name = 'concurrency', headers = ['draft-11'] } = options
    this.#max = whole('max', max, 1)
    this.#perKey = perKey === undefined ? undefined : whole('perKey', perKey, 1)
    this.#queue = whole('queue', queue, 0)
    this.#queueTimeoutMs = whole('queueTimeoutMs', queueTimeoutMs, 1)
    checkCallback('concurrencyLimit', 'identifier', identifier)
    this.#identify = identifier
    if (!Array.isArray(headers) || headers.some(format => format !== 'draft-11')) {
      throw wrongOption('concurrencyLimit', 'headers', "['draft-11'] or []", shown(headers))
    }
    const fields = new PolicyFields(name, this.#perKey ?? this.#max, undefined, 'concurrencyLimit')
    this.#fields = headers.length === 0 ? undefined : fields
  }

  get stats(): ConcurrencyStats {
    return {
      active: this.#active,
      waiting: this.#waiting.size,
      refused: this.#refused,
      timedOut: this.#timedOut
    }
  }

  enter(exchange: Exchange): boolean | Promise<boolean> {
    const key = this.#perKey === undefined ? '' : this.#keyOf(exchange)
    if (key === undefined) return false
    const ticket: Ticket = { exchange, key, go: undefined, timer: undefined }
    if (this.#hasPlace(key)) {
      this.#take(ticket)
    } else if (this.#waiting.size < this.#queue) {
      return this.#wait(exchange, ticket)
    } else {
      this.#refused++
      this.#addHeaders(exchange, 0)
      return refuseBusy(exchange, this.name, 'concurrency_limit')
    }
    this.#tickets.set(exchange, ticket)
    exchange.onEnd(this.#end)
    return true
  }

  #keyOf(exchange: Exchange): string | undefined {
    return this.#identify === undefined
      ? clientKey(exchange, this.name)
      : identified(this.#identify, exchange, this.name)
  }

  #hasPlace(key: string): boolean {
    if (this.#active >= this.#max) return false
    return this.#perKey === undefined || (this.#activeOf.get(key) ?? 0) < this.#perKey
  }

  #take({ exchange, key }: Ticket): void {
    this.#active++
    let left = this.#max - this.#active
    if (this.#perKey !== undefined) {
      const active = (this.#activeOf.get(key) ?? 0) + 1
      this.#activeOf.set(key, active)
      left = Math.min(left, this.#perKey - active)
    }
    this.#addHeaders(exchange, left)
  }

  /** When more places are free nobody knows: there is no `t`. */
  #addHeaders(exchange: Exchange, left: number): void {
    if (this.#fields !== undefined)
      addDraftFields(exchange, this.#fields.policy, this.#fields.state(left, undefined))
  }

  #wait(exchange: Exchange, ticket: Ticket): Promise<boolean> {
    this.#tickets.set(exchange, ticket)
    this.#waiting.add(ticket)
    return new Promise(resolve => {
      ticket.go = resolve
      ticket.timer = setTimeout(() => this.#giveUp(exchange, ticket), this.#queueTimeoutMs)
      exchange.onEnd(this.#end)
    })
  }

  #giveUp(exchange: Exchange, ticket: Ticket): void {
    this.#timedOut++
    this.#tickets.delete(exchange)
    this.#addHeaders(exchange, 0)
    const passed = refuseBusy(exchange, this.name, 'concurrency_queue_timeout')
    this.#leave(ticket, passed)
  }

  /** Ends a wait. */
  #leave(ticket: Ticket, passed: boolean): void {
    clearTimeout(ticket.timer)
    this.#waiting.delete(ticket)
    ticket.go?.(passed)
    ticket.go = undefined
  }

  /** One function for all exchanges; it runs once for each, whatever became of it. */
  readonly #end = (exchange: Exchange): void => {
    const ticket = this.#tickets.get(exchange)
    if (ticket === undefined) return
    this.#tickets.delete(exchange)
    if (ticket.go !== undefined) {
      this.#leave(ticket, false)
      return
    }
    this.#active--
    if (this.#perKey !== undefined) {
      const active = (this.#activeOf.get(ticket.key) as number) - 1
      if (active === 0) this.#activeOf.delete(ticket.key)
      else this.#activeOf.set(ticket.key, active)
    }
    this.#admitNext()
  }

  /** The place goes to whoever has waited longest and may have it. */
  #admitNext(): void {
    for (const ticket of this.#waiting) {
      if (this.#active >= this.#max) return
      if (!this.#hasPlace(ticket.key)) continue
      this.#take(ticket)
      this.#leave(ticket, true)
    }
  }
}

function whole(option: string, value: unknown, least: number): number {
  const number = value as number
  const isInteger = Number.isSafeInteger(value)
  if (isInteger && number >= least && number <= most) return number
  const kind = least === 0 ? 'a non-negative' : 'a positive'
  const upTo = isInteger && number > most ? ` up to ${most}` : ''
  throw wrongOption('concurrencyLimit', option, `${kind} integer${upTo}`, shown(value))
}
