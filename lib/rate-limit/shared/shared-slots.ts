/** The slots of all keys in memory that threads share: by digest, and in order of their last stamps. */
import { type SharedMemory, stripeWords } from './shared-memory.ts'

/*
 *     digest ──> bucket ──> slot ──> slot       whose digests meet there
 *     digest ──> stripe: OLDEST ⇄ … ⇄ NEWEST    the first is the first to be dead
 */

/** 128 bits that stand for a key. */
export interface KeyDigest {
  readonly a: number
  readonly b: number
  readonly c: number
  readonly d: number
}

/** Words of a slot. The first four are the digest; in a free slot the first is the next free one. */
const NEXT = 4
const OLDER = 5
const NEWER = 6
/** Words of a stripe, after its lock. */
const OLDEST = 2
const NEWEST = 3

/** Callers hold the lock of the stripe. The order of writes is such that `relist` mends what a dead thread has left. */
export class SharedSlots {
  readonly #memory: SharedMemory

  constructor(memory: SharedMemory) {
    this.#memory = memory
  }

  /** The stripe whose lock guards a key. */
  stripeOf(key: KeyDigest): number {
    return key.a & (this.#memory.stripes - 1)
  }

  /** A key's slot; 0 when it has none. */
  find(key: KeyDigest): number {
    const { words } = this.#memory
    let slot = words[this.#bucketAt(key)]
    while (slot !== 0) {
      const at = this.#memory.atSlot(slot)
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

  /** The slot of a stripe that was used longest ago; 0 when there is none. */
  oldest(stripe: number): number {
    return this.#memory.words[this.#stripeAt(stripe) + OLDEST]
  }

  /** The slot that was used next; 0 after the last. */
  nextOf(slot: number): number {
    return this.#memory.words[this.#memory.atSlot(slot) + NEWER]
  }

  keyOf(slot: number): KeyDigest {
    const at = this.#memory.atSlot(slot)
    const [a, b, c, d] = this.#memory.words.subarray(at, at + 4)
    return { a, b, c, d }
  }

  /** Gives a slot to a key that has none, as the one used last. */
  add(stripe: number, key: KeyDigest, slot: number): void {
    const { words } = this.#memory
    const at = this.#memory.atSlot(slot)
    words[at] = key.a
    words[at + 1] = key.b
    words[at + 2] = key.c
    words[at + 3] = key.d
    const bucket = this.#bucketAt(key)
    words[at + NEXT] = words[bucket]
    words[bucket] = slot
    this.#linkNewest(stripe, slot)
  }

  /** Takes the slot from the key that has it. */
  remove(stripe: number, slot: number): void {
    const memory = this.#memory
    const { words } = memory
    const at = memory.atSlot(slot)
    let link = memory.bucketAt + (words[at] & (memory.buckets - 1))
    while (words[link] !== slot) link = memory.atSlot(words[link]) + NEXT
    words[link] = words[at + NEXT]
    this.#unlink(stripe, slot)
  }

  moveToNewest(stripe: number, slot: number): void {
    if (this.#memory.words[this.#stripeAt(stripe) + NEWEST] === slot) return
    this.#unlink(stripe, slot)
    this.#linkNewest(stripe, slot)
  }

  /** All slots of a stripe that have a key, by their buckets. */
  all(stripe: number): number[] {
    const { words, bucketAt, buckets, stripes } = this.#memory
    const slots: number[] = []
    for (let bucket = stripe; bucket < buckets; bucket += stripes) {
      for (let slot = words[bucketAt + bucket]; slot !== 0; slot = words[this.#memory.atSlot(slot) + NEXT])
        slots.push(slot)
    }
    return slots
  }

  /** Makes the list of a stripe anew: these slots, the one used longest ago first. */
  relist(stripe: number, slots: readonly number[]): void {
    const { words } = this.#memory
    const at = this.#stripeAt(stripe)
    words[at + OLDEST] = 0
    words[at + NEWEST] = 0
    for (const slot of slots) this.#linkNewest(stripe, slot)
  }

  #stripeAt(stripe: number): number {
    return this.#memory.stripeAt + stripe * stripeWords
  }

  #bucketAt(key: KeyDigest): number {
    return this.#memory.bucketAt + (key.a & (this.#memory.buckets - 1))
  }

  #unlink(stripe: number, slot: number): void {
    const { words } = this.#memory
    const at = this.#memory.atSlot(slot)
    const ends = this.#stripeAt(stripe)
    const older = words[at + OLDER]
    const newer = words[at + NEWER]
    words[older === 0 ? ends + OLDEST : this.#memory.atSlot(older) + NEWER] = newer
    words[newer === 0 ? ends + NEWEST : this.#memory.atSlot(newer) + OLDER] = older
  }

  #linkNewest(stripe: number, slot: number): void {
    const { words } = this.#memory
    const at = this.#memory.atSlot(slot)
    const ends = this.#stripeAt(stripe)
    const newest = words[ends + NEWEST]
    words[at + OLDER] = newest
    words[at + NEWER] = 0
    words[newest === 0 ? ends + OLDEST : this.#memory.atSlot(newest) + NEWER] = slot
    words[ends + NEWEST] = slot
  }
}
