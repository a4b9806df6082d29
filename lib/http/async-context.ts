/** The exchange of whatever code is running, where a pipeline was told to keep track of it. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Exchange } from './exchange.ts'

/** What async resources hold on to: emptied at the end, so that what a request started does not keep its exchange alive. */
export interface AsyncHolder {
  exchange: Exchange | undefined
}

const storage = new AsyncLocalStorage<AsyncHolder>()

/**
 * The exchange of the request that led here, anywhere below a handler of a pipeline with `asyncContext: true`;
 * undefined elsewhere, and once the exchange has ended.
 */
export function currentExchange(): Exchange | undefined {
  return storage.getStore()?.exchange
}

/** Calls `run` so that `currentExchange()` is `exchange` in it and in all that it starts. */
export function runInContext(exchange: Exchange, run: () => void): void {
  exchange.asyncHolder ??= { exchange }
  storage.run(exchange.asyncHolder, run)
}
