/** Whose budget a request uses. */
import type { Exchange } from '../http/exchange.ts'
import type { Identify } from './limit-windows.ts'

/**
 * The verified caller, else the client's address; undefined when the client is gone and there is no one left to answer.
 * @throws Error when there is neither: a key for all such clients would let one of them lock out the others
 */
export function clientKey(exchange: Exchange, stage: string): string | undefined {
  const key = exchange.user?.key ?? exchange.clientAddressKey
  if (key !== undefined || exchange.req.socket.destroyed) return key
  throw new Error(`${stage}: the client has no address (a Unix socket?): set trustProxy or identifier`)
}

/**
 * What an `identifier` function gives for a request.
 * @throws TypeError when that is not a string with something in it
 */
export function identified(identify: Identify, exchange: Exchange, stage: string): string {
  const key: unknown = identify(exchange.req, exchange)
  if (typeof key === 'string' && key !== '') return key
  throw new TypeError(`${stage}: identifier must give a string that is not empty, got ${typeof key}`)
}
