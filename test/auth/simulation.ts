/** A clock, its timers and an identity provider that only move when a test says so. */
import { type Clock, systemClock } from '../../lib/auth/clock.ts'
import type { Fetch } from '../../lib/auth/keys/endpoint.ts'
import type { JwksCache } from '../../lib/auth/keys/jwks-cache.ts'

interface Event {
  at: number
  order: number
  run: () => void | Promise<void>
}

/** Starts at 0 ms, and at 1 760 000 000 s on the wall. */
export class SimulatedTime implements Clock {
  elapsed = 0
  /** ms that the wall clock is wrong. */
  wallShift = 0
  readonly #events = new Set<Event>()
  #order = 0

  now(): number {
    return 1_760_000_000_000 + this.elapsed + this.wallShift
  }

  monotonic(): number {
    return this.elapsed
  }

  setTimeout(run: () => void, ms: number): unknown {
    return this.at(this.elapsed + ms, run)
  }

  clearTimeout(timer: unknown): void {
    this.#events.delete(timer as Event)
  }

  at(at: number, run: () => void | Promise<void>): Event {
    const event = { at, order: this.#order++, run }
    this.#events.add(event)
    return event
  }

  /** Runs `each` every `stepMs` until `end`, and all events at their times. */
  async run(
    end: number,
    stepMs = Number.POSITIVE_INFINITY,
    each?: () => void | Promise<void>
  ): Promise<void> {
    await turns()
    let step = this.elapsed + stepMs
    for (;;) {
      const event = this.#next()
      const at = Math.min(event?.at ?? Number.POSITIVE_INFINITY, step, end)
      this.elapsed = at
      if (event !== undefined && event.at === at) {
        this.#events.delete(event)
        await event.run()
        await turns()
      } else if (step === at) {
        step += stepMs
        await each?.()
      } else {
        return
      }
    }
  }

  #next(): Event | undefined {
    let first: Event | undefined
    for (const event of this.#events) {
      if (first === undefined || event.at < first.at || (event.at === first.at && event.order < first.order))
        first = event
    }
    return first
  }
}

/** The system's clock and timers, but nothing ages: what is remembered for some seconds a slow process does not forget either. */
export const ageless: Clock = { ...systemClock, monotonic: () => 0 }

/** An identity provider that answers after `latencyMs` with what `document` is then, or never. */
export class ScriptedProvider {
  fetches = 0
  latencyMs = 200
  /** Answers nothing at all. */
  blackHole = false
  status = 200
  document: unknown
  /** Set once it exists: an answer counts as processed when the cache has counted it. */
  cache: JwksCache | undefined
  readonly #time: SimulatedTime

  constructor(time: SimulatedTime, document: unknown) {
    this.#time = time
    this.document = document
  }

  readonly fetch: Fetch = (_url, init) => {
    this.fetches++
    return new Promise((resolve, reject) => {
      init.signal?.addEventListener('abort', () => reject(init.signal?.reason))
      if (this.blackHole) return
      this.#time.at(this.#time.elapsed + this.latencyMs, () => {
        const before = this.#processed()
        resolve(new Response(JSON.stringify(this.document), { status: this.status }))
        return this.#until(() => this.#processed() > before)
      })
    })
  }

  #processed(): number {
    const stats = this.cache?.stats
    return stats === undefined ? Number.POSITIVE_INFINITY : stats.refreshes + stats.failures
  }

  /** Keys are imported on other threads, in real time: waits for them while the simulated time stands still. */
  async #until(done: () => boolean): Promise<void> {
    while (this.cache !== undefined && !done()) await turns()
  }
}

/** Lets promises settle. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise(resolve => setImmediate(resolve))
}
