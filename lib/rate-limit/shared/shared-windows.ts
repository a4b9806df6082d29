/** Exact sliding windows of many keys in memory that threads share. */
import type { RateLimitDecision } from '../rate-limit-decision.ts'
import { HEADER, type SharedMemory, sizeOf, slotWords, stripeWords } from './shared-memory.ts'

/** 128 bits that stand for a key. */
export interface KeyDigest {
  readonly a: number
  readonly b: number
  readonly c: number
  readonly d: number
}

/** Where units were taken, so that they can be given back. */
export interface SharedCharge {
  readonly slot: number
  readonly serial: number
  readonly stamp: number
  readonly cost: number
}

/** Words of a slot. The first four are the digest; in a free slot the first is the next free one. */
const NEXT = 4
const OLDER = 5
const NEWER = 6
/** The block of its ring. */
const RING = 7
/** Entries of the ring from HEAD up to, not including, TAIL; both count on and are taken modulo the ring's size. */
const HEAD = 8
const TAIL = 9
const USED = 10
/** Who holds a slot's number can see that it is another key's now. */
const SERIAL = 11
/** f64: a key's time does not run backwards. */
const SEEN = 12

/** Words of a stripe, after its lock. */
const OLDEST = 2
const NEWEST = 3

/** The slot of the window that fresh keys share when there is no slot left. */
const overflowSlot = 0

/**
 * A stamp is the instant at which what was admitted stops to count: t + W. Each key is guarded by the lock of its stripe.
 * A key that gets its own slot inherits what counts in the overflow window: some of it may be its own.
 */
export class SharedWindows {
  readonly #memory: SharedMemory
  readonly #limit: number
  readonly #windowMs: number
  readonly #resolutionMs: number
  /** No key dies before this time, as far as this thread knows. */
  #deadNotBefore = -Infinity
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

  /** Gives the overflow window its first block; the thread that made the memory calls this once. */
  open(): void {
    this.#openRing(overflowSlot)
  }

  /** @param cost ≥ 1 */
  consume(key: KeyDigest, cost: number, now: number): RateLimitDecision {
    // A key that can never pass needs no slot; one that finds none gets it from a dead key of another stripe.
    if (cost > this.#limit) return this.peek(key, cost, now)
    const decision = this.#consume(key, cost, now, now < this.#deadNotBefore)
    if (decision !== undefined) return decision
    this.#sweep(now)
    return this.#consume(key, cost, now, true)!
  }

  peek(key: KeyDigest, cost: number, now: number): RateLimitDecision {
    const memory = this.#memory
    const stripe = this.#stripeOf(key)
    memory.lock(stripe)
    try {
      const slot = this.#find(key)
      if (slot !== 0) return this.#look(slot, cost, now)
      memory.lock(memory.overflowLock)
      try {
        // A fresh key would inherit the overflow window, or share it.
        return this.#look(overflowSlot, cost, now)
      } finally {
        memory.unlock(memory.overflowLock)
      }
    } finally {
      memory.unlock(stripe)
    }
  }

  /** `consume`, and where it was counted. */
  charge(key: KeyDigest, cost: number, now: number): { decision: RateLimitDecision; charge?: SharedCharge } {
    const decision = this.consume(key, cost, now)
    if (!decision.allowed) return { decision }
    const charge = { slot: this.#chargedSlot, serial: this.#chargedSerial, stamp: this.#chargedStamp, cost }
    return { decision, charge }
  }

  refund(key: KeyDigest, charge: SharedCharge): void {
    const memory = this.#memory
    const lock = charge.slot === overflowSlot ? memory.overflowLock : this.#stripeOf(key)
    memory.lock(lock)
    try {
      if (memory.words[this.#at(charge.slot) + SERIAL] === charge.serial) this.#takeOut(charge)
    } finally {
      memory.unlock(lock)
    }
  }

  reset(key: KeyDigest): void {
    const memory = this.#memory
    const stripe = this.#stripeOf(key)
    memory.lock(stripe)
    try {
      const slot = this.#find(key)
      if (slot !== 0) this.#close(stripe, slot)
    } finally {
      memory.unlock(stripe)
    }
  }

  clear(): void {
    const memory = this.#memory
    for (let stripe = 0; stripe < memory.stripes; stripe++) {
      memory.lock(stripe)
      try {
        for (let slot = this.#oldest(stripe); slot !== 0; slot = this.#oldest(stripe))
          this.#close(stripe, slot)
      } finally {
        memory.unlock(stripe)
      }
    }
    memory.lock(memory.overflowLock)
    this.#empty(overflowSlot)
    memory.unlock(memory.overflowLock)
  }

  /** Makes a dead thread's half-done changes whole: the sums of its keys, and the list of a stripe in order. */
  repair(lock: number): void {
    if (lock === this.#memory.overflowLock) this.#recount(overflowSlot)
    if (lock >= this.#memory.stripes) return
    const { words, bucketAt, buckets, stripes } = this.#memory
    const slots: number[] = []
    for (let bucket = lock; bucket < buckets; bucket += stripes) {
      for (let slot = words[bucketAt + bucket]; slot !== 0; slot = words[this.#at(slot) + NEXT]) {
        this.#recount(slot)
        slots.push(slot)
      }
    }
    slots.sort((one, other) => this.#newestStamp(one) - this.#newestStamp(other))
    const at = this.#stripeAt(lock)
    words[at + OLDEST] = 0
    words[at + NEWEST] = 0
    for (const slot of slots) this.#linkNewest(lock, slot)
  }

  #at(slot: number): number {
    return this.#memory.slotAt + slot * slotWords
  }

  #stripeAt(stripe: number): number {
    return this.#memory.stripeAt + stripe * stripeWords
  }

  #stripeOf(key: KeyDigest): number {
    return key.a & (this.#memory.stripes - 1)
  }

  #bucketAt(key: KeyDigest): number {
    return this.#memory.bucketAt + (key.a & (this.#memory.buckets - 1))
  }

  #oldest(stripe: number): number {
    return this.#memory.words[this.#stripeAt(stripe) + OLDEST]
  }

  #find(key: KeyDigest): number {
    const { words } = this.#memory
    let slot = words[this.#bucketAt(key)]
    while (slot !== 0) {
      const at = this.#at(slot)
      if (
        words[at] === key.a &&
        words[at + 1] === key.b &&
        words[at + 2] === key.c &&
        words[at + 3] === key.d
      )
        return slot
      slot = words[at + NEXT]
    }
    return 0
  }

  #consume(key: KeyDigest, cost: number, now: number, mayOverflow: boolean): RateLimitDecision | undefined {
    const memory = this.#memory
    const stripe = this.#stripeOf(key)
    memory.lock(stripe)
    try {
      let slot = this.#find(key)
      if (slot === 0) slot = this.#openSlot(key, stripe, now)
      if (slot === 0) return mayOverflow ? this.#inOverflow(cost, now) : undefined
      const decision = this.#consumeAt(slot, cost, now)
      if (decision.allowed) this.#moveToNewest(stripe, slot)
      return decision
    } finally {
      memory.unlock(stripe)
    }
  }

  #consumeAt(slot: number, cost: number, now: number): RateLimitDecision {
    const at = this.#at(slot)
    const seen = this.#drop(slot, now)
    const used = this.#memory.words[at + USED]
    if (used + cost > this.#limit) return this.#refused(slot, cost, seen)
    const stamp = this.#stampFor(seen)
    this.#append(slot, stamp, cost)
    this.#chargedSlot = slot
    this.#chargedSerial = this.#memory.words[at + SERIAL]
    this.#chargedStamp = stamp
    return {
      allowed: true,
      limit: this.#limit,
      remaining: this.#limit - used - cost,
      retryAfterMs: 0,
      resetMs: stamp - seen
    }
  }

  #look(slot: number, cost: number, now: number): RateLimitDecision {
    const seen = this.#drop(slot, now)
    const { words } = this.#memory
    const used = words[this.#at(slot) + USED]
    if (used + cost > this.#limit) return this.#refused(slot, cost, seen)
    return {
      allowed: true,
      limit: this.#limit,
      remaining: this.#limit - used,
      retryAfterMs: 0,
      resetMs: used === 0 ? 0 : this.#newestStamp(slot) - seen
    }
  }

  #refused(slot: number, cost: number, seen: number): RateLimitDecision {
    const used = this.#memory.words[this.#at(slot) + USED]
    return {
      allowed: false,
      limit: this.#limit,
      remaining: this.#limit - used,
      retryAfterMs:
        cost > this.#limit ? undefined : this.#stampOfUnit(slot, used + cost - this.#limit) - seen,
      resetMs: used === 0 ? 0 : this.#newestStamp(slot) - seen
    }
  }

  #inOverflow(cost: number, now: number): RateLimitDecision {
    const memory = this.#memory
    memory.lock(memory.overflowLock)
    try {
      Atomics.add(memory.words, HEADER.overflowed, 1)
      return this.#consumeAt(overflowSlot, cost, now)
    } finally {
      memory.unlock(memory.overflowLock)
    }
  }

  /** Drops what has expired and gives the key's time. */
  #drop(slot: number, now: number): number {
    const at = this.#at(slot)
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
    const at = this.#at(slot)
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
    const at = this.#at(slot)
    const { words } = this.#memory
    const length = (words[at + TAIL] - words[at + HEAD]) | 0
    return length < 2 ** (sizeOf(words[at + RING]) + 1) || this.#newestStamp(slot) === stamp
  }

  #growRing(slot: number): void {
    const memory = this.#memory
    const at = this.#at(slot)
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

  #newestStamp(slot: number): number {
    const at = this.#at(slot)
    const block = this.#memory.words[at + RING]
    const stamps = this.#memory.stampsAt(block)
    const { words, floats } = this.#memory
    if (words[at + HEAD] === words[at + TAIL]) return -Infinity
    return floats[stamps + ((words[at + TAIL] - 1) & (2 ** (sizeOf(block) + 1) - 1))]
  }

  #stampOfUnit(slot: number, unit: number): number {
    const at = this.#at(slot)
    const block = this.#memory.words[at + RING]
    const stamps = this.#memory.stampsAt(block)
    const { words, floats } = this.#memory
    const mask = 2 ** (sizeOf(block) + 1) - 1
    const counts = (stamps + mask + 1) * 2
    let head = words[at + HEAD]
    for (let units = words[counts + (head & mask)]; units < unit; units += words[counts + (head & mask)]) {
      head = (head + 1) | 0
    }
    return floats[stamps + (head & mask)]
  }

  #takeOut({ slot, stamp, cost }: SharedCharge): void {
    const at = this.#at(slot)
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

  #recount(slot: number): void {
    const at = this.#at(slot)
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

  #empty(slot: number): void {
    const { words } = this.#memory
    const at = this.#at(slot)
    words[at + HEAD] = words[at + TAIL]
    words[at + USED] = 0
    words[at + SERIAL] = Atomics.add(words, HEADER.serial, 1) + 1
  }

  #openRing(slot: number): boolean {
    const memory = this.#memory
    const block = memory.takeBlock(0)
    if (block === -1) return false
    const at = this.#at(slot)
    memory.words[at + RING] = block
    memory.words[at + HEAD] = 0
    memory.words[at + TAIL] = 0
    memory.floats[(at + SEEN) >> 1] = -Infinity
    this.#empty(slot)
    return true
  }

  /** A slot for a fresh key of a locked stripe; 0 when there is none left. */
  #openSlot(key: KeyDigest, stripe: number, now: number): number {
    const memory = this.#memory
    this.#reclaim(stripe, now, 2)
    const slot = memory.takeSlot()
    if (slot === 0) return 0
    if (!this.#openRing(slot)) {
      memory.freeSlot(slot)
      return 0
    }
    this.#inherit(slot, now)
    const { words } = memory
    const at = this.#at(slot)
    words[at] = key.a
    words[at + 1] = key.b
    words[at + 2] = key.c
    words[at + 3] = key.d
    const bucket = this.#bucketAt(key)
    words[at + NEXT] = words[bucket]
    words[bucket] = slot
    this.#linkNewest(stripe, slot)
    Atomics.add(words, HEADER.keys, 1)
    return slot
  }

  #inherit(slot: number, now: number): void {
    const memory = this.#memory
    memory.lock(memory.overflowLock)
    try {
      const from = this.#at(overflowSlot)
      if (memory.words[from + USED] === 0) return
      memory.floats[(this.#at(slot) + SEEN) >> 1] = this.#drop(overflowSlot, now)
      for (let i = memory.words[from + HEAD]; i !== memory.words[from + TAIL]; i = (i + 1) | 0) {
        const block = memory.words[from + RING]
        const stamps = memory.stampsAt(block)
        const mask = 2 ** (sizeOf(block) + 1) - 1
        const count = memory.words[(stamps + mask + 1) * 2 + (i & mask)]
        this.#append(slot, memory.floats[stamps + (i & mask)], count)
      }
    } finally {
      memory.unlock(memory.overflowLock)
    }
  }

  /** Gives slots of dead keys back, those first that died first. */
  #reclaim(stripe: number, now: number, most: number): void {
    const { words } = this.#memory
    for (let freed = 0; freed < most; freed++) {
      const slot = this.#oldest(stripe)
      if (slot === 0 || this.#newestStamp(slot) > now) return
      this.#close(stripe, slot)
      Atomics.add(words, HEADER.reclaimed, 1)
    }
  }

  /** Looks for dead keys in all stripes, and learns when it is worth while again. */
  #sweep(now: number): void {
    const memory = this.#memory
    let notBefore = Infinity
    for (let stripe = 0; stripe < memory.stripes; stripe++) {
      memory.lock(stripe)
      try {
        this.#reclaim(stripe, now, 64)
        const oldest = this.#oldest(stripe)
        if (oldest !== 0) notBefore = Math.min(notBefore, this.#newestStamp(oldest))
      } finally {
        memory.unlock(stripe)
      }
    }
    this.#deadNotBefore = notBefore
  }

  #close(stripe: number, slot: number): void {
    const memory = this.#memory
    const { words } = memory
    const at = this.#at(slot)
    let link = memory.bucketAt + (words[at] & (memory.buckets - 1))
    while (words[link] !== slot) link = this.#at(words[link]) + NEXT
    words[link] = words[at + NEXT]
    this.#unlink(stripe, slot)
    words[at + SERIAL] = Atomics.add(words, HEADER.serial, 1) + 1
    memory.freeBlock(words[at + RING])
    memory.freeSlot(slot)
    Atomics.sub(words, HEADER.keys, 1)
  }

  #moveToNewest(stripe: number, slot: number): void {
    if (this.#memory.words[this.#stripeAt(stripe) + NEWEST] === slot) return
    this.#unlink(stripe, slot)
    this.#linkNewest(stripe, slot)
  }

  #unlink(stripe: number, slot: number): void {
    const { words } = this.#memory
    const at = this.#at(slot)
    const ends = this.#stripeAt(stripe)
    const older = words[at + OLDER]
    const newer = words[at + NEWER]
    words[older === 0 ? ends + OLDEST : this.#at(older) + NEWER] = newer
    words[newer === 0 ? ends + NEWEST : this.#at(newer) + OLDER] = older
  }

  #linkNewest(stripe: number, slot: number): void {
    const { words } = this.#memory
    const at = this.#at(slot)
    const ends = this.#stripeAt(stripe)
    const newest = words[ends + NEWEST]
    words[at + OLDER] = newest
    words[at + NEWER] = 0
    words[newest === 0 ? ends + OLDEST : this.#at(newest) + NEWER] = slot
    words[ends + NEWEST] = slot
  }
}
