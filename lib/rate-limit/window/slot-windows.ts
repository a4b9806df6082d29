/** The exact sliding window: decides for each slot by the stamps that still count. */
import { decide, type RateLimitDecision, until } from '../rate-limit-decision.ts'
import { touch } from './slot-records.ts'
import { StampRings, wrap } from './stamp-rings.ts'

/*
 * A stamp is the instant at which what was admitted stops to count: t + W. Oldest first, a ring is what is live.
 *
 *                  now
 *        expired    |   live: used units                          limit 5, used 4: one more fits
 *     ──┬────┬──────┼──┬──────┬─────┬───┬──────> time
 *       ×    ×      |  a      b     c   d
 *
 * To admit: pass from the head over what has expired, compare used + cost with the limit, append behind the newest.
 * A refusal for want of k units is over when the k-th oldest unit expires, and not before.
 *
 * With a resolution, stamps are rounded up to its ticks, and those of one tick are one, with a weight:
 *
 *     ──┬──────────┬──────────┬──────> time        [ (tick 1, 2 units) | (tick 2, 5 units) ]
 *       tick 0     tick 1     tick 2
 */

/** A refusal leaves up to this many expired stamps where they are. */
const leftBehind = 16

export interface SlotWindowsOptions {
  /** No call has a larger limit. */
  largestLimit: number
  windowMs: number
  /** Length of a tick, ms; 0 keeps all stamps apart. */
  resolutionMs: number
}

/** Where units were taken, so that they can be given back. */
export interface Charge {
  readonly slot: number
  readonly generation: number
  readonly stamp: number
  readonly cost: number
}

export class SlotWindows {
  readonly rings: StampRings
  readonly windowMs: number
  /** The latest time that was seen; Infinity once stamps have weights. Before it, only `take` knows what is right. */
  latest: number
  /** After units were taken: until nothing of their slot counts any more. */
  resetMs: number
  /** After units were refused: the slot that has too few. */
  refused = 0

  readonly #resolutionMs: number
  /** Time does not go back behind a stamp that was dropped. */
  #floor = -Infinity

  constructor({ largestLimit, windowMs, resolutionMs }: SlotWindowsOptions) {
    this.resetMs = windowMs
    this.windowMs = windowMs
    this.#resolutionMs = resolutionMs
    this.latest = resolutionMs > 0 ? Infinity : -Infinity
    const ticks = resolutionMs === 0 ? Infinity : Math.ceil(windowMs / resolutionMs) + 2
    this.rings = new StampRings(Math.min(largestLimit, ticks))
  }

  /** Whether a slot has nothing live; from then on, time does not go back to when it had. */
  isDead(slot: number, now: number): boolean {
    const newest = this.rings.newest(slot)
    if (newest > now) return false
    if (newest > this.#floor) this.#floor = newest
    return true
  }

  /** The oldest stamp of a slot that is live; -Infinity when none is. */
  oldest(slot: number, now: number): number {
    const { page, base, capacity, head, count } = this.rings.ringOf(slot)
    for (let i = 0; i < count; i++) {
      const stamp = page[base + wrap(head + i, capacity)]
      if (stamp > now) return stamp
    }
    return -Infinity
  }

  /** What is live of a slot, oldest first. */
  live(slot: number, now: number): [stamp: number, units: number][] {
    const { page, weights, base, capacity, head, count } = this.rings.ringOf(slot)
    const stamps: [number, number][] = []
    for (let i = 0; i < count; i++) {
      const at = base + wrap(head + i, capacity)
      if (page[at] > now) stamps.push([page[at], weights === undefined ? 1 : weights[at]])
    }
    return stamps
  }

  /** Puts a stamp behind the newest of a slot. */
  restore(slot: number, stamp: number, units: number): void {
    const { rings } = this
    if (units !== 1 || this.latest === Infinity) this.#weigh()
    const { head, count } = rings.ringOf(slot)
    const used = rings.unitsOf(slot)
    rings.append(slot, head, count, stamp)
    if (this.latest === Infinity) rings.charge(slot, used + units, units)
  }

  /**
   * Takes `cost` ≥ 1 units of a slot if they fit, and makes it the one used last: the answer is what is left then, else
   * -1, and `peek` knows why.
   */
  take(slot: number, limit: number, cost: number, calledAt: number): number {
    const { rings } = this
    if (cost !== 1 || this.latest === Infinity) this.#weigh()
    if (calledAt > this.latest) this.latest = calledAt
    const ring = rings.ringOf(slot)
    const { page, weights, base, capacity } = ring
    const newest = rings.newest(slot)
    const now = this.#timeAfter(newest, calledAt)
    let { head, count } = ring
    let used = rings.unitsOf(slot)
    while (count > 0 && page[base + head] <= now) {
      used -= weights === undefined ? 1 : weights[base + head]
      head = wrap(head + 1, capacity)
      count--
    }
    if (used + cost > limit) return this.refuse(slot, head, count, used, now)
    const stamp = Math.max(this.#stampAt(now), newest)
    if (weights === undefined || count === 0 || stamp > newest) rings.append(slot, head, count, stamp)
    else rings.keep(slot, head, count)
    if (weights !== undefined) rings.charge(slot, used + cost, cost)
    this.resetMs = stamp === calledAt + this.windowMs ? this.windowMs : until(stamp, calledAt)
    touch(rings.ints, slot)
    return limit - used - cost
  }

  /** Keeps nothing of a refusal, except that a long row of expired stamps is passed over once and not again. */
  refuse(slot: number, head: number, count: number, used: number, now: number): -1 {
    const { rings } = this
    this.refused = slot
    if (rings.countOf(slot) - count > leftBehind) {
      this.#floor = Math.max(this.#floor, now)
      rings.keep(slot, head, count)
      if (this.latest === Infinity) rings.charge(slot, used, 0)
    }
    return -1
  }

  /** What `take` would say, and when more will fit; changes nothing. */
  peek(slot: number, limit: number, cost: number, calledAt: number): RateLimitDecision {
    const ring = this.rings.ringOf(slot)
    const { page, weights, base, capacity } = ring
    let { head, count } = ring
    let used = this.rings.unitsOf(slot)
    const newest = count === 0 ? -Infinity : page[base + wrap(head + count - 1, capacity)]
    const now = this.#timeAfter(newest, calledAt)
    while (count > 0 && page[base + head] <= now) {
      used -= weights === undefined ? 1 : weights[base + head]
      head = wrap(head + 1, capacity)
      count--
    }
    // A limit that was lowered may be less than what is used already; nothing still fits then.
    const remaining = Math.max(0, limit - used)
    const resetMs = count === 0 ? 0 : until(newest, calledAt)
    if (used + cost <= limit || cost === 0) return decide(true, limit, remaining, 0, resetMs)
    if (cost > limit) return decide(false, limit, remaining, undefined, resetMs)
    const wanted = used + cost - limit
    let i = head
    if (weights === undefined) i = wrap(head + wanted - 1, capacity)
    else
      for (let freed = weights[base + i]; freed < wanted; freed += weights[base + i])
        i = wrap(i + 1, capacity)
    return decide(false, limit, remaining, until(page[base + i], calledAt), resetMs)
  }

  /** What a key without a slot is told. */
  peekEmpty(limit: number, cost: number): RateLimitDecision {
    return decide(cost <= limit, limit, limit, cost <= limit ? 0 : undefined, 0)
  }

  /** The charge that `take(slot, …, cost, …)` has just made. */
  lastCharge(slot: number, cost: number): Charge {
    return { slot, generation: this.rings.generationOf(slot), stamp: this.rings.newest(slot), cost }
  }

  /** Takes a charge back, unless its slot was given up since. True when the slot is empty now. */
  refund({ slot, generation, stamp, cost }: Charge): boolean {
    if (this.rings.generationOf(slot) !== generation) return false
    const { page, base, capacity, head, count } = this.rings.ringOf(slot)
    for (let i = count - 1; i >= 0; i--) {
      const found = page[base + wrap(head + i, capacity)]
      if (found > stamp) continue
      if (found === stamp) this.rings.takeOut(slot, i, cost)
      break
    }
    return this.rings.countOf(slot) === 0
  }

  /** Time as a slot sees it: it does not go back behind its newest stamp, nor behind what was dropped. */
  #timeAfter(newest: number, calledAt: number): number {
    const now = Math.max(calledAt, this.#floor)
    // A window that ended before the newest stamp would not see it: take the one that ends with it.
    return newest > this.#stampAt(now) ? Math.max(now, newest - this.windowMs - this.#resolutionMs) : now
  }

  /** When what is admitted now stops to count: never early, less than a tick late. */
  #stampAt(now: number): number {
    const end = now + this.windowMs
    const tick = this.#resolutionMs
    if (tick === 0) return end
    const rounded = Math.ceil(end / tick) * tick
    // The quotient is rounded: it may be a tick off to either side.
    if (rounded < end) return rounded + tick
    return rounded - tick < end ? rounded : rounded - tick
  }

  #weigh(): void {
    this.latest = Infinity
    this.rings.weigh()
  }
}
