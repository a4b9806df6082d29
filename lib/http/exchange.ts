/** One request and its response, seen once for all stages. The only code that replaces `res.writeHead`. */
import type { IncomingMessage, ServerResponse } from 'node:http'
// Imported: the global of this name is a getter.
import { performance } from 'node:perf_hooks'
import type { AsyncHolder } from './async-context.ts'
import {
  type Bearing,
  hookedCoreWriteHead,
  hookedStoreHeader,
  hookedWriteHead,
  onClose,
  onFinish,
  onStreamClose
} from './bearing.ts'
import { ClientAddress } from './client-address.ts'
import { clientGone } from './client-gone.ts'
import { type Connection, connectionOf } from './connection.ts'
import { observeEnded, observeSoon } from './ended-exchanges.ts'
import { coreWriteHead, type HeaderLines, PendingHeaders, type WriteHead } from './head.ts'
import type { Identity } from './identity.ts'
import { type Outcome, outcomeOf, sentStatusOf, standingOf, streamOf } from './outcome.ts'
import { defaultReporter, type Reporter } from './reporter.ts'
import { pathOf } from './request-path.ts'

export type { Caller, Identity } from './identity.ts'
export type { Outcome } from './outcome.ts'

/** Who refused a request, and the true reason, which the client is not always told. */
export interface Denial {
  readonly stage: string
  readonly reason: string
}

export type ExchangeListener = (exchange: Exchange) => void

/** What the first stage that sees a request fixes for its exchange. */
export interface ExchangeContext {
  readonly clientAddress: ClientAddress
  readonly reporter: Reporter
}

/** What an exchange gets that was given no context. */
export const defaultContext: ExchangeContext = {
  clientAddress: new ClientAddress(),
  reporter: defaultReporter
}

export class Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** ms, monotonic. */
  readonly startedAt: number
  /** The request path without the query, as received: never decoded, and not what a mount made of it. */
  readonly path: string
  readonly connection: Connection
  user: Identity | undefined
  authMethod: 'jwt' | 'api_token' | undefined
  /** The verified token's `jti`. */
  tokenId: string | undefined
  /** The status that went out; 0 until the head is written. */
  statusCode = 0
  /** ms, monotonic; 0 until the head is written. */
  headAt = 0
  /** ms, monotonic; 0 until the end. */
  endedAt = 0
  outcome: Outcome = 'pending'
  denial: Denial | undefined
  /** What the handler threw, if it did. */
  error: unknown = undefined
  /** @internal The neighbours among the exchanges of this connection that have not ended; kept by `Connection`. */
  older: Exchange | undefined
  newer: Exchange | undefined
  /** @internal What `currentExchange` reads, if it is kept at all. */
  asyncHolder: AsyncHolder | undefined
  /** @internal What the metrics file the request under, once they have read it. */
  origin: number | undefined

  #context: ExchangeContext
  #writeHead: WriteHead
  #pending: PendingHeaders | undefined
  #headListeners: ExchangeListener[] | undefined
  #endListeners: ExchangeListener[] | undefined
  /** With room for as many as a whole gate has: an array that grows takes another 150 bytes. */
  #observers: (ExchangeListener | undefined)[] | undefined
  #observerCount = 0
  #state: Record<string, unknown> | undefined
  #abort: AbortController | undefined
  #entered: unknown = undefined
  #enteredMore: unknown[] | undefined

  /** Made by `openExchange` alone. */
  constructor(req: IncomingMessage, res: ServerResponse, context: ExchangeContext) {
    this.startedAt = performance.now()
    this.req = req
    this.res = res
    this.path = pathOf(req)
    this.#context = context
    this.connection = connectionOf(req)
    this.connection.open(this)
    // Test tools use a response again: what is hooked already is not hooked once more.
    const earlier = (res as Bearing)._ostiaryExchange
    this.#writeHead = earlier === undefined ? (res.writeHead as unknown as WriteHead) : earlier.#writeHead
    ;(req as Bearing)._ostiaryExchange = this
    ;(res as Bearing)._ostiaryExchange = this
    const hook = this.#writeHead === coreWriteHead ? hookedCoreWriteHead : hookedWriteHead
    res.writeHead = hook as unknown as typeof res.writeHead
    this.#listen()
    const standing = standingOf(req, res)
    if (standing !== 'open') this.end(standing === 'finished')
  }

  /** The client's address after trusted proxies, in its canonical spelling; undefined on Unix sockets. */
  get clientAddress(): string | undefined {
    return this.connection.address(this.#context.clientAddress, this.req)
  }

  /** One key for every spelling of the client's address; undefined where there is none: never a shared key. */
  get clientAddressKey(): string | undefined {
    return this.connection.addressKey(this.#context.clientAddress, this.req)
  }

  /** Where to count and tell what went wrong beside the request. */
  get reporter(): Reporter {
    return this.#context.reporter
  }

  /** ms from the first sight of the request to its end; 0 until then. */
  get durationMs(): number {
    return this.endedAt === 0 ? 0 : this.endedAt - this.startedAt
  }

  /** The user's own bag. */
  get state(): Record<string, unknown> {
    this.#state ??= {}
    return this.#state
  }

  /** Fires, with an `AbortError`, when the client is gone before the response was complete. Costs nothing until someone asks. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.outcome === 'aborted' || this.outcome === 'failed') this.#abort.abort(clientGone)
    }
    return this.#abort.signal
  }

  /** Runs `listener` once, just before the head is written; it may still call `setHeader`. Not at all when the head is out. */
  onHead(listener: ExchangeListener): void {
    if (this.headAt !== 0 || this.outcome !== 'pending') return
    if (this.#headListeners === undefined) this.#headListeners = [listener]
    else this.#headListeners.push(listener)
  }

  /** Runs `listener` exactly once, after the response ended or the connection went away; at once when it has. */
  onEnd(listener: ExchangeListener): void {
    if (this.outcome !== 'pending') this.#call(listener)
    else if (this.#endListeners === undefined) this.#endListeners = [listener]
    else this.#endListeners.push(listener)
  }

  /**
   * @internal As `onEnd`, for those who only keep what they see: a request that was answered is shown to them at the end of
   * the event loop's turn, together with others. They call `observeEnded` before they tell what they have kept.
   */
  onEndObserve(observer: ExchangeListener): void {
    if (this.outcome !== 'pending') this.#call(observer)
    else if (this.#observers === undefined) {
      this.#observers = [observer, undefined, undefined, undefined]
      this.#observerCount = 1
    } else this.#observers[this.#observerCount++] = observer
  }

  /** @internal */
  tellObservers(): void {
    const observers = this.#observers
    if (observers === undefined) return
    this.#observers = undefined
    for (let i = 0; i < this.#observerCount; i++) this.#call(observers[i] as ExchangeListener)
  }

  /** Adds a header to the head when it is written, unless the handler sets one of that name. A second call replaces the first. */
  setHeader(name: string, value: string): void {
    this.#pending ??= new PendingHeaders()
    this.#pending.set(name, value)
  }

  /** The pending header of this name, if any. */
  getHeader(name: string): string | undefined {
    return this.#pending?.get(name)
  }

  /** @internal The same as `setHeader` for each of them, for a fraction of the cost. */
  setHeaderLines(lines: HeaderLines): void {
    this.#pending ??= new PendingHeaders()
    this.#pending.add(lines)
  }

  /** True the first time it is asked for `owner`: what is mounted twice runs once. */
  enterOnce(owner: unknown): boolean {
    if (this.#entered === undefined) this.#entered = owner
    else if (this.#entered === owner || this.#enteredMore?.includes(owner)) return false
    else if (this.#enteredMore === undefined) this.#enteredMore = [owner]
    else this.#enteredMore.push(owner)
    return true
  }

  /** @internal The body of the `writeHead` hook. */
  writeHead(args: ArrayLike<unknown>): ServerResponse {
    const { res } = this
    // A second head, or one for a client that is gone: core answers for it, and nothing is recorded.
    if (this.headAt !== 0 || this.outcome !== 'pending') return this.#writeHead.apply(res, args as unknown[])
    this.#tellHead()
    let returned = res
    if (this.#pending === undefined) returned = this.#writeHead.apply(res, args as unknown[])
    else this.#pending.writeHead(res, this.#writeHead, args)
    this.#recordHead()
    return returned
  }

  /** @internal The same where the next `writeHead` is core's own, which counts no arguments: nothing is made for them. */
  writeHeadOfCore(status: unknown, reason: unknown, headers: unknown): ServerResponse {
    const { res } = this
    if (this.headAt !== 0 || this.outcome !== 'pending')
      return coreWriteHead.call(res, status, reason, headers)
    this.#tellHead()
    if (this.#pending === undefined) coreWriteHead.call(res, status, reason, headers)
    else this.#pending.writeHeadOfCore(res, hookedStoreHeader, status, reason, headers)
    this.#recordHead()
    return res
  }

  /** @internal What goes between the first line and the headers of the head that is being written. */
  get headLines(): string {
    return this.#pending === undefined ? '' : this.#pending.text
  }

  /** @internal Ends the exchange, once. `finished`: the response said `finish`. */
  end(finished: boolean): void {
    if (this.outcome !== 'pending') return
    this.endedAt = performance.now()
    // A head that went out past the hook: http/2 `stream.respond()`, or a call through the prototype.
    if (this.statusCode === 0) {
      const status = sentStatusOf(this.req, this.res)
      if (status >= 200) this.statusCode = status
    }
    this.#settle(outcomeOf(this, finished))
  }

  /** @internal Ends the exchange with a status that went out on the bare socket. The response has no part in it. */
  handOver(statusCode: number, outcome: 'completed' | 'aborted'): void {
    if (this.outcome !== 'pending') return
    this.statusCode = statusCode
    this.headAt = performance.now()
    this.endedAt = this.headAt
    this.#settle(outcome)
  }

  #settle(outcome: Outcome): void {
    this.outcome = outcome
    this.connection.close(this)
    if (this.#abort !== undefined && outcome !== 'completed') this.#abort.abort(clientGone)
    const listeners = this.#endListeners
    if (listeners !== undefined) {
      this.#endListeners = undefined
      for (const listener of listeners) this.#call(listener)
    }
    if (this.#observers !== undefined) this.#observe()
    if (this.asyncHolder !== undefined) this.asyncHolder.exchange = undefined
  }

  /** In order, whoever waits and whoever does not. What has no socket of its own may be asked for before the turn ends. */
  #observe(): void {
    if (this.outcome === 'completed' && this.connection.endsExchanges) {
      observeSoon(this)
    } else {
      observeEnded()
      this.tellObservers()
    }
  }

  #tellHead(): void {
    const listeners = this.#headListeners
    if (listeners === undefined) return
    this.#headListeners = undefined
    for (const listener of listeners) this.#call(listener)
  }

  /** After the real call: it may have thrown, or have coerced the status, or (http/2) have found the stream gone. */
  #recordHead(): void {
    const status = sentStatusOf(this.req, this.res)
    if (status < 200) return
    this.statusCode = status
    this.headAt = performance.now()
  }

  #listen(): void {
    const stream = streamOf(this.req)
    if (stream !== undefined) {
      // The compat response says nothing when a HEAD request is reset; its stream always does.
      ;(stream as Bearing)._ostiaryExchange = this
      stream.on('close', onStreamClose)
      return
    }
    this.res.on('finish', onFinish)
    // Elsewhere the socket's close is the response's close, and one listener a socket does for all.
    if (!this.connection.endsExchanges) this.res.on('close', onClose)
  }

  #call(listener: ExchangeListener): void {
    try {
      const returned: unknown = listener(this)
      if (returned !== undefined && returned instanceof Promise) {
        returned.catch(error => this.#listenerFailed(error))
      }
    } catch (error) {
      this.#listenerFailed(error)
    }
  }

  #listenerFailed(error: unknown): void {
    this.#context.reporter.report('exchange_listener', error)
  }
}

/** The exchange of a request; makes it when this is the first Ostiary code to see the request. */
export function openExchange(req: IncomingMessage, res: ServerResponse, context?: ExchangeContext): Exchange {
  return (
    (req as Bearing)._ostiaryExchange ?? openOn(req, res) ?? new Exchange(req, res, context ?? defaultContext)
  )
}

/** The exchange of a request, if Ostiary has seen it. */
export function knownExchangeOf(req: IncomingMessage): Exchange | undefined {
  return (req as Bearing)._ostiaryExchange
}

/**
 * The exchange of a request that an Ostiary middleware has seen.
 * @throws Error when none has
 */
export function exchangeOf(req: IncomingMessage): Exchange {
  const exchange = knownExchangeOf(req)
  if (exchange === undefined) throw new Error('exchangeOf: no Ostiary middleware has seen this request')
  return exchange
}

/** Adapters make a request of their own for a response that is open already. */
function openOn(req: IncomingMessage, res: ServerResponse): Exchange | undefined {
  const exchange = (res as Bearing)._ostiaryExchange
  if (exchange === undefined || exchange.outcome !== 'pending') return undefined
  ;(req as Bearing)._ostiaryExchange = exchange
  return exchange
}
