/** Error answers: RFC 9457 bodies on heads that no cache keeps. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Exchange } from './exchange.ts'
import { lingerBytes, lingerMs } from './linger.ts'
import { type Http2Stream, streamOf } from './outcome.ts'

/** A problem detail (RFC 9457, section 3.1). Members go to the client as they are: nothing secret, nothing from the request. */
export interface Problem {
  status: number
  /** A URI. Default `about:blank`: the title is the reason phrase. */
  type?: string
  title?: string
  detail?: string
  /** Further members of the body. */
  extensions?: Readonly<Record<string, unknown>>
  /** Further headers, such as `WWW-Authenticate` and `Retry-After`. */
  headers?: Readonly<Record<string, string>>
}

/** What a handler said about the body that it will not send now. */
const ofTheBody: ReadonlySet<string> = new Set([
  'content-type',
  'content-length',
  'content-encoding',
  'content-language',
  'content-location',
  'content-range',
  'content-disposition',
  'content-digest',
  'repr-digest',
  'transfer-encoding',
  'trailer',
  'accept-ranges',
  'etag',
  'last-modified',
  'expires'
])
/** A body declared no longer than this is left to core, which drains it and keeps the connection. */
const keepAliveBytes = 65_536

/**
 * Refuses a request: remembers who and why, answers with a problem, and is false, as a stage that answered.
 * @param reason the true reason, for audit and metrics; a stable snake_case name
 */
export function refuse(exchange: Exchange, stage: string, reason: string, problem: Problem): false {
  exchange.denial = { stage, reason }
  answerProblem(exchange, problem)
  return false
}

/** Answers with a problem; when the head is already out the connection is destroyed, not corrupted. */
export function answerProblem(exchange: Exchange, problem: Problem): void {
  const { req, res } = exchange
  if (res.headersSent) {
    if (!res.writableEnded) res.destroy()
    return
  }
  const stream = streamOf(req)
  // A write to an http/2 stream that was reset throws.
  if (stream === undefined ? res.destroyed : stream.closed || stream.destroyed) return
  for (const name of res.getHeaderNames()) if (ofTheBody.has(name)) res.removeHeader(name)
  const body = bodyOf(problem)
  const headers = headersOf(problem, body)
  if (stream !== undefined) {
    answerOnStream(res, stream, problem.status, headers, body)
  } else if (bodyStillArrives(req)) {
    headers['Connection'] = 'close'
    res.writeHead(problem.status, headers)
    // The whole answer goes out now; the end, and with it the close, waits until the client had a chance to read it.
    if (req.method === 'HEAD') res.flushHeaders()
    else res.write(body)
    drain(req, res)
  } else {
    res.writeHead(problem.status, headers)
    res.end(body)
  }
}

/** The whole answer as bytes, for a socket that has no response and is closed after it. */
export function problemMessage(problem: Problem): string {
  const body = bodyOf(problem)
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    `Date: ${new Date().toUTCString()}`
  ]
  for (const [name, value] of Object.entries(headersOf(problem, body))) head.push(`${name}: ${value}`)
  return `${head.join('\r\n')}\r\nConnection: close\r\n\r\n${body}`
}

function bodyOf({
  status,
  type = 'about:blank',
  title = STATUS_CODES[status],
  detail,
  extensions
}: Problem): string {
  return JSON.stringify({ type, title, status, detail, ...extensions })
}

function headersOf(problem: Problem, body: string): Record<string, string | number> {
  return {
    'Content-Type': 'application/problem+json',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    ...problem.headers
  }
}

function bodyStillArrives(req: IncomingMessage): boolean {
  if (req.complete) return false
  return (
    req.headers['transfer-encoding'] !== undefined ||
    Number(req.headers['content-length'] ?? 0) > keepAliveBytes
  )
}

/** Reads on for a bounded while: closing a socket with unread input resets it, and the client may lose the answer. */
function drain(req: IncomingMessage, res: ServerResponse): void {
  let left = lingerBytes
  const timer = setTimeout(finish, lingerMs).unref()
  req.on('data', onData)
  req.on('end', finish)
  req.on('close', finish)
  req.resume()

  function onData(chunk: Buffer): void {
    left -= chunk.length
    if (left <= 0) finish()
  }

  function finish(): void {
    clearTimeout(timer)
    req.off('data', onData)
    req.off('end', finish)
    req.off('close', finish)
    req.pause()
    if (!res.writableEnded) res.end()
  }
}

/** RFC 9113, section 8.1: a server that needs no more of the request resets its stream with NO_ERROR after the answer. */
function answerOnStream(
  res: ServerResponse,
  stream: Http2Stream,
  status: number,
  headers: Record<string, string | number>,
  body: string
): void {
  res.once('finish', () => {
    if (!stream.readableEnded) stream.close(0)
  })
  res.writeHead(status, headers)
  res.end(body)
}
