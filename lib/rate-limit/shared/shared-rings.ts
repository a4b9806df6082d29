/** Rings of live stamps, one a slot, in memory that threads share. Callers hold the lock that guards the slot. */
import { decide, type RateLimitDecision, until } from '../rate-limit-decision.ts'
import { HEADER, type SharedMemory, sizeOf } from './shared-memory.ts'

/** Where units were taken, so that they can be given back. */
export interface SharedCharge {
  readonly slot: number
  readonly serial: number
  readonly stamp: number
  readonly cost: number
}

/** Words of a slot that are the ring's; those before it are the table's. */
/** Its block. */
export const RING = 7
/** Entries from HEAD up to, not including, TAIL; both count on and are taken modulo the ring's size. */
const HEAD = 8
const TAIL = 9
const USED = 10
/** Who holds a slot's number can see that it is another key's now. */
export const SERIAL = 11
/** f64: a key's time does not run backwards. */
const SEEN = 12

/** A stamp is the instant at which what was admitted stops to count: t + W. */
export class SharedRings {
  readonly #memory: SharedMemory
  readonly #limit: number
  readonly #windowMs: number
  readonly #resolutionMs: number
  /** Set by an admission: where it was counted. */
  #chargedSlot = 0
  #chargedSerial = 0
  #chargedStamp = 0

  constructor(memory: SharedMemory) {
    this.#memory = memory
    this.#limit = memory.words[HEADER.maxRequests]
    this.#windowMs = memory.floats[HEADER.windowMs / 2]
    this.#resolutionMs = memory.floats[HEADER.resolutionMs / 2]
  }

  /** Where this thread's last admission was counted. */
  lastCharge(cost: number): SharedCharge {
    return { slot: this.#chargedSlot, serial: this.#chargedSerial, stamp: this.#chargedStamp, cost }
  }

  open(slot: number): boolean {
    const memory = this.#memory
    const block = memory.takeBlock(0)
    if (block === -1) return false
    const at = this.#memory.atSlot(slot)
    memory.words[at + RING] = block
    memory.words[at + HEAD] = 0
    memory.words[at + TAIL] = 0
    memory.floats[(at + SEEN) >> 1] = -Infinity
    this.empty(slot)
    return true
  }

  consume(slot: number, cost: number, now: number): RateLimitDecision {
    const at = this.#memory.atSlot(slot)
    const seen = this.#drop(slot, now)
    const { words } = this.#memory
    const used = words[at + USED]
    if (used + cost > this.#limit) return this.#refused(slot, cost, seen, words[at + HEAD], used)
    const stamp = this.#stampFor(seen)
    this.#append(slot, stamp, cost)
    this.#chargedSlot = slot
    this.#chargedSerial = this.#memory.words[at + SERIAL]
    this.#chargedStamp = stamp
    const resetMs = stamp === seen + this.#windowMs ? this.#windowMs : until(stamp, seen)
    return decide(true, this.#limit, this.#limit - used - cost, 0, resetMs)
  }

  /** Changes nothing, not even the key's time: it may be asked about one that is yet to come. */
  peek(slot: number, cost: number, now: number): RateLimitDecision {
    const at = this.#memory.atSlot(slot)
    const block = this.#memory.words[at + RING]
    const stamps = this.#memory.stampsAt(block)
    const { words, floats } = this.#memory
    const seen = Math.max(now, floats[(at + SEEN) >> 1])
    const mask = 2 ** (sizeOf(block) + 1) - 1
    const counts = (stamps + mask + 1) * 2
    let head = words[at + HEAD]
    let used = words[at + USED]
    while (head !== words[at + TAIL] && floats[stamps + (head & mask)] <= seen) {
      used -= words[counts + (head & mask)]
      head = (head + 1) | 0
    }
    if (used + cost > this.#limit) return this.#refused(slot, cost, seen, head, used)
    const resetMs = used === 0 ? 0 : until(this.newestStamp(slot), seen)
    return decide(true, this.#limit, this.#limit - used, 0, resetMs)
  }

  takeOut({ slot, stamp, cost }: SharedCharge): void {
    const at = this.#memory.atSlot(slot)
    const block = this.#memory.words[at + RING]
    const stamps = this.#memory.stampsAt(block)
    const { words, floats } = this.#memory
    const mask = 2 ** (sizeOf(block) + 1) - 1
    const counts = (stamps + mask + 1) * 2
    const head = words[at + HEAD]
    let found = words[at + TAIL]
    do {
      if (found === head) return
      found = (found - 1) | 0
    } while (floats[stamps + (found & mask)] > stamp)
    if (floats[stamps + (found & mask)] !== stamp || words[counts + (found & mask)] < cost) return
    words[counts + (found & mask)] -= cost
    words[at + USED] -= cost
    if (words[counts + (found & mask)] > 0) return
    for (let i = found; i !== head; i = (i - 1) | 0) {
      floats[stamps + (i & mask)] = floats[stamps + ((i - 1) & mask)]
      words[counts + (i & mask)] = words[counts + ((i - 1) & mask)]
    }
    words[at + HEAD] = (head + 1) | 0
  }

  empty(slot: number): void {
    const { words } = this.#memory
    const at = this.#memory.atSlot(slot)
    words[at + HEAD] = words[at + TAIL]
    words[at + USED] = 0
    words[at + SERIAL] = Atomics.add(words, HEADER.serial, 1) + 1
  }

  recount(slot: number): void {
    const at = this.#memory.atSlot(slot)
    const block = this.#memory.words[at + RING]
    const stamps = this.#memory.stampsAt(block)
    const { words } = this.#memory
    const mask = 2 ** (sizeOf(block) + 1) - 1
    let used = 0
    for (let i = words[at + HEAD]; i !== words[at + TAIL]; i = (i + 1) | 0) {
      used += words[(stamps + mask + 1) * 2 + (i & mask)]
    }
    words[at + USED] = used
  }

  newestStamp(slot: number): number {
    const at = this.#memory.atSlot(slot)
    const block = this.#memory.words[at + RING]
    const stamps = this.#memory.stampsAt(block)
    const { words, floats } = this.#memory
    if (words[at + HEAD] === words[at + TAIL]) return -Infinity
    return floats[stamps + ((words[at + TAIL] - 1) & (2 ** (sizeOf(block) + 1) - 1))]
  }

  /** What is live of a ring, oldest first. */
  live(slot: number, now: number): [stamp: number, units: number][] {
    const at = this.#memory.atSlot(slot)
    const block = this.#memory.words[at + RING]
    const from = this.#memory.stampsAt(block)
    const { words, floats } = this.#memory
    const mask = 2 ** (sizeOf(block) + 1) - 1
    const stamps: [number, number][] = []
    for (let i = words[at + HEAD]; i !== words[at + TAIL]; i = (i + 1) | 0) {
      const stamp = floats[from + (i & mask)]
      if (stamp > now) stamps.push([stamp, words[(from + mask + 1) * 2 + (i & mask)]])
    }
    return stamps
  }

  /** Puts stamps behind those of a ring. */
  restore(slot: number, stamps: readonly (readonly [stamp: number, units: number])[]): void {
    for (const [stamp, units] of stamps) this.#append(slot, stamp, units)
  }

  /** Copies what counts in one ring into a fresh one. Both are locked. */
  inherit(from: number, slot: number, now: number): void {
    const { words, floats } = this.#memory
    if (words[this.#memory.atSlot(from) + USED] === 0) return
    const seen = this.#drop(from, now)
    floats[(this.#memory.atSlot(slot) + SEEN) >> 1] = seen
    this.restore(slot, this.live(from, seen))
  }

  /** @param head of what is live, @param used units of that */
  #refused(slot: number, cost: number, seen: number, head: number, used: number): RateLimitDecision {
    const unit = used + cost - this.#limit
    const retryAfterMs = cost > this.#limit ? undefined : until(this.#stampOfUnit(slot, head, unit), seen)
    const resetMs = used === 0 ? 0 : until(this.newestStamp(slot), seen)
    return decide(false, this.#limit, this.#limit - used, retryAfterMs, resetMs)
  }

  /** Drops what has expired and gives the key's time. */
  #drop(slot: number, now: number): number {
    const at = this.#memory.atSlot(slot)
    const block = this.#memory.words[at + RING]
    const stamps = this.#memory.stampsAt(block)
    const { words, floats } = this.#memory
    const seen = Math.max(now, floats[(at + SEEN) >> 1])
    floats[(at + SEEN) >> 1] = seen
    const mask = 2 ** (sizeOf(block) + 1) - 1
    const counts = (stamps + mask + 1) * 2
    const tail = words[at + TAIL]
    let head = words[at + HEAD]
    while (head !== tail && floats[stamps + (head & mask)] <= seen) {
      const count = words[counts + (head & mask)]
      head = (head + 1) | 0
      words[at + HEAD] = head
      words[at + USED] -= count
    }
    return seen
  }

  #stampFor(now: number): number {
    if (this.#resolutionMs === 0) return now + this.#windowMs
    return (Math.floor(now / this.#resolutionMs) + 1) * this.#resolutionMs + this.#windowMs
  }

  #append(slot: number, stamp: number, cost: number): void {
    const at = this.#memory.atSlot(slot)
    if (!this.#hasRoom(slot, stamp)) this.#growRing(slot)
    const block = this.#memory.words[at + RING]
    const stamps = this.#memory.stampsAt(block)
    const { words, floats } = this.#memory
    const mask = 2 ** (sizeOf(block) + 1) - 1
    const counts = (stamps + mask + 1) * 2
    const tail = words[at + TAIL]
    const newest = (tail - 1) & mask
    const length = (tail - words[at + HEAD]) | 0
    if (length > 0 && (floats[stamps + newest] === stamp || length > mask)) {
      // With no memory left the newest entry is kept for longer: too few are admitted then, never too many.
      if (floats[stamps + newest] !== stamp) Atomics.add(words, HEADER.pressed, 1)
      words[counts + newest] += cost
      floats[stamps + newest] = stamp
    } else {
      floats[stamps + (tail & mask)] = stamp
      words[counts + (tail & mask)] = cost
      words[at + TAIL] = (tail + 1) | 0
    }
    words[at + USED] += cost
  }

  #hasRoom(slot: number, stamp: number): boolean {
    const at = this.#memory.atSlot(slot)
    const { words } = this.#memory
    const length = (words[at + TAIL] - words[at + HEAD]) | 0
    return length < 2 ** (sizeOf(words[at + RING]) + 1) || this.newestStamp(slot) === stamp
  }

  #growRing(slot: number): void {
    const memory = this.#memory
    const at = this.#memory.atSlot(slot)
    const old = memory.words[at + RING]
    const size = sizeOf(old)
    const block = memory.takeBlock(size + 1)
    if (block === -1) return
    const from = memory.stampsAt(old)
    const to = memory.stampsAt(block)
    const { words, floats } = memory
    const mask = 2 ** (size + 1) - 1
    const wider = mask * 2 + 1
    for (let i = words[at + HEAD]; i !== words[at + TAIL]; i = (i + 1) | 0) {
      floats[to + (i & wider)] = floats[from + (i & mask)]
      words[(to + wider + 1) * 2 + (i & wider)] = words[(from + mask + 1) * 2 + (i & mask)]
    }
    words[at + RING] = block
    memory.freeBlock(old)
  }

  /** The stamp of the unit-th from a head on. */
  #stampOfUnit(slot: number, from: number, unit: number): number {
    const at = this.#memory.atSlot(slot)
    const block = this.#memory.words[at + RING]
    const stamps = this.#memory.stampsAt(block)
    const { words, floats } = this.#memory
    const mask = 2 ** (sizeOf(block) + 1) - 1
    const counts = (stamps + mask + 1) * 2
    let head = from
    for (let units = words[counts + (head & mask)]; units < unit; units += words[counts + (head & mask)]) {
      head = (head + 1) | 0
    }
    return floats[stamps + (head & mask)]
  }
}
