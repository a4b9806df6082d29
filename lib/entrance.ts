/** The first stage of a gate: counts open requests, and once the gate closes lets no more in. */
import { observeEnded } from './http/ended-exchanges.ts'
import type { Exchange } from './http/exchange.ts'
import type { Stage } from './http/pipeline.ts'
import { refuse } from './http/problem.ts'
import { wrongOption } from './options.ts'

export class Entrance implements Stage {
  readonly name = 'gate'
  readonly #graceMs: number
  #open = 0
  #closing = false
  #onEmpty: (() => void) | undefined
  readonly #leave = (): void => {
    this.#open--
    if (this.#open === 0) this.#onEmpty?.()
  }

  /** @param graceMs ms that `close` waits for open requests */
  constructor(graceMs = 1_000) {
    // A timer of more would not wait at all.
    if (!Number.isFinite(graceMs) || graceMs < 0 || graceMs > 0x7fff_ffff) {
      throw wrongOption('ostiary', 'closeGraceMs', 'a number of ms from 0 to 2147483647', graceMs)
    }
    this.#graceMs = graceMs
  }

  enter(exchange: Exchange): boolean {
    if (this.#closing) {
      return refuse(exchange, this.name, 'closing', {
        status: 503,
        detail: 'The server is shutting down.',
        headers: { 'Retry-After': '1', Connection: 'close' }
      })
    }
    this.#open++
    exchange.onEndObserve(this.#leave)
    return true
  }

  /** Resolves when the last open request has ended, or the grace is over. */
  close(): Promise<void> {
    this.#closing = true
    observeEnded()
    if (this.#open === 0) return Promise.resolve()
    return new Promise(resolve => {
      const timer = setTimeout(resolve, this.#graceMs)
      this.#onEmpty = () => {
        clearTimeout(timer)
        // The other listeners of that last exchange have their turn first.
        setImmediate(resolve)
      }
    })
  }
}
