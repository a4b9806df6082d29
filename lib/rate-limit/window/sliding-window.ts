/** Exact sliding windows for a bounded number of keys. */
import { createHash } from 'node:crypto'
import { decide, type RateLimitDecision } from '../rate-limit-decision.ts'
import { KeyTable } from './key-table.ts'
import { floatBits, link, nextOf, ownStamps, STATE, slotBits, touch, unlink } from './slot-records.ts'
import { type Charge, SlotWindows, type SlotWindowsOptions } from './slot-windows.ts'
import type { StampRings } from './stamp-rings.ts'

/*
 *     fresh key ──> is there room, or is the key that was used longest ago dead? ──yes──> a slot of its own
 *                                                  └──no──> the overflow slot, which all such keys share;
 *                                                           each stays there until its last stamp expires
 */

/** Up to this limit the decisions that admit are kept, one for each number of units that can be left. */
const keptDecisions = 1_024

/** Keys up to this length are kept as they are. A longer one becomes a digest that is longer than any of these. */
const longestKey = 128

export interface SlidingWindowOptions extends SlotWindowsOptions {
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
  #keys = new KeyTable()
  #windows: SlotWindows
  #rings: StampRings
  /** Slots that were ever in use, and which of them are free again; 0 is the ends of their list. */
  #slots = 1
  readonly #freeSlots: number[] = []
  #overflowSlot = 0
  /** What admits a unit of a key, by what is left then: no request makes an object that was made before. */
  readonly #admissions: readonly RateLimitDecision[]
  /** Keys with stamps in the overflow window, and the last of these, oldest first: never more than `limit`. */
  readonly #overflowKeys = new Map<string, number>()
  #reclaimed = 0
  #overflowed = 0

  constructor(options: SlidingWindowOptions) {
    this.#options = options
    this.#windows = new SlotWindows(options)
    this.#rings = this.#windows.rings
    this.#admissions = admissions(options)
  }

  get stats(): SlidingWindowStats {
    return {
      keys: this.#keys.size,
      reclaimed: this.#reclaimed,
      overflowed: this.#overflowed,
      bytes: this.#rings.bytes
    }
  }

  /** Counts `cost` ≥ 1 units of a key when they fit. The arguments are checked by the caller. */
  consume(identifier: string, limit: number, cost: number, now: number): RateLimitDecision {
    return cost === 1
      ? this.consumeOne(identifier, limit, now)
      : this.#consumeRare(identifier, limit, cost, now)
  }

  /**
   * The same for one unit. For a key that has a ring, while time goes on and stamps have no weights, this is what most requests
   * cost: one function with all of it, where what is rare is elsewhere, and the fields of a slot go by number.
   */
  consumeOne(identifier: string, limit: number, now: number): RateLimitDecision {
    const slot = identifier.length > longestKey ? 0 : this.#keys.find(identifier)
    const windows = this.#windows
    if (slot === 0 || now < windows.latest) return this.#consumeRare(identifier, limit, 1, now)
    windows.latest = now
    const { ints, pages } = this.#rings
    const at = slot << 3
    if (ints[at + 3] < 8) return this.#consumeOwn(slot, limit, now)
    const page = pages[ints[at + 4] >>> 16]
    const base = ints[at + 4] & 0xffff
    const capacity = ints[at + 5]
    let head = ints[at + 6]
    let count = ints[at + 7]
    let end = head + count
    if (end >= capacity) end -= capacity
    while (count > 0 && page[base + head] <= now) {
      if (++head === capacity) head = 0
      count--
    }
    if (count >= limit) return this.#refuse(slot, head, count, limit, now)
    const { windowMs } = windows
    if (count === capacity || count < (capacity + 4) >> 3)
      this.#rings.append(slot, head, count, now + windowMs)
    else {
      page[base + end] = now + windowMs
      ints[at + 6] = head
      ints[at + 7] = count + 1
    }
    touch(ints, slot)
    return limit === this.#admissions.length
      ? this.#admissions[limit - count - 1]
      : decide(true, limit, limit - count - 1, 0, windowMs)
  }

  /** The same for a slot whose stamps are in its record. */
  #consumeOwn(slot: number, limit: number, now: number): RateLimitDecision {
    const { ints, floats } = this.#rings
    const at = slot << slotBits
    const base = (slot << floatBits) + 2
    let head = ints[at + STATE] >> 2
    let count = ints[at + STATE] & 3
    while (count > 0 && floats[base + head] <= now) {
      head ^= 1
      count--
    }
    if (count >= limit) return this.#refuse(slot, head, count, limit, now)
    const { windowMs } = this.#windows
    const stamp = now + windowMs
    if (count === ownStamps) this.#rings.append(slot, head, count, stamp)
    else {
      floats[base + ((head + count) & 1)] = stamp
      ints[at + STATE] = (head << 2) | (count + 1)
    }
    touch(ints, slot)
    return limit === this.#admissions.length
      ? this.#admissions[limit - count - 1]
      : decide(true, limit, limit - count - 1, 0, windowMs)
  }

  #refuse(slot: number, head: number, count: number, limit: number, now: number): RateLimitDecision {
    this.#windows.refuse(slot, head, count, count, now)
    return this.#windows.peek(slot, limit, 1, now)
  }

  /** Any cost, any key, any time. */
  #consumeRare(identifier: string, limit: number, cost: number, now: number): RateLimitDecision {
    const remaining = this.#take(identifier, limit, cost, now)
    return remaining >= 0
      ? decide(true, limit, remaining, 0, this.#windows.resetMs)
      : this.#refusal(identifier, limit, cost, now)
  }

  /** What is left then; -1 when it does not fit. */
  #take(identifier: string, limit: number, cost: number, now: number): number {
    const key = keyOf(identifier)
    const slot = this.#keys.find(key)
    return slot === 0 ? this.#takeFresh(key, limit, cost, now) : this.#windows.take(slot, limit, cost, now)
  }

  #refusal(identifier: string, limit: number, cost: number, now: number): RateLimitDecision {
    return this.#windows.refused === 0
      ? this.peek(identifier, limit, cost, now)
      : this.#windows.peek(this.#windows.refused, limit, cost, now)
  }

  /** What `consume` would answer; changes nothing. */
  peek(identifier: string, limit: number, cost: number, now: number): RateLimitDecision {
    const key = keyOf(identifier)
    const slot = this.#keys.find(key)
    if (slot !== 0) return this.#windows.peek(slot, limit, cost, now)
    const overflows =
      (this.#overflowKeys.get(key) ?? -Infinity) > now ||
      (this.#keys.size >= this.#options.maxKeys && this.#rings.newest(this.#oldest()) > now)
    return overflows && this.#overflowSlot !== 0
      ? this.#windows.peek(this.#overflowSlot, limit, cost, now)
      : this.#windows.peekEmpty(limit, cost)
  }

  /** The time until the next unit of a key is free; undefined when all are. */
  nextUnitMs(identifier: string, now: number): number | undefined {
    const oldest = this.#windows.oldest(this.#slotOf(keyOf(identifier)), now)
    return oldest === -Infinity ? undefined : oldest - now
  }

  /** Whether a key has a slot of its own. */
  owns(identifier: string): boolean {
    return this.#keys.find(keyOf(identifier)) !== 0
  }

  /** When the last thing that this key has taken stops to count; -Infinity when it has taken nothing. */
  lastStamp(identifier: string): number {
    const key = keyOf(identifier)
    const slot = this.#keys.find(key)
    return slot === 0 ? (this.#overflowKeys.get(key) ?? -Infinity) : this.#rings.newest(slot)
  }

  /** What `consume(identifier, …, cost, …)` has just taken. */
  lastCharge(identifier: string, cost: number): Charge {
    return this.#windows.lastCharge(this.#slotOf(keyOf(identifier)), cost)
  }

  /** Gives a charge back, once: not after its window, nor after a reset of its key. */
  refund(charge: Charge): void {
    if (this.#windows.refund(charge)) this.#close(charge.slot)
  }

  /** Live stamps of all keys that have a slot, the key used longest ago first. */
  *live(now: number): Generator<{ key: string; stamps: [stamp: number, units: number][] }> {
    for (let slot = this.#oldest(); slot !== 0; slot = nextOf(this.#rings.ints, slot)) {
      const stamps = this.#windows.live(slot, now)
      if (slot !== this.#overflowSlot && stamps.length > 0) yield { key: this.#keys.keyOf(slot), stamps }
    }
  }

  /** Puts back what `live` gave: keys in order of their last stamps, each once. */
  restore(key: string, stamps: readonly (readonly [stamp: number, units: number])[]): void {
    this.#keys.add(key, this.#restore(stamps))
  }

  /** What counts in the overflow window, and its keys with their last stamps, oldest first. */
  overflow(now: number): { stamps: [stamp: number, units: number][]; keys: [key: string, stamp: number][] } {
    if (this.#overflowSlot === 0) return { stamps: [], keys: [] }
    const keys = [...this.#overflowKeys].filter(([, stamp]) => stamp > now)
    return { stamps: this.#windows.live(this.#overflowSlot, now), keys }
  }

  /** Puts back what `overflow` gave, between the keys that it is older and newer than. */
  restoreOverflow(
    stamps: readonly (readonly [stamp: number, units: number])[],
    keys: readonly (readonly [key: string, stamp: number])[]
  ): void {
    this.#overflowSlot = this.#restore(stamps)
    for (const [key, stamp] of keys) this.#overflowKeys.set(key, stamp)
  }

  reset(identifier: string): void {
    const key = keyOf(identifier)
    const slot = this.#keys.find(key)
    if (slot !== 0) this.#close(slot)
    // What it took from the overflow window was never its own; that stays.
    this.#overflowKeys.delete(key)
  }

  clear(): void {
    this.#keys = new KeyTable()
    this.#overflowKeys.clear()
    this.#windows = new SlotWindows(this.#options)
    this.#rings = this.#windows.rings
    this.#slots = 1
    this.#freeSlots.length = 0
    this.#overflowSlot = 0
  }

  #takeFresh(key: string, limit: number, cost: number, now: number): number {
    if (cost > limit) {
      this.#windows.refused = 0
      return -1
    }
    const overflowed = this.#overflowKeys.get(key)
    if (overflowed !== undefined && overflowed > now) return this.#takeOverflow(key, limit, cost, now)
    this.#reclaim(now)
    if (this.#keys.size >= this.#options.maxKeys) return this.#takeOverflow(key, limit, cost, now)
    this.#overflowKeys.delete(key)
    const slot = this.#openSlot()
    this.#keys.add(key, slot)
    return this.#windows.take(slot, limit, cost, now)
  }

  /** At the cap no live key makes room: that would be a reset button for whoever can invent keys. */
  #takeOverflow(key: string, limit: number, cost: number, now: number): number {
    this.#overflowed++
    if (this.#overflowSlot === 0) this.#overflowSlot = this.#openSlot()
    const remaining = this.#windows.take(this.#overflowSlot, limit, cost, now)
    if (remaining < 0) return remaining
    for (const [oldest, stamp] of this.#overflowKeys) {
      if (stamp > now) break
      this.#overflowKeys.delete(oldest)
    }
    this.#overflowKeys.delete(key)
    this.#overflowKeys.set(key, this.#rings.newest(this.#overflowSlot))
    return remaining
  }

  /** Gives up to two dead keys' slots back for each that is wanted: the keys become fewer after a flood, with no timer. */
  #reclaim(now: number): void {
    for (let i = 0; i < 2; i++) {
      const oldest = this.#oldest()
      if (oldest === 0 || !this.#windows.isDead(oldest, now)) return
      if (oldest !== this.#overflowSlot) this.#reclaimed++
      this.#close(oldest)
    }
  }

  /** The slot that was used longest ago; 0 when there is none. */
  #oldest(): number {
    return nextOf(this.#rings.ints, 0)
  }

  /** Where a key's units are counted: in its own slot, or with those of others. */
  #slotOf(key: string): number {
    return this.#keys.find(key) || this.#overflowSlot
  }

  #openSlot(): number {
    const slot = this.#freeSlots.pop() ?? this.#slots++
    // Two more than there are keys: one for the list's ends and one for the overflow window.
    if (slot >= this.#rings.capacity) this.#rings.grow(Math.min(2 * slot, this.#options.maxKeys + 2))
    this.#rings.open(slot)
    link(this.#rings.ints, slot)
    return slot
  }

  #restore(stamps: readonly (readonly [stamp: number, units: number])[]): number {
    const slot = this.#openSlot()
    for (const [stamp, units] of stamps) this.#windows.restore(slot, stamp, units)
    return slot
  }

  #close(slot: number): void {
    if (slot === this.#overflowSlot) {
      this.#overflowSlot = 0
      this.#overflowKeys.clear()
    } else {
      this.#keys.delete(slot)
    }
    unlink(this.#rings.ints, slot)
    this.#rings.release(slot)
    this.#freeSlots.push(slot)
  }
}

/** Frozen: they are everybody's. */
function admissions({ largestLimit, windowMs }: SlotWindowsOptions): RateLimitDecision[] {
  const length = largestLimit <= keptDecisions ? largestLimit : 0
  return Array.from({ length }, (_, left) => Object.freeze(decide(true, largestLimit, left, 0, windowMs)))
}

function keyOf(identifier: string): string {
  if (identifier.length <= longestKey) return identifier
  // Every code unit goes into the digest: as UTF-8, all lone surrogates would be one.
  return `#${createHash('sha512').update(identifier, 'utf16le').digest('hex')}`
}
