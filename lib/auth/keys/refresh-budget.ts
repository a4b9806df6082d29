/** How often an unknown key id may make the server ask the identity provider. */

/** A token bucket. `charge` may run it into debt, so that scheduled work counts but never waits. */
export class RefreshBudget {
  readonly #burst: number
  readonly #refillMs: number
  #tokens: number
  #at: number

  constructor(burst: number, refillMs: number, now: number) {
    this.#burst = burst
    this.#refillMs = refillMs
    this.#tokens = burst
    this.#at = now
  }

  take(now: number): boolean {
    this.#refill(now)
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  charge(now: number): void {
    this.#refill(now)
    this.#tokens = Math.max(-1, this.#tokens - 1)
  }

  #refill(now: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) / this.#refillMs)
    this.#at = now
  }
}
