/** Middleware in front of an upgrade: the request gets a response of its own, so that a stage can refuse it. */
import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Exchange, exchangeOf } from './exchange.ts'
import { watchFirstLine } from './first-line.ts'
import { closeGently } from './linger.ts'

/** A listener of a server's `upgrade` or `connect` event. */
export type UpgradeHandler = (req: IncomingMessage, socket: Duplex, head: Buffer) => unknown

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
      // The handler answers on the bare socket; what follows its first line is another protocol.
      watchFirstLine(socket, status => exchange.handOver(status, 'completed'))
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

function giveUp(exchange: Exchange, socket: Socket, error: unknown): void {
  exchange.error = error ?? new Error('an upgrade handler threw nothing')
  exchange.reporter.report('request_exception', error)
  socket.destroy()
}

function ignore(): void {}
