/** Calls listeners of an exchange: what one of them throws, or rejects with, reaches nobody but the reporter. */
import type { Exchange, ExchangeListener } from './exchange.ts'

export function callListener(listener: ExchangeListener, exchange: Exchange): void {
  try {
    const returned: unknown = listener(exchange)
    if (returned !== undefined && returned instanceof Promise) {
      returned.catch(error => listenerFailed(exchange, error))
    }
  } catch (error) {
    listenerFailed(exchange, error)
  }
}

function listenerFailed({ reporter }: Exchange, error: unknown): void {
  reporter.report('exchange_listener', error)
}
