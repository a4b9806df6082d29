/** How a response ended, as far as this side of the wire can know. */
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'

/**
 * `completed`: everything was handed to the connection, and the connection took it. `aborted`: the client was gone, or
 * the connection was destroyed, before that. `failed`: this side gave up with an error.
 */
export type Outcome = 'pending' | 'completed' | 'aborted' | 'failed'

interface Ended {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly error: unknown
  readonly connection: { readonly endsExchanges: boolean }
}

/** What is needed of the stream behind an http/2 request. */
export interface Http2Stream {
  on(event: 'close', listener: () => void): unknown
  readonly sentHeaders?: Record<string, number>
  readonly aborted: boolean
  readonly destroyed: boolean
  readonly closed: boolean
  readonly rstCode: number
  readonly readableEnded: boolean
  readonly session: object | undefined
  close(code: number): void
}

/**
 * Newer Nodes say `finish` only when everything was flushed, and say it after the callbacks of `end`, which may have
 * destroyed the socket by then. Older ones (20, 22, early 24) say it first, and also when a destroyed socket took the
 * rest of the body with it. Only the newer ones keep this mark.
 */
const finishMeansFlushed = Object.getOwnPropertySymbols(
  new ServerResponse(new IncomingMessage(new Socket()))
).some(({ description }) => description === 'kWritableFinished')

/** @param finished whether the response said `finish` */
export function outcomeOf(exchange: Ended, finished: boolean): Outcome {
  if (finished && wasDelivered(exchange)) return 'completed'
  return exchange.error !== undefined || isOwnError(exchange.res.errored) ? 'failed' : 'aborted'
}

/** The status of the head that is out; 0 when none is. */
export function sentStatusOf(req: IncomingMessage, res: ServerResponse): number {
  const stream = streamOf(req)
  if (stream !== undefined) return stream.sentHeaders?.[':status'] ?? 0
  return res.headersSent ? res.statusCode : 0
}

/**
 * How an exchange stood when it was opened: 'open', 'finished', or 'gone' with all its events before anyone listened.
 * An http/2 response to HEAD is finished from the start, so only its stream tells.
 */
export function standingOf(req: IncomingMessage, res: ServerResponse): 'open' | 'finished' | 'gone' {
  const stream = streamOf(req)
  if (stream !== undefined) return stream.destroyed ? 'finished' : 'open'
  if (res.writableFinished) return 'finished'
  return req.socket?.destroyed === true && req.socket.closed ? 'gone' : 'open'
}

function wasDelivered({ req, res, connection }: Ended): boolean {
  const stream = streamOf(req)
  // What test tools inject has no wire that could lose anything, and no true measure of what is flushed.
  if (stream === undefined && !connection.endsExchanges) return res.writableEnded
  if (!res.writableFinished) return false
  if (stream !== undefined) return stream.sentHeaders !== undefined && !stream.aborted && stream.rstCode === 0
  return finishMeansFlushed || (!req.aborted && req.socket?.destroyed !== true)
}

/** Core itself destroys pipelined responses of a client that left with a reset of its own making (Node 24). */
function isOwnError(errored: Error | null | undefined): boolean {
  if (errored === null || errored === undefined) return false
  return (errored as { code?: string }).code !== 'ECONNRESET' || errored.message !== 'aborted'
}

/** The stream of an http/2 request; undefined on http/1, also where a request line claims to be http/2. */
export function streamOf(req: IncomingMessage): Http2Stream | undefined {
  return req.httpVersionMajor < 2 ? undefined : (req as { stream?: Http2Stream }).stream
}
