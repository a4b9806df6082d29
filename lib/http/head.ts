/**
 * Joins pending headers to the arguments of a `writeHead` call, in the shape the handler used.
 *
 * Core takes a fast path while nothing called `setHeader`; after one call, pair arrays throw and (on Node 20) flat arrays
 * lose duplicate `Set-Cookie`. So headers join by `setHeader` only where the application itself used it.
 */
import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { streamOf } from './outcome.ts'

type HeadersArgument = OutgoingHttpHeaders | readonly (string | readonly string[])[] | null | undefined
/** Flat name, value, name, value … */
export type PendingHeaders = string[]
export type WriteHead = (this: ServerResponse, ...args: unknown[]) => ServerResponse

/** Calls the real `writeHead` with the handler's arguments and the pending headers; the handler's own are left alone. */
export function writeHeadWith(
  res: ServerResponse,
  writeHead: WriteHead,
  args: ArrayLike<unknown>,
  pending: PendingHeaders
): ServerResponse {
  const position = headersPosition(args)
  const headers = position === 0 ? undefined : (args[position] as HeadersArgument)
  if (res.getHeaderNames().length > 0 || streamOf(res.req) !== undefined) {
    for (let i = 0; i < pending.length; i += 2) {
      if (!res.hasHeader(pending[i]) && !names(headers, pending[i])) res.setHeader(pending[i], pending[i + 1])
    }
    return writeHead.apply(res, args as unknown[])
  }
  const joined = joinedHeaders(headers, pending)
  if (position === 2 || (position === 0 && typeof args[1] === 'string')) {
    return writeHead.call(res, args[0], args[1], joined)
  }
  return writeHead.call(res, args[0], joined)
}

/** Where core finds the headers: the third argument, or the second when it is no reason phrase. 0: there are none. */
function headersPosition(args: ArrayLike<unknown>): number {
  if (args[2] !== undefined && args[2] !== null) return 2
  return args[1] !== undefined && args[1] !== null && typeof args[1] !== 'string' ? 1 : 0
}

function joinedHeaders(headers: HeadersArgument, pending: PendingHeaders): unknown {
  if (headers === undefined || headers === null || !Array.isArray(headers)) {
    // An object also where the handler gave nothing: old wrappers of `writeHead` read every array as pairs.
    const copy = Object.assign({}, headers) as OutgoingHttpHeaders
    for (let i = 0; i < pending.length; i += 2) {
      if (!names(headers, pending[i])) copy[pending[i]] = pending[i + 1]
    }
    return copy
  }
  const copy: unknown[] = headers.slice()
  const pairs = Array.isArray(headers[0])
  for (let i = 0; i < pending.length; i += 2) {
    if (names(headers, pending[i])) continue
    if (pairs) copy.push([pending[i], pending[i + 1]])
    else copy.push(pending[i], pending[i + 1])
  }
  return copy
}

/** Whether the handler's headers hold this name, in any case. */
function names(headers: HeadersArgument, name: string): boolean {
  if (headers === undefined || headers === null) return false
  if (!Array.isArray(headers)) {
    for (const key in headers as Record<string, OutgoingHttpHeader>) if (sameName(key, name)) return true
    return false
  }
  if (Array.isArray(headers[0])) return headers.some(pair => sameName(pair[0], name))
  for (let i = 0; i < headers.length; i += 2) if (sameName(headers[i], name)) return true
  return false
}

/** Whether two header names are one, in any case. */
export function sameName(a: unknown, b: string): boolean {
  return typeof a === 'string' && a.length === b.length && (a === b || a.toLowerCase() === b.toLowerCase())
}
