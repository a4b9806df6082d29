/** Decides which unknown key ids are worth asking the identity provider about. */
import { RefreshBudget } from './refresh-budget.ts'

/** One bucket refills one request a minute, so that both together allow one in 30 s. */
const refillMs = 60_000
/** An id that a refresh did not bring, or that was only seen once, is remembered this long. */
const memoryMs = 30_000
const maxRemembered = 1_000

interface Sighting {
  until: number
  /** A refresh since then did not have it. */
  missing: boolean
}

/**
 * Made-up ids rarely come twice, the id of a new key comes with every new token. So an id seen before has a budget of
 * its own, which a flood of random ids cannot spend: a sudden rotation gets through at the second token, flood or not.
 */
export class UnknownKeys {
  count = 0
  readonly #first: RefreshBudget
  readonly #again: RefreshBudget
  readonly #seen = new Map<string, Sighting>()

  constructor(now: number) {
    this.#first = new RefreshBudget(2, refillMs, now)
    this.#again = new RefreshBudget(1, refillMs, now)
  }

  /** True when a refresh may be made for this id. */
  mayAsk(kid: string, now: number): boolean {
    this.count++
    const sighting = this.#seen.get(kid)
    const again = sighting !== undefined && now < sighting.until
    if (again && sighting.missing) return false
    if (this.#first.take(now) || (again && this.#again.take(now))) return true
    this.#remember(kid, false, now)
    return false
  }

  /** A refresh did not bring this id. */
  missing(kid: string, now: number): void {
    this.#remember(kid, true, now)
  }

  /** A fetch was made for another reason; it counts all the same. */
  charge(now: number): void {
    this.#first.charge(now)
  }

  #remember(kid: string, missing: boolean, now: number): void {
    this.#seen.delete(kid)
    if (this.#seen.size >= maxRemembered) this.#seen.delete(this.#seen.keys().next().value as string)
    this.#seen.set(kid, { until: now + memoryMs, missing })
  }
}
