/** Gives units back by how the response turned out. */
import type { Exchange } from '../http/exchange.ts'
import { shown, wrongOption } from '../options.ts'
import { CallerWindows, checkReserve, type WindowSource } from './limits.ts'
import type { Reservation } from './rate-limit-decision.ts'

export class Refunds {
  readonly #onFailure: boolean
  readonly #held = new Map<Exchange, readonly Reservation[]>()

  /** @throws TypeError when the option is neither outcome, or a limiter cannot give back what it took */
  constructor(refundOn: 'failure' | 'success', sources: Iterable<WindowSource>) {
    if (refundOn !== 'failure' && refundOn !== 'success') {
      throw wrongOption('rateLimit', 'refundOn', "'failure' or 'success'", shown(refundOn))
    }
    for (const source of sources) {
      if (!(source instanceof CallerWindows))
        for (const limiter of source.limiters) checkReserve(limiter, 'refunds')
    }
    this.#onFailure = refundOn === 'failure'
  }

  hold(exchange: Exchange, reservations: readonly Reservation[]): void {
    this.#held.set(exchange, reservations)
    exchange.onEnd(this.#settle)
  }

  /** One function for all exchanges. */
  readonly #settle = (exchange: Exchange): void => {
    const reservations = this.#held.get(exchange)
    this.#held.delete(exchange)
    // Whoever hangs up got the work done all the same: only a response that was delivered says how it turned out.
    if (reservations === undefined || exchange.outcome !== 'completed') return
    if (exchange.statusCode >= 400 === this.#onFailure) {
      for (const reservation of reservations) giveBack(reservation, exchange)
    }
  }
}

/** Gives a reservation back; a limiter that cannot is reported. */
export function giveBack(reservation: Reservation, exchange: Exchange): void {
  Promise.resolve(reservation.refund()).catch(error => exchange.reporter.report('rate_limit_refund', error))
}
