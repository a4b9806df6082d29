/** The exact sliding window: for each slot a ring of the stamps that still count. */
import type { RateLimitDecision } from './rate-limit-decision.ts'
import { pageBits, pageMask, StampSlab } from './stamp-slab.ts'

/*
 * A stamp is the instant at which what was admitted stops to count: t + W. Oldest first, a ring is what is live.
 *
 *                  now
 *        expired    |   live: used units                          limit 5, used 4: one more fits
 *     ──┬────┬──────┼──┬──────┬─────┬───┬──────> time
 *       ×    ×      |  a      b     c   d
 *
 *     ring          [ c | d |   |   | a | b ]     head = 4, count = 4, capacity = 6
 *                                     head
 *
 * To admit: pass from the head over what has expired, compare used + cost with the limit, append behind the newest.
 * A refusal for want of k units is over when the k-th oldest unit expires, and not before.
 *
 *     slot, 24 bytes    used (f64) │ start │ generation, size │ head │ count
 *                                      └──> its ring in the slab
 *
 * With a resolution, stamps are rounded up to its ticks, and those of one tick are one, with a weight:
 *
 *     ──┬──────────┬──────────┬──────> time        [ (tick 1, 2 units) | (tick 2, 5 units) ]
 *       tick 0     tick 1     tick 2
 */

/** A slot, as 32-bit fields; `used` takes the first two. */
const slotFields = 6
const usedFields = slotFields / 2
const START = 2
/** Size class of the ring in the low bits; above it the generation, by which a holder sees that the slot is another's now. */
const RING = 3
const HEAD = 4
const COUNT = 5
const sizeBits = 5
const sizeMask = (1 << sizeBits) - 1
const generationMask = (1 << 26) - 1

/** A refusal leaves up to this many expired stamps where they are. */
const leftBehind = 16

export interface StampRingsOptions {
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

export class StampRings {
  readonly #windowMs: number
  readonly #resolutionMs: number
  #slots = new Int32Array(0)
  /** The same memory as `#slots`. */
  #used = new Float64Array(0)
  #slab: StampSlab
  #generation = 0
  /** Time does not go back behind a stamp that was dropped. */
  #floor = -Infinity

  constructor({ largestLimit, windowMs, resolutionMs }: StampRingsOptions) {
    this.#windowMs = windowMs
    this.#resolutionMs = resolutionMs
    const ticks = resolutionMs === 0 ? Infinity : Math.ceil(windowMs / resolutionMs) + 2
    this.#slab = new StampSlab(Math.min(largestLimit, ticks))
  }

  get bytes(): number {
    return this.#slots.byteLength + this.#slab.bytes
  }

  /** Makes room for slots up to but not including `slots`. */
  grow(slots: number): void {
    const grown = new Int32Array(slots * slotFields)
    grown.set(this.#slots)
    this.#slots = grown
    this.#used = new Float64Array(grown.buffer)
  }

  /** An empty ring for a slot that has none. */
  open(slot: number): void {
    const slots = this.#slots
    const at = slot * slotFields
    this.#generation = (this.#generation + 1) & generationMask
    this.#used[slot * usedFields] = 0
    slots[at + START] = this.#slab.allocate(0)
    slots[at + RING] = this.#generation << sizeBits
    slots[at + HEAD] = 0
    slots[at + COUNT] = 0
  }

  /** Takes the ring from a slot. What was live in it is forgotten. */
  release(slot: number): void {
    const slots = this.#slots
    const at = slot * slotFields
    this.#slab.release(slots[at + START], slots[at + RING] & sizeMask)
    slots[at + COUNT] = 0
    slots[at + RING] = -1
  }

  /** Forgets all slots; `grow` makes room for new ones. */
  clear(): void {
    this.#slots = new Int32Array(0)
    this.#used = new Float64Array(0)
    this.#slab = new StampSlab(this.#slab.largestRing)
    this.#floor = -Infinity
  }

  /** The newest stamp of a slot, live or not; -Infinity when there is none. */
  newest(slot: number): number {
    const slots = this.#slots
    const at = slot * slotFields
    const count = slots[at + COUNT]
    if (count === 0) return -Infinity
    const start = slots[at + START]
    const last = wrap(slots[at + HEAD] + count - 1, this.#slab.capacities[slots[at + RING] & sizeMask])
    return this.#slab.pages[start >>> pageBits][(start & pageMask) + last]
  }

  /** Whether a slot has nothing live; from then on, time does not go back to when it had. */
  isDead(slot: number, now: number): boolean {
    const newest = this.newest(slot)
    if (newest > now) return false
    if (newest > this.#floor) this.#floor = newest
    return true
  }

  /** @param cost an integer ≥ 1 */
  consume(slot: number, limit: number, cost: number, calledAt: number): RateLimitDecision {
    const at = slot * slotFields
    const slots = this.#slots
    const start = slots[at + START]
    const capacity = this.#slab.capacities[slots[at + RING] & sizeMask]
    const page = this.#slab.pages[start >>> pageBits]
    const weights = this.#slab.weights?.[start >>> pageBits]
    const base = start & pageMask
    let head = slots[at + HEAD]
    let count = slots[at + COUNT]
    let used = this.#used[slot * usedFields]

    const newest = count === 0 ? -Infinity : page[base + wrap(head + count - 1, capacity)]
    const now = this.#timeAfter(newest, calledAt)
    const known = count
    while (count > 0 && page[base + head] <= now) {
      used -= weights === undefined ? 1 : weights[base + head]
      head = wrap(head + 1, capacity)
      count--
    }
    if (used + cost > limit) {
      if (known - count > leftBehind) {
        this.#floor = now
        this.#keep(slot, head, count, used)
      }
      return this.#refuse(slot, head, count, used, limit, cost, calledAt)
    }
    const stamp = Math.max(this.#stampAt(now), newest)
    this.#keep(slot, head, count, used + cost)
    if (cost === 1 && weights === undefined && this.#resolutionMs === 0) this.#append(slot, stamp)
    else this.#appendWeight(slot, stamp, cost)
    const resetMs = stamp === calledAt + this.#windowMs ? this.#windowMs : until(stamp, calledAt)
    return decision(true, limit, limit - used - cost, 0, resetMs)
  }

  /** What `consume` would answer; changes nothing. */
  peek(slot: number, limit: number, cost: number, calledAt: number): RateLimitDecision {
    const { page, weights, base, capacity } = this.#ringOf(slot)
    let head = this.#slots[slot * slotFields + HEAD]
    let count = this.#slots[slot * slotFields + COUNT]
    let used = this.#used[slot * usedFields]
    const newest = this.newest(slot)
    const now = this.#timeAfter(newest, calledAt)
    while (count > 0 && page[base + head] <= now) {
      used -= weights === undefined ? 1 : weights[base + head]
      head = wrap(head + 1, capacity)
      count--
    }
    if (used + cost > limit) return this.#refuse(slot, head, count, used, limit, cost, calledAt)
    return decision(true, limit, limit - used, 0, count === 0 ? 0 : until(newest, calledAt))
  }

  /** What a key without a slot is told. */
  peekEmpty(limit: number, cost: number): RateLimitDecision {
    return decision(cost <= limit, limit, limit, cost <= limit ? 0 : undefined, 0)
  }

  /** The oldest stamp of a slot that is live; -Infinity when none is. */
  oldest(slot: number, now: number): number {
    const { page, base, capacity } = this.#ringOf(slot)
    const head = this.#slots[slot * slotFields + HEAD]
    const count = this.#slots[slot * slotFields + COUNT]
    for (let i = 0; i < count; i++) {
      const stamp = page[base + wrap(head + i, capacity)]
      if (stamp > now) return stamp
    }
    return -Infinity
  }

  /** The charge that `consume(slot, cost, …)` has just made. */
  lastCharge(slot: number, cost: number): Charge {
    const generation = this.#slots[slot * slotFields + RING] >>> sizeBits
    return { slot, generation, stamp: this.newest(slot), cost }
  }

  /** Takes a charge back, unless its slot was given up since. True when the slot is empty now. */
  refund({ slot, generation, stamp, cost }: Charge): boolean {
    const at = slot * slotFields
    if (this.#slots[at + RING] >>> sizeBits !== generation) return false
    const head = this.#slots[at + HEAD]
    const count = this.#slots[at + COUNT]
    const { page, base, capacity } = this.#ringOf(slot)
    for (let i = count - 1; i >= 0; i--) {
      const found = page[base + wrap(head + i, capacity)]
      if (found > stamp) continue
      if (found === stamp) this.#takeOut(slot, i, cost)
      break
    }
    return this.#slots[at + COUNT] === 0
  }

  /** Time as a slot sees it: it does not go back behind its newest stamp, nor behind what was dropped. */
  #timeAfter(newest: number, calledAt: number): number {
    const now = Math.max(calledAt, this.#floor)
    // A window that ended before the newest stamp would not see it: take the one that ends with it.
    return newest > this.#stampAt(now) ? Math.max(now, newest - this.#windowMs - this.#resolutionMs) : now
  }

  /** When what is admitted now stops to count: never early, less than a tick late. */
  #stampAt(now: number): number {
    const end = now + this.#windowMs
    const tick = this.#resolutionMs
    if (tick === 0) return end
    const rounded = Math.ceil(end / tick) * tick
    return rounded < end ? rounded + tick : rounded
  }

  #keep(slot: number, head: number, count: number, used: number): void {
    const at = slot * slotFields
    this.#slots[at + HEAD] = head
    this.#slots[at + COUNT] = count
    this.#used[slot * usedFields] = used
  }

  #refuse(
    slot: number,
    head: number,
    count: number,
    used: number,
    limit: number,
    cost: number,
    calledAt: number
  ): RateLimitDecision {
    const remaining = Math.max(0, limit - used)
    const resetMs = count === 0 ? 0 : until(this.newest(slot), calledAt)
    if (cost > limit) return decision(false, limit, remaining, undefined, resetMs)
    const { page, weights, base, capacity } = this.#ringOf(slot)
    const wanted = used + cost - limit
    let i = head
    if (weights === undefined) i = wrap(head + wanted - 1, capacity)
    else
      for (let freed = weights[base + i]; freed < wanted; freed += weights[base + i])
        i = wrap(i + 1, capacity)
    return decision(false, limit, remaining, until(page[base + i], calledAt), resetMs)
  }

  #append(slot: number, stamp: number): void {
    const slots = this.#slots
    const at = slot * slotFields
    const count = slots[at + COUNT]
    const size = slots[at + RING] & sizeMask
    let capacity = this.#slab.capacities[size]
    if (count === capacity) capacity = this.#resize(slot, size + 1)
    else if (size > 1 && count < capacity >> 3) capacity = this.#resize(slot, size - 2)
    const start = slots[at + START]
    const end = wrap(slots[at + HEAD] + count, capacity)
    this.#slab.pages[start >>> pageBits][(start & pageMask) + end] = stamp
    slots[at + COUNT] = count + 1
  }

  #appendWeight(slot: number, stamp: number, cost: number): void {
    this.#slab.weigh()
    const at = slot * slotFields
    const joins = this.#slots[at + COUNT] > 0 && this.newest(slot) === stamp
    if (!joins) this.#append(slot, stamp)
    const { weights, base, capacity } = this.#ringOf(slot)
    const last = base + wrap(this.#slots[at + HEAD] + this.#slots[at + COUNT] - 1, capacity)
    const pageWeights = weights as Float64Array
    pageWeights[last] = joins ? pageWeights[last] + cost : cost
  }

  /** Moves what is live to a ring of another size, oldest first; its capacity. */
  #resize(slot: number, size: number): number {
    const slots = this.#slots
    const at = slot * slotFields
    const from = this.#ringOf(slot)
    const head = slots[at + HEAD]
    const start = this.#slab.allocate(size)
    const page = this.#slab.pages[start >>> pageBits]
    const weights = this.#slab.weights?.[start >>> pageBits]
    const base = start & pageMask
    // The allocation may have moved the page that the ring is on.
    const source = this.#ringOf(slot)
    for (let i = 0; i < slots[at + COUNT]; i++) {
      const old = from.base + wrap(head + i, from.capacity)
      page[base + i] = source.page[old]
      if (weights !== undefined) weights[base + i] = source.weights?.[old] as number
    }
    this.#slab.release(slots[at + START], slots[at + RING] & sizeMask)
    slots[at + START] = start
    slots[at + RING] = (slots[at + RING] & ~sizeMask) | size
    slots[at + HEAD] = 0
    return this.#slab.capacities[size]
  }

  /** Takes `cost` units from the i-th stamp; the order of the others stays. */
  #takeOut(slot: number, i: number, cost: number): void {
    const slots = this.#slots
    const at = slot * slotFields
    const head = slots[at + HEAD]
    const { page, weights, base, capacity } = this.#ringOf(slot)
    this.#used[slot * usedFields] -= cost
    const taken = base + wrap(head + i, capacity)
    if (weights !== undefined) {
      weights[taken] -= cost
      if (weights[taken] > 0) return
    }
    const last = slots[at + COUNT] - 1
    for (let j = i; j < last; j++) {
      const to = base + wrap(head + j, capacity)
      const from = base + wrap(head + j + 1, capacity)
      page[to] = page[from]
      if (weights !== undefined) weights[to] = weights[from]
    }
    slots[at + COUNT] = last
  }

  #ringOf(slot: number): Ring {
    const start = this.#slots[slot * slotFields + START]
    return {
      page: this.#slab.pages[start >>> pageBits],
      weights: this.#slab.weights?.[start >>> pageBits],
      base: start & pageMask,
      capacity: this.#slab.capacities[this.#slots[slot * slotFields + RING] & sizeMask]
    }
  }
}

interface Ring {
  readonly page: Float64Array
  readonly weights: Float64Array | undefined
  readonly base: number
  readonly capacity: number
}

function wrap(index: number, capacity: number): number {
  return index < capacity ? index : index - capacity
}

/** The one place where decisions are made, so that all have one shape. */
function decision(
  allowed: boolean,
  limit: number,
  remaining: number,
  retryAfterMs: number | undefined,
  resetMs: number
): RateLimitDecision {
  return { allowed, limit, remaining, retryAfterMs, resetMs }
}

/** The time from `now` to `stamp`, such that `now` plus it is not before `stamp` in floating point either. */
function until(stamp: number, now: number): number {
  let left = stamp - now
  while (now + left < stamp) left += stamp - (now + left)
  return left
}
