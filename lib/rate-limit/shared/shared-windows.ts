/** Exact sliding windows of many keys in memory that threads share. */
import type { RateLimitDecision } from '../rate-limit-decision.ts'
import { HEADER, type SharedMemory } from './shared-memory.ts'
import { RING, SERIAL, type SharedCharge, SharedRings } from './shared-rings.ts'
import { type KeyDigest, SharedSlots } from './shared-slots.ts'

/** The slot of the window that fresh keys share when there is no slot left. */
const overflowSlot = 0

/**
 * Each key is guarded by the lock of its stripe.
 * A key that gets its own slot inherits what counts in the overflow window: some of it may be its own.
 */
export class SharedWindows {
  readonly #memory: SharedMemory
  readonly #slots: SharedSlots
  readonly #rings: SharedRings
  readonly #limit: number
  /** No key dies before this time, as far as this thread knows. */
  #deadNotBefore = -Infinity

  constructor(memory: SharedMemory) {
    this.#memory = memory
    this.#slots = new SharedSlots(memory)
    this.#rings = new SharedRings(memory)
    this.#limit = memory.words[HEADER.maxRequests]
  }

  /** Gives the overflow window its first block; the thread that made the memory calls this once. */
  open(): void {
    this.#rings.open(overflowSlot)
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
    const stripe = this.#slots.stripeOf(key)
    memory.lock(stripe)
    try {
      const slot = this.#slots.find(key)
      if (slot !== 0) return this.#rings.peek(slot, cost, now)
      memory.lock(memory.overflowLock)
      try {
        // A fresh key would inherit the overflow window, or share it.
        return this.#rings.peek(overflowSlot, cost, now)
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
    return { decision, charge: this.#rings.lastCharge(cost) }
  }

  refund(key: KeyDigest, charge: SharedCharge): void {
    const memory = this.#memory
    const lock = charge.slot === overflowSlot ? memory.overflowLock : this.#slots.stripeOf(key)
    memory.locked(lock, () => {
      if (memory.words[this.#memory.atSlot(charge.slot) + SERIAL] === charge.serial)
        this.#rings.takeOut(charge)
    })
  }

  reset(key: KeyDigest): void {
    const stripe = this.#slots.stripeOf(key)
    this.#memory.locked(stripe, () => {
      const slot = this.#slots.find(key)
      if (slot !== 0) this.#close(stripe, slot)
    })
  }

  clear(): void {
    const memory = this.#memory
    for (let stripe = 0; stripe < memory.stripes; stripe++) {
      memory.locked(stripe, () => {
        for (let slot = this.#slots.oldest(stripe); slot !== 0; slot = this.#slots.oldest(stripe))
          this.#close(stripe, slot)
      })
    }
    memory.locked(memory.overflowLock, () => this.#rings.empty(overflowSlot))
  }

  /** Live stamps of all keys, stripe by stripe: each as it is when its stripe is locked. */
  live(now: number): { key: KeyDigest; stamps: [stamp: number, units: number][] }[] {
    const memory = this.#memory
    const keys: { key: KeyDigest; stamps: [number, number][] }[] = []
    for (let stripe = 0; stripe < memory.stripes; stripe++) {
      memory.locked(stripe, () => {
        for (let slot = this.#slots.oldest(stripe); slot !== 0; slot = this.#slots.nextOf(slot)) {
          const stamps = this.#rings.live(slot, now)
          if (stamps.length > 0) keys.push({ key: this.#slots.keyOf(slot), stamps })
        }
      })
    }
    return keys
  }

  /** What counts in the window that fresh keys share. */
  overflow(now: number): [stamp: number, units: number][] {
    const memory = this.#memory
    return memory.locked(memory.overflowLock, () => this.#rings.live(overflowSlot, now))
  }

  /** Puts back what `live` gave, keys in order of their last stamps, each once. False when there is no memory for it. */
  restore(key: KeyDigest, stamps: readonly (readonly [stamp: number, units: number])[]): boolean {
    const stripe = this.#slots.stripeOf(key)
    return this.#memory.locked(stripe, () => {
      const slot = this.#openSlot(key, stripe, -Infinity)
      if (slot !== 0) this.#rings.restore(slot, stamps)
      return slot !== 0
    })
  }

  /** Puts back what `overflow` gave, after all keys: those that are there have no part in it. */
  restoreOverflow(stamps: readonly (readonly [stamp: number, units: number])[]): void {
    const memory = this.#memory
    memory.locked(memory.overflowLock, () => this.#rings.restore(overflowSlot, stamps))
  }

  /** Makes a dead thread's half-done changes whole: the sums of its keys, and the list of a stripe in order. */
  repair(lock: number): void {
    if (lock === this.#memory.overflowLock) this.#rings.recount(overflowSlot)
    if (lock >= this.#memory.stripes) return
    const slots = this.#slots.all(lock)
    for (const slot of slots) this.#rings.recount(slot)
    slots.sort((one, other) => this.#rings.newestStamp(one) - this.#rings.newestStamp(other))
    this.#slots.relist(lock, slots)
  }

  #consume(key: KeyDigest, cost: number, now: number, mayOverflow: boolean): RateLimitDecision | undefined {
    const memory = this.#memory
    const stripe = this.#slots.stripeOf(key)
    memory.lock(stripe)
    try {
      const known = this.#slots.find(key)
      const slot = known === 0 ? this.#openSlot(key, stripe, now) : known
      if (slot === 0) return mayOverflow ? this.#inOverflow(cost, now) : undefined
      const decision = this.#rings.consume(slot, cost, now)
      if (decision.allowed) this.#slots.moveToNewest(stripe, slot)
      else if (known === 0) this.#close(stripe, slot)
      return decision
    } finally {
      memory.unlock(stripe)
    }
  }

  #inOverflow(cost: number, now: number): RateLimitDecision {
    const memory = this.#memory
    memory.lock(memory.overflowLock)
    try {
      Atomics.add(memory.words, HEADER.overflowed, 1)
      return this.#rings.consume(overflowSlot, cost, now)
    } finally {
      memory.unlock(memory.overflowLock)
    }
  }

  /** A slot for a fresh key of a locked stripe; 0 when there is none left. */
  #openSlot(key: KeyDigest, stripe: number, now: number): number {
    const memory = this.#memory
    this.#reclaim(stripe, now, 2)
    const slot = memory.takeSlot()
    if (slot === 0) return 0
    if (!this.#rings.open(slot)) {
      memory.freeSlot(slot)
      return 0
    }
    this.#inherit(slot, now)
    this.#slots.add(stripe, key, slot)
    Atomics.add(memory.words, HEADER.keys, 1)
    return slot
  }

  #inherit(slot: number, now: number): void {
    const memory = this.#memory
    memory.lock(memory.overflowLock)
    try {
      this.#rings.inherit(overflowSlot, slot, now)
    } finally {
      memory.unlock(memory.overflowLock)
    }
  }

  /** Gives slots of dead keys back, those first that died first. */
  #reclaim(stripe: number, now: number, most: number): void {
    const { words } = this.#memory
    for (let freed = 0; freed < most; freed++) {
      const slot = this.#slots.oldest(stripe)
      if (slot === 0 || this.#rings.newestStamp(slot) > now) return
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
        const oldest = this.#slots.oldest(stripe)
        if (oldest !== 0) notBefore = Math.min(notBefore, this.#rings.newestStamp(oldest))
      } finally {
        memory.unlock(stripe)
      }
    }
    this.#deadNotBefore = notBefore
  }

  #close(stripe: number, slot: number): void {
    const memory = this.#memory
    const { words } = memory
    const at = memory.atSlot(slot)
    this.#slots.remove(stripe, slot)
    words[at + SERIAL] = Atomics.add(words, HEADER.serial, 1) + 1
    memory.freeBlock(words[at + RING])
    memory.freeSlot(slot)
    Atomics.sub(words, HEADER.keys, 1)
  }
}
