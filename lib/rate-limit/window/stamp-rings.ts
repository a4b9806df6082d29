/** For each slot a ring of stamps, in its record or in the slab. What they mean is the business of `SlotWindows`. */
import {
  CAPACITY,
  COUNT,
  floatBits,
  GENERATION,
  HEAD,
  ownStamps,
  ringed,
  START,
  STATE,
  slotBits
} from './slot-records.ts'
import { grown, pageBits, pageMask, StampSlab } from './stamp-slab.ts'

/*
 *     ring          [ c | d |   |   | a | b ]     head = 4, count = 4, capacity = 6, oldest first: a b c d
 *                                     head
 *
 *     slot    … │ a │ b                                  two stamps: they are in the record itself
 *     slot    … │ start │ capacity │ head │ count        more: the record says where in the slab
 *                   └──> page, base
 */

/** Where the stamps of a slot are. Valid until the next one is added, to any slot. */
export interface Ring {
  readonly page: Float64Array
  /** Beside `page`; undefined while every stamp is one unit. */
  readonly weights: Float64Array | undefined
  readonly base: number
  readonly capacity: number
  readonly head: number
  readonly count: number
}

/** Slots of an empty limiter. */
const firstSlots = 4

/** Of the slot that was opened last. One count for all limiters: a charge from before a limiter was cleared is no slot's. */
let generation = 0

export class StampRings {
  /** The records, as in slot-records.ts: the same bytes twice. */
  floats = new Float64Array(firstSlots << floatBits)
  ints = new Int32Array(this.floats.buffer)
  /** The slab's pages. */
  readonly pages: Float64Array[]
  /**
   * Once stamps have weights, four numbers a slot: its units, and third and fourth the weights of its own two stamps.
   * Until then a slot's units are its stamps.
   */
  #weights: Float64Array | undefined
  readonly #slab: StampSlab

  /** @param largest stamps that a slot can come to have */
  constructor(largest: number) {
    this.#slab = new StampSlab(largest)
    this.pages = this.#slab.pages
  }

  get bytes(): number {
    return this.ints.byteLength + (this.#weights?.byteLength ?? 0) + this.#slab.bytes
  }

  get capacity(): number {
    return this.ints.length >> slotBits
  }

  /** Makes room for slots up to but not including `slots`. */
  grow(slots: number): void {
    this.floats = grown(this.floats, slots << floatBits)
    this.ints = new Int32Array(this.floats.buffer)
    if (this.#weights !== undefined) this.#weights = grown(this.#weights, slots << floatBits)
  }

  /** An empty ring for a slot that has none. */
  open(slot: number): void {
    const at = slot << slotBits
    generation = (generation + 1) & 0x7fffffff
    this.ints[at + GENERATION] = generation
    this.ints[at + STATE] = 0
    if (this.#weights !== undefined) this.#weights[slot << floatBits] = 0
  }

  /** Takes the ring from a slot. What was live in it is forgotten. */
  release(slot: number): void {
    const at = slot << slotBits
    this.#releaseRing(at)
    this.ints[at + STATE] = 0
    this.ints[at + GENERATION] = -1
  }

  ringOf(slot: number): Ring {
    const { ints } = this
    const at = slot << slotBits
    const state = ints[at + STATE]
    let page: Float64Array = this.floats
    let weights: Float64Array | undefined = this.#weights
    let base = (slot << floatBits) + 2
    let capacity = ownStamps
    let head = state >> 2
    let count = state & 3
    if (state >= ringed) {
      const start = ints[at + START]
      page = this.pages[start >>> pageBits]
      if (weights !== undefined) weights = this.#slab.weigh()[start >>> pageBits]
      base = start & pageMask
      capacity = ints[at + CAPACITY]
      head = ints[at + HEAD]
      count = ints[at + COUNT]
    }
    // One place that makes the object, so that the engine sees that it need not be made.
    return { page, weights, base, capacity, head, count }
  }

  /** Which charges are a slot's, and no longer when it was given up. */
  generationOf(slot: number): number {
    return slot < this.capacity ? this.ints[(slot << slotBits) + GENERATION] : -1
  }

  countOf(slot: number): number {
    const state = this.ints[(slot << slotBits) + STATE]
    return state < ringed ? state & 3 : this.ints[(slot << slotBits) + COUNT]
  }

  /** The newest stamp of a slot, live or not; -Infinity when there is none. */
  newest(slot: number): number {
    const { page, base, capacity, head, count } = this.ringOf(slot)
    return count === 0 ? -Infinity : page[base + wrap(head + count - 1, capacity)]
  }

  /** Units of a slot, live or not. */
  unitsOf(slot: number): number {
    return this.#weights === undefined ? this.countOf(slot) : this.#weights[slot << floatBits]
  }

  /** From here on stamps have weights; those that are there weigh one. */
  weigh(): void {
    if (this.#weights !== undefined) return
    this.#slab.weigh()
    const weights = new Float64Array(this.capacity << floatBits).fill(1)
    for (let slot = 0; slot < this.capacity; slot++) weights[slot << floatBits] = this.countOf(slot)
    this.#weights = weights
  }

  /** Drops what is before the head or behind `count`. The units of a slot are said apart, when stamps have weights. */
  keep(slot: number, head: number, count: number): void {
    const at = slot << slotBits
    if (this.ints[at + STATE] < ringed) this.ints[at + STATE] = (head << 2) | count
    else {
      this.ints[at + HEAD] = head
      this.ints[at + COUNT] = count
    }
  }

  /** Puts a stamp behind the `count` from the head, in a larger or smaller ring when this one does not suit. */
  append(slot: number, head: number, count: number, stamp: number): void {
    const at = slot << slotBits
    const size = this.ints[at + STATE] - ringed
    const capacity = size < 0 ? ownStamps : this.ints[at + CAPACITY]
    this.keep(slot, head, count)
    if (count === capacity) this.#move(slot, size < 0 ? 0 : size + 1)
    else if (size >= 0 && count < (capacity + 4) >> 3) this.#move(slot, size - 2)
    const ring = this.ringOf(slot)
    const end = ring.base + wrap(ring.head + count, ring.capacity)
    ring.page[end] = stamp
    if (ring.weights !== undefined) ring.weights[end] = 0
    this.keep(slot, ring.head, count + 1)
  }

  /** Sets the units of a slot, `cost` of which are new and go to its newest stamp. Only once stamps have weights. */
  charge(slot: number, units: number, cost: number): void {
    const { weights, base, capacity, head, count } = this.ringOf(slot)
    ;(this.#weights as Float64Array)[slot << floatBits] = units
    if (cost > 0) (weights as Float64Array)[base + wrap(head + count - 1, capacity)] += cost
  }

  /** Takes `cost` units from the i-th stamp; the order of the others stays. */
  takeOut(slot: number, i: number, cost: number): void {
    const { page, weights, base, capacity, head, count } = this.ringOf(slot)
    if (weights !== undefined) {
      ;(this.#weights as Float64Array)[slot << floatBits] -= cost
      const taken = base + wrap(head + i, capacity)
      weights[taken] -= cost
      if (weights[taken] > 0) return
    }
    for (let j = i; j < count - 1; j++) {
      const to = base + wrap(head + j, capacity)
      const from = base + wrap(head + j + 1, capacity)
      page[to] = page[from]
      if (weights !== undefined) weights[to] = weights[from]
    }
    this.keep(slot, head, count - 1)
  }

  /** Moves the stamps of a slot to a ring of another size, oldest first. A negative size is its own record. */
  #move(slot: number, size: number): void {
    const at = slot << slotBits
    if (size < 0) {
      // The two smallest rings are left when they are empty, and not before: there is nothing to move.
      this.#releaseRing(at)
      this.ints[at + STATE] = 0
      return
    }
    const start = this.#slab.allocate(size)
    // Only now: the allocation may have replaced the page that the ring is on.
    const from = this.ringOf(slot)
    const stamps = this.pages[start >>> pageBits]
    const weights = this.#slab.weights?.[start >>> pageBits]
    const base = start & pageMask
    for (let i = 0; i < from.count; i++) {
      const old = from.base + wrap(from.head + i, from.capacity)
      stamps[base + i] = from.page[old]
      if (weights !== undefined) weights[base + i] = (from.weights as Float64Array)[old]
    }
    this.#releaseRing(at)
    this.ints[at + STATE] = ringed + size
    this.ints[at + START] = start
    this.ints[at + CAPACITY] = this.#slab.capacities[size]
    this.ints[at + HEAD] = 0
    this.ints[at + COUNT] = from.count
  }

  #releaseRing(at: number): void {
    const size = this.ints[at + STATE] - ringed
    if (size >= 0) this.#slab.release(this.ints[at + START], size)
  }
}

export function wrap(index: number, capacity: number): number {
  return index < capacity ? index : index - capacity
}
