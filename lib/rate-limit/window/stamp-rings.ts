/** The exact sliding window: for each slot a ring of the stamps that still count. */
import { decide, type RateLimitDecision } from '../rate-limit-decision.ts'
import { CAPACITY, COUNT, GENERATION, HEAD, SIZE, START, slotBits, touch } from './slot-list.ts'
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
 *     slot    start │ capacity │ head │ count │ …
 *               └──> its ring in the slab
 *
 * With a resolution, stamps are rounded up to its ticks, and those of one tick are one, with a weight:
 *
 *     ──┬──────────┬──────────┬──────> time        [ (tick 1, 2 units) | (tick 2, 5 units) ]
 *       tick 0     tick 1     tick 2
 */

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
  readonly windowMs: number
  /** Eight fields a slot, as in slot-list.ts. */
  slots = new Int32Array(0)
  /** The slab's pages. */
  pages: Float64Array[]
  /** The latest time that was seen; Infinity once stamps have weights. Before it, only `take` knows what is right. */
  latest: number
  /** After units were taken: until nothing of their slot counts any more. */
  resetMs: number

  /** After units were refused: the slot that has too few. */
  refused = 0

  readonly #resolutionMs: number
  /** Time does not go back behind a stamp that was dropped. */
  #floor = -Infinity
  #slab: StampSlab
  /** Units by slot, once stamps have weights; until then a slot's units are its stamps. */
  #used: Float64Array | undefined = undefined
  #generation = 0

  constructor({ largestLimit, windowMs, resolutionMs }: StampRingsOptions) {
    this.resetMs = windowMs
    this.windowMs = windowMs
    this.#resolutionMs = resolutionMs
    this.latest = resolutionMs > 0 ? Infinity : -Infinity
    const ticks = resolutionMs === 0 ? Infinity : Math.ceil(windowMs / resolutionMs) + 2
    this.#slab = new StampSlab(Math.min(largestLimit, ticks))
    this.pages = this.#slab.pages
  }

  get bytes(): number {
    return this.slots.byteLength + (this.#used?.byteLength ?? 0) + this.#slab.bytes
  }

  get capacity(): number {
    return this.slots.length >> slotBits
  }

  /** Makes room for slots up to but not including `slots`. */
  grow(slots: number): void {
    const grown = new Int32Array(slots << slotBits)
    grown.set(this.slots)
    this.slots = grown
    if (this.#used === undefined) return
    const used = new Float64Array(slots)
    used.set(this.#used)
    this.#used = used
  }

  /** An empty ring for a slot that has none. */
  open(slot: number): void {
    const slots = this.slots
    const at = slot << slotBits
    this.#generation = (this.#generation + 1) & 0x7fffffff
    slots[at + START] = this.#slab.allocate(0)
    slots[at + CAPACITY] = this.#slab.capacities[0]
    slots[at + HEAD] = 0
    slots[at + COUNT] = 0
    slots[at + SIZE] = 0
    slots[at + GENERATION] = this.#generation
    if (this.#used !== undefined) this.#used[slot] = 0
  }

  /** Takes the ring from a slot. What was live in it is forgotten. */
  release(slot: number): void {
    const slots = this.slots
    const at = slot << slotBits
    this.#slab.release(slots[at + START], slots[at + SIZE])
    slots[at + COUNT] = 0
    slots[at + GENERATION] = -1
  }

  /** Forgets all slots; `grow` makes room for new ones. */
  clear(): void {
    this.slots = new Int32Array(0)
    this.#used = undefined
    this.latest = this.#resolutionMs > 0 ? Infinity : -Infinity
    this.#slab = new StampSlab(this.#slab.largestRing)
    this.pages = this.#slab.pages
    this.#floor = -Infinity
  }

  /** The newest stamp of a slot, live or not; -Infinity when there is none. */
  newest(slot: number): number {
    const slots = this.slots
    const at = slot << slotBits
    const count = slots[at + COUNT]
    if (count === 0) return -Infinity
    const start = slots[at + START]
    const last = wrap(slots[at + HEAD] + count - 1, slots[at + CAPACITY])
    return this.pages[start >>> pageBits][(start & pageMask) + last]
  }

  /** The oldest stamp of a slot that is live; -Infinity when none is. */
  oldest(slot: number, now: number): number {
    const { page, base, capacity } = this.#ringOf(slot)
    const head = this.slots[(slot << slotBits) + HEAD]
    const count = this.slots[(slot << slotBits) + COUNT]
    for (let i = 0; i < count; i++) {
      const stamp = page[base + wrap(head + i, capacity)]
      if (stamp > now) return stamp
    }
    return -Infinity
  }

  /** What is live of a slot, oldest first. */
  live(slot: number, now: number): [stamp: number, units: number][] {
    const { page, weights, base, capacity } = this.#ringOf(slot)
    const head = this.slots[(slot << slotBits) + HEAD]
    const stamps: [number, number][] = []
    for (let i = 0; i < this.slots[(slot << slotBits) + COUNT]; i++) {
      const at = base + wrap(head + i, capacity)
      if (page[at] > now) stamps.push([page[at], weights === undefined ? 1 : weights[at]])
    }
    return stamps
  }

  /** Puts a stamp behind the newest of a slot. */
  restore(slot: number, stamp: number, units: number): void {
    if (units !== 1 || this.latest === Infinity) this.#weigh()
    const count = this.slots[(slot << slotBits) + COUNT]++
    this.append(slot, count, stamp)
    if (this.#used === undefined) return
    this.#used[slot] += units
    this.#addWeight(slot, units)
  }

  /** Whether a slot has nothing live; from then on, time does not go back to when it had. */
  isDead(slot: number, now: number): boolean {
    const newest = this.newest(slot)
    if (newest > now) return false
    if (newest > this.#floor) this.#floor = newest
    return true
  }

  /**
   * Takes `cost` ≥ 1 units of a slot if they fit, and makes it the one used last: the answer is what is left then, else
   * -1, and `peek` knows why.
   */
  take(slot: number, limit: number, cost: number, calledAt: number): number {
    if (cost !== 1 || this.latest === Infinity) this.#weigh()
    if (calledAt > this.latest) this.latest = calledAt
    const at = slot << slotBits
    const { page, weights, base, capacity } = this.#ringOf(slot)
    const newest = this.newest(slot)
    const now = this.#timeAfter(newest, calledAt)
    let head = this.slots[at + HEAD]
    let count = this.slots[at + COUNT]
    let used = this.#used === undefined ? count : this.#used[slot]
    while (count > 0 && page[base + head] <= now) {
      used -= weights === undefined ? 1 : weights[base + head]
      head = wrap(head + 1, capacity)
      count--
    }
    if (used + cost > limit) return this.refuse(slot, head, count, used, now)
    const stamp = Math.max(this.#stampAt(now), newest)
    this.slots[at + HEAD] = head
    this.slots[at + COUNT] = count
    if (weights === undefined || count === 0 || stamp > newest) {
      this.slots[at + COUNT] = count + 1
      this.append(slot, count, stamp)
    }
    if (this.#used !== undefined) {
      this.#used[slot] = used + cost
      this.#addWeight(slot, cost)
    }
    this.resetMs = stamp === calledAt + this.windowMs ? this.windowMs : until(stamp, calledAt)
    touch(this.slots, slot)
    return limit - used - cost
  }

  /** What `take` would say, and when more will fit; changes nothing. */
  peek(slot: number, limit: number, cost: number, calledAt: number): RateLimitDecision {
    const slots = this.slots
    const at = slot << slotBits
    const start = slots[at + START]
    const capacity = slots[at + CAPACITY]
    const page = this.pages[start >>> pageBits]
    const weights = this.#slab.weights?.[start >>> pageBits]
    const base = start & pageMask
    let head = slots[at + HEAD]
    let count = slots[at + COUNT]
    let used = this.#used === undefined ? count : this.#used[slot]
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
    const generation = this.slots[(slot << slotBits) + GENERATION]
    return { slot, generation, stamp: this.newest(slot), cost }
  }

  /** Takes a charge back, unless its slot was given up since. True when the slot is empty now. */
  refund({ slot, generation, stamp, cost }: Charge): boolean {
    const at = slot << slotBits
    if (at >= this.slots.length || this.slots[at + GENERATION] !== generation) return false
    const head = this.slots[at + HEAD]
    const { page, base, capacity } = this.#ringOf(slot)
    for (let i = this.slots[at + COUNT] - 1; i >= 0; i--) {
      const found = page[base + wrap(head + i, capacity)]
      if (found > stamp) continue
      if (found === stamp) this.#takeOut(slot, i, cost)
      break
    }
    return this.slots[at + COUNT] === 0
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

  /** Keeps nothing of a refusal, except that a long row of expired stamps is passed over once and not again. */
  refuse(slot: number, head: number, count: number, used: number, now: number): -1 {
    this.refused = slot
    const at = slot << slotBits
    if (this.slots[at + COUNT] - count > leftBehind) {
      this.#floor = Math.max(this.#floor, now)
      this.slots[at + HEAD] = head
      this.slots[at + COUNT] = count
      if (this.#used !== undefined) this.#used[slot] = used
    }
    return -1
  }

  /** Puts a stamp behind the `count` newest, in a larger or smaller ring when this one does not suit. */
  append(slot: number, count: number, stamp: number): void {
    const slots = this.slots
    const at = slot << slotBits
    if (count === slots[at + CAPACITY]) this.#resize(slot, count, slots[at + SIZE] + 1)
    else if (count < slots[at + CAPACITY] >> 3) this.#resize(slot, count, slots[at + SIZE] - 2)
    const start = slots[at + START]
    const end = (start & pageMask) + wrap(slots[at + HEAD] + count, slots[at + CAPACITY])
    this.pages[start >>> pageBits][end] = stamp
    if (this.#used !== undefined) this.#slab.weigh()[start >>> pageBits][end] = 0
  }

  /** Adds to the weight of the newest stamp. */
  #addWeight(slot: number, cost: number): void {
    const at = slot << slotBits
    const start = this.slots[at + START]
    const last = wrap(this.slots[at + HEAD] + this.slots[at + COUNT] - 1, this.slots[at + CAPACITY])
    this.#slab.weigh()[start >>> pageBits][(start & pageMask) + last] += cost
  }

  /** From here on stamps have weights; those that are there weigh one. */
  #weigh(): Float64Array {
    if (this.#used === undefined) {
      this.latest = Infinity
      this.#slab.weigh()
      this.#used = new Float64Array(this.capacity)
      for (let slot = 0; slot < this.capacity; slot++)
        this.#used[slot] = this.slots[(slot << slotBits) + COUNT]
    }
    return this.#used
  }

  /** Moves what is live to a ring of another size, oldest first. */
  #resize(slot: number, count: number, size: number): void {
    const slots = this.slots
    const at = slot << slotBits
    const head = slots[at + HEAD]
    const start = this.#slab.allocate(size)
    // Only now: the allocation may have replaced the page that the ring is on.
    const from = this.#ringOf(slot)
    const page = this.pages[start >>> pageBits]
    const weights = this.#slab.weights?.[start >>> pageBits]
    const base = start & pageMask
    for (let i = 0; i < count; i++) {
      const old = from.base + wrap(head + i, from.capacity)
      page[base + i] = from.page[old]
      if (weights !== undefined) weights[base + i] = (from.weights as Float64Array)[old]
    }
    this.#slab.release(slots[at + START], slots[at + SIZE])
    slots[at + START] = start
    slots[at + CAPACITY] = this.#slab.capacities[size]
    slots[at + SIZE] = size
    slots[at + HEAD] = 0
  }

  /** Takes `cost` units from the i-th stamp; the order of the others stays. */
  #takeOut(slot: number, i: number, cost: number): void {
    const slots = this.slots
    const at = slot << slotBits
    const head = slots[at + HEAD]
    const { page, weights, base, capacity } = this.#ringOf(slot)
    if (this.#used !== undefined) this.#used[slot] -= cost
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
    const start = this.slots[(slot << slotBits) + START]
    return {
      page: this.pages[start >>> pageBits],
      weights: this.#slab.weights?.[start >>> pageBits],
      base: start & pageMask,
      capacity: this.slots[(slot << slotBits) + CAPACITY]
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

/** The time from `now` to `stamp`, such that `now` plus it is not before `stamp` in floating point either. */
function until(stamp: number, now: number): number {
  let left = stamp - now
  while (now + left < stamp) left += stamp - (now + left)
  return left
}
