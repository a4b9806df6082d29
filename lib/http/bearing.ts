/** Where a request, a response or a stream bears its exchange, and what is hooked there: one function each, for all of them. */
import type { ServerResponse } from 'node:http'
import type { Exchange } from './exchange.ts'
import { coreStoreHeader, type StoreHeader } from './head.ts'

/**
 * A name and no symbol: what stores by symbol is megamorphic for good once garbage was collected while no request was open.
 */
export type Bearing = { _ostiaryExchange?: Exchange }

export function hookedWriteHead(this: ServerResponse): ServerResponse {
  // `arguments`, not a rest parameter: it would allocate, and the arguments pass through untouched.
  return ((this as Bearing)._ostiaryExchange as Exchange).writeHead(arguments)
}

export function hookedCoreWriteHead(
  this: ServerResponse,
  status: unknown,
  reason: unknown,
  headers: unknown
): ServerResponse {
  return ((this as Bearing)._ostiaryExchange as Exchange).writeHeadOfCore(status, reason, headers)
}

export function hookedStoreHeader(this: ServerResponse, firstLine: string, headers: unknown): void {
  const { headLines } = (this as Bearing)._ostiaryExchange as Exchange
  ;(coreStoreHeader as StoreHeader).call(this, firstLine + headLines, headers)
}

export function onFinish(this: ServerResponse): void {
  ;(this as Bearing)._ostiaryExchange?.end(true)
}

/** What the stream says of itself tells whether it finished. */
export function onStreamClose(this: Bearing): void {
  this._ostiaryExchange?.end(true)
}

export function onClose(this: ServerResponse): void {
  ;(this as Bearing)._ostiaryExchange?.end(false)
}
