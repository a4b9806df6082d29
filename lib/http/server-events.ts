/** What a server does without asking a handler: answers of its own, broken requests, time-outs, bare upgrades. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { EventEmitter } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { connectionOf, connectionOfSocket } from './connection.ts'
import {
  defaultContext,
  type Exchange,
  type ExchangeContext,
  type ExchangeListener,
  knownExchangeOf,
  openExchange
} from './exchange.ts'
import { watchFirstLine } from './first-line.ts'
import { closeGently } from './linger.ts'
import { problemMessage } from './problem.ts'

/** Who refused, in the exchanges that are made here. */
const stage = 'http'
const responseFinish = 'http.server.response.finish'

/** What a parser error or a time-out is answered with, and called; the statuses are core's. */
const brokenRequests: Record<string, { status: number; reason: string } | undefined> = {
  HPE_HEADER_OVERFLOW: { status: 431, reason: 'header_overflow' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: { status: 413, reason: 'chunk_extensions_overflow' },
  HPE_INVALID_EOF_STATE: { status: 400, reason: 'truncated_request' },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, reason: 'request_timeout' }
}

/**
 * Shows `observe` an exchange for everything that a server does without a handler:
 * - what Node answers itself: a request without `Host` (400), an unknown expectation (417), one request too many on a
 *   connection (503). The exchange has ended already.
 * - what is no HTTP (400), too large a head (431) or chunk extension (413), a request that does not arrive in time
 *   (408). They are answered with a problem, unless the server has a `clientError` listener of its own; method and
 *   path of their exchanges are `-`. When they break a request that a pipeline has seen, they end its exchange.
 * - upgrades and CONNECT requests that no pipeline has seen, with the status their listener wrote.
 *
 * `denial` says what was wrong. TLS handshakes, connections that just go away, and CONNECT requests without a listener
 * stay unseen. Costs one diagnostics message a request.
 *
 * @returns stops observing
 */
export function observeServer(
  server: EventEmitter,
  observe: ExchangeListener,
  context: ExchangeContext = defaultContext
): () => void {
  const observer = new ServerObserver(server, observe, context)
  return () => observer.stop()
}

interface FinishMessage {
  request: IncomingMessage
  response: ServerResponse
  server: unknown
}

class ServerObserver {
  readonly #server: EventEmitter
  readonly #observe: ExchangeListener
  readonly #context: ExchangeContext
  readonly #dropped = new WeakSet<IncomingMessage>()

  constructor(server: EventEmitter, observe: ExchangeListener, context: ExchangeContext) {
    this.#server = server
    this.#observe = observe
    this.#context = context
    subscribe(responseFinish, this.#onFinish)
    server.on('dropRequest', this.#onDrop)
    // In front of others, to see what they answer.
    server.prependListener('clientError', this.#onClientError)
    // A listener of ours alone would turn upgrades, which are requests like any other without one, into dead ends.
    server.on('newListener', this.#onNewListener)
    server.on('removeListener', this.#onRemoveListener)
    for (const event of upgrades) if (server.listenerCount(event) > 0) this.#watch(event)
  }

  stop(): void {
    unsubscribe(responseFinish, this.#onFinish)
    this.#server.off('dropRequest', this.#onDrop)
    this.#server.off('clientError', this.#onClientError)
    this.#server.off('newListener', this.#onNewListener)
    this.#server.off('removeListener', this.#onRemoveListener)
    for (const event of upgrades) this.#server.off(event, this.#onUpgrade)
  }

  readonly #onDrop = (req: IncomingMessage): void => {
    this.#dropped.add(req)
  }

  readonly #onFinish = (message: unknown): void => {
    const { request, response, server } = message as FinishMessage
    if (server !== this.#server || knownExchangeOf(request) !== undefined) return
    const reason = this.#ownAnswer(request, response.statusCode)
    if (reason !== undefined) this.#show(openExchange(request, response, this.#context), reason)
  }

  /** Why core itself answered with this status, if it did. */
  #ownAnswer(req: IncomingMessage, status: number): string | undefined {
    const { host, expect } = req.headers
    if (status === 400 && host === undefined && req.httpVersion === '1.1') return 'missing_host'
    if (status === 417 && expect !== undefined && this.#server.listenerCount('checkExpectation') === 0) {
      return 'unknown_expectation'
    }
    return status === 503 && this.#dropped.has(req) ? 'too_many_requests_on_connection' : undefined
  }

  readonly #onClientError = (error: Error & { code?: string }, socket: Socket): void => {
    const { code = '' } = error
    const othersAnswer = this.#server.listenerCount('clientError') > 1
    const connection = connectionOfSocket(socket)
    if (connection?.broken) return
    const known = code.startsWith('HPE_') || code in brokenRequests
    if (!known || !socket.writable) {
      if (!othersAnswer) socket.destroy(error)
      return
    }
    if (connection !== undefined) connection.broken = true
    this.#refuse(socket, code, othersAnswer)
  }

  #refuse(socket: Socket, code: string, othersAnswer: boolean): void {
    const open = connectionOfSocket(socket)?.oldestOpen
    if (open?.req.complete && open.res.writableEnded) {
      // Pipelined behind a request that is as good as answered.
      open.onEnd(() => this.#refuse(socket, code, othersAnswer))
      return
    }
    const { status, reason } = brokenRequests[code] ?? { status: 400, reason: 'malformed_request' }
    if (open !== undefined) {
      if (!othersAnswer) answerInPlaceOf(open, socket, status, reason)
      return
    }
    if (!socket.writable) return
    const req = new IncomingMessage(socket)
    req.method = '-'
    req.url = '-'
    connectionOf(req).broken = true
    const exchange = openExchange(req, new ServerResponse(req), this.#context)
    this.#show(exchange, reason)
    if (othersAnswer) watchFirstLine(socket, seen => exchange.handOver(seen, 'completed'))
    else answerOn(socket, exchange, status)
  }

  readonly #onUpgrade = (req: IncomingMessage, socket: Socket): void => {
    let status: number | undefined
    let exchange: Exchange | undefined
    watchFirstLine(socket, seen => {
      status = seen
      exchange?.handOver(seen, 'completed')
    })
    // By then a pipeline in front of the other listeners has made the exchange, and a bare one may have answered.
    process.nextTick(() => {
      if (knownExchangeOf(req) !== undefined) return
      exchange = openExchange(req, new ServerResponse(req), this.#context)
      this.#observe(exchange)
      if (status !== undefined) exchange.handOver(status, 'completed')
    })
  }

  readonly #onNewListener = (event: string, listener: unknown): void => {
    if (isUpgrade(event) && listener !== this.#onUpgrade && this.#server.listenerCount(event) === 0) {
      this.#watch(event)
    }
  }

  readonly #onRemoveListener = (event: string, listener: unknown): void => {
    if (isUpgrade(event) && listener !== this.#onUpgrade && this.#server.listenerCount(event) === 1) {
      this.#server.off(event, this.#onUpgrade)
    }
  }

  #watch(event: string): void {
    this.#server.prependListener(event, this.#onUpgrade)
  }

  #show(exchange: Exchange, reason: string): void {
    exchange.denial = { stage, reason }
    this.#observe(exchange)
  }
}

const upgrades = ['upgrade', 'connect']

function isUpgrade(event: string): boolean {
  return upgrades.includes(event)
}

/** Answers what never became a request. */
function answerOn(socket: Socket, exchange: Exchange, status: number): void {
  // A request that no pipeline has seen may be half answered on it: nothing true can be added to that.
  const answering = (socket as { _httpMessage?: ServerResponse | null })._httpMessage
  if (answering?.headersSent) {
    socket.destroy()
    return
  }
  socket.write(problemMessage({ status }))
  exchange.handOver(status, 'completed')
  closeGently(socket)
}

/**
 * The request that is being answered turned out broken, or what follows it did: the client reads the next answer as the
 * one to it. Once its head is out nothing can be said any more.
 */
function answerInPlaceOf(exchange: Exchange, socket: Socket, status: number, reason: string): void {
  if (exchange.res.headersSent) {
    socket.destroy()
    return
  }
  exchange.denial = { stage, reason }
  socket.write(problemMessage({ status }))
  exchange.handOver(status, 'aborted')
  closeGently(socket)
}
