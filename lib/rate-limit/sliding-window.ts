/** Exact sliding windows for a bounded number of keys. */
import { createHash } from 'node:crypto'
import type { RateLimitDecision } from './rate-limit-decision.ts'
import { type Charge, StampRings, type StampRingsOptions } from './stamp-rings.ts'

/*
 * All keys that have a slot are one list, in order of their last stamp. Slot 0 is both its ends:
 *
 *     0 ⇄ idle longest ⇄ … ⇄ used just now ⇄ 0
 *
 * So the first key of the list is the first to be dead, and when it is not dead, none is.
 *
 *     fresh key ──> room, or the first of the list is dead? ──yes──> a slot of its own
 *                                                  └──no──> the overflow slot, which all such keys share;
 *                                                           they stay there until their last stamp in it expires
 */
const OLDER = 0
const NEWER = 1

/** Slots of an empty limiter. */
const firstSlots = 4

/** Keys up to this length are kept as they are. A longer one becomes a digest that is longer than any of these. */
const longestKey = 128

export interface SlidingWindowOptions extends StampRingsOptions {
  maxKeys: number
}

export interface SlidingWindowStats {
  /** Keys that are remembered. */
  readonly keys: number
  /** Dead keys whose place was given to others. */
  readonly reclaimed: number
  /** Decisions that the shared overflow window made. */
  readonly overflowed: number
  /** Bytes of all slots and rings; the table of keys comes on top. */
  readonly bytes: number
}

export class SlidingWindow {
  readonly #options: SlidingWindowOptions
  readonly #slotOf = new Map<string, number>()
  readonly #rings: StampRings
  /** By slot. */
  #keys: string[] = ['']
  #list = new Int32Array(2 * firstSlots)
  /** The number of slots that were ever in use, and the first of those that are free again (a list through NEWER). */
  #slots = 1
  #freeSlot = 0
  #overflowSlot = 0
  /** Keys with stamps in the overflow window, and the last of these, oldest first: never more than `limit`. */
  readonly #overflowKeys = new Map<string, number>()
  #reclaimed = 0
  #overflowed = 0

  constructor(options: SlidingWindowOptions) {
    this.#options = options
    this.#rings = new StampRings(options)
    this.#rings.grow(firstSlots)
  }

  get stats(): SlidingWindowStats {
    return {
      keys: this.#slotOf.size,
      reclaimed: this.#reclaimed,
      overflowed: this.#overflowed,
      bytes: this.#list.byteLength + this.#rings.bytes
    }
  }

  /**
   * The arguments are checked by the caller.
   * @param limit units that the window holds for this call; at most `largestLimit`
   * @param cost an integer ≥ 1
   */
  consume(identifier: string, limit: number, cost: number, now: number): RateLimitDecision {
    const key = keyOf(identifier)
    const slot = this.#slotOf.get(key)
    if (slot === undefined) return this.#consumeFresh(key, limit, cost, now)
    const decision = this.#rings.consume(slot, limit, cost, now)
    if (decision.allowed && this.#list[OLDER] !== slot) {
      this.#unlink(slot)
      this.#linkNewest(slot)
    }
    return decision
  }

  /** What `consume` would answer; changes nothing. */
  peek(identifier: string, limit: number, cost: number, now: number): RateLimitDecision {
    return this.#peekKey(keyOf(identifier), limit, cost, now)
  }

  /** The time until the next unit of a key is free; undefined when all are. */
  nextUnitMs(identifier: string, now: number): number | undefined {
    const oldest = this.#rings.oldest(this.#slotOf.get(keyOf(identifier)) ?? this.#overflowSlot, now)
    return oldest === -Infinity ? undefined : oldest - now
  }

  /** When the last thing that this key has taken stops to count; -Infinity when it has taken nothing. */
  lastStamp(identifier: string): number {
    const key = keyOf(identifier)
    const slot = this.#slotOf.get(key)
    return slot === undefined ? (this.#overflowKeys.get(key) ?? -Infinity) : this.#rings.newest(slot)
  }

  /** What `consume(identifier, …, cost, …)` has just taken. */
  lastCharge(identifier: string, cost: number): Charge {
    return this.#rings.lastCharge(this.#slotOf.get(keyOf(identifier)) ?? this.#overflowSlot, cost)
  }

  /** Gives a charge back, once: not after its window, nor after a reset of its key. */
  refund(charge: Charge): void {
    if (this.#rings.refund(charge) && charge.slot !== this.#overflowSlot) this.#close(charge.slot)
  }

  reset(identifier: string): void {
    const key = keyOf(identifier)
    const slot = this.#slotOf.get(key)
    if (slot !== undefined) this.#close(slot)
    // What it took from the overflow window was never its own; that stays.
    this.#overflowKeys.delete(key)
  }

  clear(): void {
    this.#slotOf.clear()
    this.#overflowKeys.clear()
    this.#keys = ['']
    this.#list = new Int32Array(2 * firstSlots)
    this.#rings.clear()
    this.#rings.grow(firstSlots)
    this.#slots = 1
    this.#freeSlot = 0
    this.#overflowSlot = 0
  }

  #peekKey(key: string, limit: number, cost: number, now: number): RateLimitDecision {
    const slot = this.#slotOf.get(key)
    if (slot !== undefined) return this.#rings.peek(slot, limit, cost, now)
    const oldest = this.#list[NEWER]
    const overflows =
      (this.#overflowKeys.get(key) ?? -Infinity) > now ||
      (this.#slotOf.size >= this.#options.maxKeys && this.#rings.newest(oldest) > now)
    return overflows && this.#overflowSlot !== 0
      ? this.#rings.peek(this.#overflowSlot, limit, cost, now)
      : this.#rings.peekEmpty(limit, cost)
  }

  #consumeFresh(key: string, limit: number, cost: number, now: number): RateLimitDecision {
    if (cost > limit) return this.#peekKey(key, limit, cost, now)
    const overflowed = this.#overflowKeys.get(key)
    if (overflowed !== undefined && overflowed > now) return this.#consumeOverflow(key, limit, cost, now)
    this.#reclaim(now)
    if (this.#slotOf.size >= this.#options.maxKeys) return this.#consumeOverflow(key, limit, cost, now)
    this.#overflowKeys.delete(key)
    const slot = this.#openSlot()
    this.#keys[slot] = key
    this.#slotOf.set(key, slot)
    this.#linkNewest(slot)
    return this.#rings.consume(slot, limit, cost, now)
  }

  /** At the cap no live key makes room: that would be a reset button for whoever can invent keys. */
  #consumeOverflow(key: string, limit: number, cost: number, now: number): RateLimitDecision {
    this.#overflowed++
    if (this.#overflowSlot === 0) this.#overflowSlot = this.#openSlot()
    const decision = this.#rings.consume(this.#overflowSlot, limit, cost, now)
    if (decision.allowed) {
      for (const [oldest, stamp] of this.#overflowKeys) {
        if (stamp > now) break
        this.#overflowKeys.delete(oldest)
      }
      this.#overflowKeys.delete(key)
      this.#overflowKeys.set(key, this.#rings.newest(this.#overflowSlot))
    }
    return decision
  }

  /** Gives up to two dead keys' slots back for each that is wanted: the keys become fewer after a flood, with no timer. */
  #reclaim(now: number): void {
    for (let i = 0; i < 2; i++) {
      const oldest = this.#list[NEWER]
      if (oldest === 0 || !this.#rings.isDead(oldest, now)) return
      this.#close(oldest)
      this.#reclaimed++
    }
  }

  #openSlot(): number {
    let slot = this.#freeSlot
    if (slot === 0) {
      slot = this.#slots++
      if (2 * slot >= this.#list.length) this.#grow()
    } else {
      this.#freeSlot = this.#list[2 * slot + NEWER]
    }
    this.#rings.open(slot)
    return slot
  }

  #grow(): void {
    // One slot for the list's ends and one for the overflow window.
    const slots = Math.min(this.#list.length, this.#options.maxKeys + 2)
    const list = new Int32Array(2 * slots)
    list.set(this.#list)
    this.#list = list
    this.#rings.grow(slots)
  }

  #close(slot: number): void {
    this.#slotOf.delete(this.#keys[slot])
    this.#keys[slot] = ''
    this.#rings.release(slot)
    this.#unlink(slot)
    this.#list[2 * slot + NEWER] = this.#freeSlot
    this.#freeSlot = slot
  }

  #unlink(slot: number): void {
    const list = this.#list
    const older = list[2 * slot + OLDER]
    const newer = list[2 * slot + NEWER]
    list[2 * older + NEWER] = newer
    list[2 * newer + OLDER] = older
  }

  #linkNewest(slot: number): void {
    const list = this.#list
    const newest = list[OLDER]
    list[2 * newest + NEWER] = slot
    list[2 * slot + OLDER] = newest
    list[2 * slot + NEWER] = 0
    list[OLDER] = slot
  }
}

function keyOf(identifier: string): string {
  if (identifier.length <= longestKey) return identifier
  // Every code unit goes into the digest: as UTF-8, all lone surrogates would be one.
  return `#${createHash('sha512').update(identifier, 'utf16le').digest('hex')}`
}
