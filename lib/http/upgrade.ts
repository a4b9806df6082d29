/** Middleware in front of an upgrade: the request gets a response of its own, so that a stage can refuse it. */
import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Exchange, exchangeOf } from './exchange.ts'
import { closeGently } from './linger.ts'

/** A listener of a server's `upgrade` or `connect` event. */
export type UpgradeHandler = (req: IncomingMessage, socket: Duplex, head: Buffer) => unknown

type Write = (...args: unknown[]) => unknown

/**
 * An `upgrade` listener that passes each request through a pipeline first.
 * @param run runs the pipeline and calls `accept` when nothing refused; what it answers instead goes to the socket
 */
export function guardedUpgrade(
  run: (req: IncomingMessage, res: ServerResponse, accept: () => void) => void,
  handler: UpgradeHandler
): UpgradeHandler {
  return (req, duplex, head) => {
    const socket = duplex as Socket
    const res = new ServerResponse(req)
    res.shouldKeepAlive = false
    // Core took its own listeners away with the upgrade: an error here would be nobody's.
    socket.on('error', ignore)
    res.assignSocket(socket)
    res.on('finish', answered)
    run(req, res, () => {
      res.off('finish', answered)
      res.detachSocket(socket)
      socket.off('error', ignore)
      const exchange = exchangeOf(req)
      endAtFirstLine(exchange, socket)
      try {
        const returned = handler(req, socket, head)
        if (returned instanceof Promise) returned.catch(error => giveUp(exchange, socket, error))
      } catch (error) {
        giveUp(exchange, socket, error)
      }
    })

    function answered(): void {
      res.detachSocket(socket)
      closeGently(socket)
    }
  }
}

/**
 * The handler writes its answer to the bare socket. The first line of it holds the status and ends the exchange; what
 * follows is another protocol.
 */
function endAtFirstLine(exchange: Exchange, socket: Socket): void {
  const { write, end } = socket
  const first = (method: Write): Write =>
    function (this: Socket, ...args) {
      // Put back, not deleted: an object that lost a property is slow for the rest of its life.
      socket.write = write
      socket.end = end
      const returned = method.apply(this, args)
      exchange.handOver(statusIn(args[0]))
      return returned
    }
  socket.write = first(write as Write) as typeof write
  socket.end = first(end as Write) as typeof end
}

function statusIn(chunk: unknown): number {
  const start =
    typeof chunk === 'string' ? chunk : Buffer.isBuffer(chunk) ? chunk.toString('latin1', 0, 12) : ''
  return Number(/^HTTP\/1\.[01] ([1-5]\d\d)/.exec(start)?.[1] ?? 0)
}

function giveUp(exchange: Exchange, socket: Socket, error: unknown): void {
  exchange.error = error ?? new Error('an upgrade handler threw nothing')
  exchange.reporter.report('request_exception', error)
  socket.destroy()
}

function ignore(): void {}
