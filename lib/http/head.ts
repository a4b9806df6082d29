/**
 * Headers that wait for a head to be written, and how they join it.
 *
 * They join the arguments of the `writeHead` call in the shape the handler used. Core takes a fast path while nothing
 * called `setHeader`; after one call, pair arrays throw and (on Node 20) flat arrays lose duplicate `Set-Cookie`. So
 * headers join by `setHeader` only where the application itself used it.
 *
 * Core checks and joins every header by itself, some 200 ns each, and over a socket twice that. What a stage gives as
 * whole lines goes past all this in one piece, behind the status line, where the next `writeHead` is core's own.
 */
import { IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { streamOf } from './outcome.ts'

type HeadersArgument = OutgoingHttpHeaders | readonly (string | readonly string[])[] | null | undefined
export type WriteHead = (this: ServerResponse, ...args: unknown[]) => ServerResponse
export type StoreHeader = (this: ServerResponse, firstLine: string, headers: unknown) => void
type Storing = { _storeHeader?: StoreHeader }

/** Headers of a stage that are known to be good: nobody checks them again. */
export interface HeaderLines {
  readonly names: readonly string[]
  /** `Name: value` and CRLF, for each; printable ASCII. */
  text(): string
  /** The same as flat name, value, name, value … */
  pairs(): string[]
}

export const coreWriteHead: WriteHead = ServerResponse.prototype.writeHead as unknown as WriteHead
/** What puts a head together, below core's `writeHead`; undefined where it does not do so in the way that is needed. */
export const coreStoreHeader: StoreHeader | undefined = storeHeaderThatTakesLines()

export class PendingHeaders {
  /** Flat name, value, name, value … */
  #pairs: string[] = noPairs
  #lines: HeaderLines | undefined
  /** @internal What goes behind the status line of the head that is being written. */
  text = ''

  /** A second header of one name replaces the first. */
  set(name: string, value: string): void {
    this.#splitAt(name)
    const at = indexOfName(this.#pairs, name)
    if (at !== -1) this.#pairs[at + 1] = value
    else if (this.#pairs === noPairs) this.#pairs = [name, value]
    else this.#pairs.push(name, value)
  }

  get(name: string): string | undefined {
    this.#splitAt(name)
    const at = indexOfName(this.#pairs, name)
    return at === -1 ? undefined : this.#pairs[at + 1]
  }

  add(lines: HeaderLines): void {
    if (this.#lines === undefined && !holdsAny(this.#pairs, lines.names)) {
      this.#lines = lines
      return
    }
    const pairs = lines.pairs()
    for (let i = 0; i < pairs.length; i += 2) this.set(pairs[i], pairs[i + 1])
  }

  /** Calls the next `writeHead` with the handler's arguments and these headers; the handler's own are left alone. */
  writeHead(res: ServerResponse, writeHead: WriteHead, args: ArrayLike<unknown>): void {
    this.#split()
    this.text = ''
    writeHeadWith(res, writeHead, args, this.#pairs)
  }

  /**
   * The same where the next `writeHead` is core's own.
   * @param storeHeader calls `coreStoreHeader` with `text` behind the first line
   */
  writeHeadOfCore(
    res: ServerResponse,
    storeHeader: StoreHeader,
    status: unknown,
    reason: unknown,
    headers: unknown
  ): void {
    const lines = this.#lines
    if (lines === undefined || !takesLines(res, storeHeader, lines, (headers ?? reason) as HeadersArgument)) {
      this.writeHead(res, coreWriteHead, [status, reason, headers])
      return
    }
    ;(res as Storing)._storeHeader = storeHeader
    this.text = lines.text()
    if (this.#pairs === noPairs) coreWriteHead.call(res, status, reason, headers)
    else writeHeadWith(res, coreWriteHead, [status, reason, headers], this.#pairs)
  }

  #splitAt(name: string): void {
    if (this.#lines?.names.some(other => sameName(other, name))) this.#split()
  }

  /** From here on each header is by itself. */
  #split(): void {
    if (this.#lines === undefined) return
    this.#pairs = [...this.#pairs, ...this.#lines.pairs()]
    this.#lines = undefined
  }
}

const noPairs: string[] = []

function takesLines(
  res: ServerResponse,
  storeHeader: StoreHeader,
  { names }: HeaderLines,
  headers: HeadersArgument | string
): boolean {
  const current = (res as Storing)._storeHeader
  if (coreStoreHeader === undefined || (current !== coreStoreHeader && current !== storeHeader)) return false
  if (res.getHeaderNames().length > 0) return false
  if (typeof headers !== 'object' || headers === null) return true
  return !holdsAny(headers, names)
}

/** Tries it out: it is no part of Node's documented interface, although every version has had it. */
function storeHeaderThatTakesLines(): StoreHeader | undefined {
  const storeHeader = (ServerResponse.prototype as Storing)._storeHeader
  const res = new ServerResponse(new IncomingMessage(new Socket())) as ServerResponse &
    Storing & { _header?: unknown }
  if (typeof storeHeader !== 'function') return undefined
  res._storeHeader = function (firstLine, headers) {
    storeHeader.call(this, `${firstLine}X-A: 1\r\n`, headers)
  }
  res.sendDate = false
  res.writeHead(204, { 'X-B': '2' })
  const expected = 'HTTP/1.1 204 No Content\r\nX-A: 1\r\nX-B: 2\r\n'
  return String(res._header).startsWith(expected) ? storeHeader : undefined
}

function writeHeadWith(
  res: ServerResponse,
  writeHead: WriteHead,
  args: ArrayLike<unknown>,
  pending: readonly string[]
): void {
  const position = headersPosition(args)
  const headers = position === 0 ? undefined : (args[position] as HeadersArgument)
  if (res.getHeaderNames().length > 0 || streamOf(res.req) !== undefined) {
    for (let i = 0; i < pending.length; i += 2) {
      if (!res.hasHeader(pending[i]) && !holds(headers, pending[i])) res.setHeader(pending[i], pending[i + 1])
    }
    writeHead.apply(res, args as unknown[])
    return
  }
  const joined = joinedHeaders(headers, pending)
  if (position === 2 || (position === 0 && typeof args[1] === 'string')) {
    writeHead.call(res, args[0], args[1], joined)
  } else {
    writeHead.call(res, args[0], joined)
  }
}

/** Where core finds the headers: the third argument, or the second when it is no reason phrase. 0: there are none. */
function headersPosition(args: ArrayLike<unknown>): number {
  if (args[2] !== undefined && args[2] !== null) return 2
  return args[1] !== undefined && args[1] !== null && typeof args[1] !== 'string' ? 1 : 0
}

function joinedHeaders(headers: HeadersArgument, pending: readonly string[]): unknown {
  if (headers === undefined || headers === null || !Array.isArray(headers)) {
    // An object also where the handler gave nothing: old wrappers of `writeHead` read every array as pairs.
    const copy = Object.assign({}, headers) as OutgoingHttpHeaders
    for (let i = 0; i < pending.length; i += 2) {
      if (!holds(headers, pending[i])) copy[pending[i]] = pending[i + 1]
    }
    return copy
  }
  const copy: unknown[] = headers.slice()
  const pairs = Array.isArray(headers[0])
  for (let i = 0; i < pending.length; i += 2) {
    if (holds(headers, pending[i])) continue
    if (pairs) copy.push([pending[i], pending[i + 1]])
    else copy.push(pending[i], pending[i + 1])
  }
  return copy
}

/** Whether headers hold one of these names, in any case. */
function holdsAny(headers: HeadersArgument, names: readonly string[]): boolean {
  if (headers === undefined || headers === null) return false
  if (!Array.isArray(headers)) {
    for (const key in headers as Record<string, OutgoingHttpHeader>) if (isAmong(key, names)) return true
    return false
  }
  for (let i = 0; i < names.length; i++) if (holds(headers, names[i])) return true
  return false
}

function isAmong(key: string, names: readonly string[]): boolean {
  for (let i = 0; i < names.length; i++) if (sameName(key, names[i])) return true
  return false
}

/** Whether the handler's headers hold this name, in any case. */
function holds(headers: HeadersArgument, name: string): boolean {
  if (headers === undefined || headers === null) return false
  if (!Array.isArray(headers)) {
    for (const key in headers as Record<string, OutgoingHttpHeader>) if (sameName(key, name)) return true
    return false
  }
  if (Array.isArray(headers[0])) return headers.some(pair => sameName(pair[0], name))
  for (let i = 0; i < headers.length; i += 2) if (sameName(headers[i], name)) return true
  return false
}

function indexOfName(headers: readonly string[], name: string): number {
  for (let i = 0; i < headers.length; i += 2) if (sameName(headers[i], name)) return i
  return -1
}

/** Whether two header names are one, in any case. */
function sameName(a: unknown, b: string): boolean {
  return typeof a === 'string' && a.length === b.length && (a === b || a.toLowerCase() === b.toLowerCase())
}
