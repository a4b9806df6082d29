/** The memory that threads share: where everything stands in the buffer, its locks, and the blocks that rings live in. */
import { threadId } from 'node:worker_threads'
import { LimiterUnavailableError } from '../rate-limit-decision.ts'

/*
 *     header │ stripes │ buckets │ slots                       │ arena ...........................> grows
 *      64 w  │  16 w   │  1 w    │ 14 w each                   │ blocks of 24 · 2^class bytes
 *            │  each   │  each   │                             │
 *
 * A stripe is a lock and the list of the keys it guards, in order of their last stamp. A bucket is the first slot of a
 * chain. A block of class c holds a ring of 2^(c+1) entries: first all stamps (f64), then all counts (i32).
 *
 * Every change that others could find half done is one word: whoever dies in the middle leaves the slots and blocks in
 * hand unused (they are lost), and lists and sums that `SharedWindows.repair` makes anew.
 */

/** Words of the header. */
export const HEADER = {
  maxRequests: 0,
  maxKeys: 1,
  stripes: 2,
  buckets: 3,
  /** Slots that were in use at some time, and of those the first that is free again. */
  opened: 4,
  freeSlot: 5,
  /** Units of 24 bytes given out from the arena's start, and the most that there may be. */
  arenaUsed: 6,
  arenaUnits: 7,
  serial: 8,
  keys: 9,
  reclaimed: 10,
  overflowed: 11,
  pressed: 12,
  /** Views that were made after the first. */
  attached: 13,
  /** f64: two words each. */
  windowMs: 14,
  resolutionMs: 16,
  secret: 18,
  /** First free block of each class; 0 is none, else the block's number + 1. */
  freeBlocks: 24
} as const

const slotWords = 14
export const stripeWords = 16
const headerWords = 64
const unitBytes = 24
const unitWords = unitBytes / 4
const classBits = 5
const largestClass = 31
/** The arena grows by this much at least. */
const growthBytes = 65_536

const WAITERS = 1
/** Attempts before a thread goes to sleep. */
const spins = 200
const sleepMs = 10

/** ECMAScript 2024; Node has had it since 20. */
type GrowableBuffer = SharedArrayBuffer & { grow(bytes: number): void; readonly maxByteLength: number }
const Growable = SharedArrayBuffer as unknown as new (
  bytes: number,
  options: { maxByteLength: number }
) => GrowableBuffer

export interface SharedShape {
  maxRequests: number
  windowMs: number
  resolutionMs: number
  maxKeys: number
  /** Bytes that the rings may take. */
  arenaBytes: number
}

export class SharedMemory {
  readonly buffer: SharedArrayBuffer
  /** Views of all that the buffer held when this thread last looked. */
  words: Int32Array
  floats: Float64Array
  readonly maxKeys: number
  readonly stripes: number
  readonly buckets: number
  readonly stripeAt: number
  readonly bucketAt: number
  readonly #slotAt: number
  readonly #arenaAt: number
  readonly #me = threadId + 1
  readonly #lockTimeoutMs: number
  /** Locks whose holder did not give them back in time; these are not waited for again. */
  readonly #stuck = new Set<number>()

  constructor(buffer: SharedArrayBuffer, lockTimeoutMs: number) {
    this.buffer = buffer
    this.words = new Int32Array(buffer, 0, buffer.byteLength >> 2)
    this.floats = new Float64Array(buffer, 0, buffer.byteLength >> 3)
    this.maxKeys = this.words[HEADER.maxKeys]
    this.stripes = this.words[HEADER.stripes]
    this.buckets = this.words[HEADER.buckets]
    const sections = sectionsOf(this.maxKeys, this.stripes, this.buckets)
    this.stripeAt = sections.stripeAt
    this.bucketAt = sections.bucketAt
    this.#slotAt = sections.slotAt
    this.#arenaAt = sections.arenaAt
    this.#lockTimeoutMs = lockTimeoutMs
  }

  static create(shape: SharedShape, secret: Int32Array): SharedArrayBuffer {
    const buckets = 2 ** Math.ceil(Math.log2(shape.maxKeys + 1))
    const stripes = Math.min(64, buckets)
    const { arenaAt } = sectionsOf(shape.maxKeys, stripes, buckets)
    const fixed = arenaAt * 4
    const arenaUnits = Math.floor(shape.arenaBytes / unitBytes)
    const buffer = new Growable(fixed, { maxByteLength: fixed + arenaUnits * unitBytes })
    const words = new Int32Array(buffer, 0, headerWords)
    const floats = new Float64Array(buffer, 0, headerWords / 2)
    words[HEADER.maxRequests] = shape.maxRequests
    words[HEADER.maxKeys] = shape.maxKeys
    words[HEADER.stripes] = stripes
    words[HEADER.buckets] = buckets
    words[HEADER.arenaUnits] = arenaUnits
    words.set(secret, HEADER.secret)
    floats[HEADER.windowMs / 2] = shape.windowMs
    floats[HEADER.resolutionMs / 2] = shape.resolutionMs
    return buffer
  }

  /** Whether a buffer was made by `create`. */
  static isIn(buffer: SharedArrayBuffer): boolean {
    const header = headerWords * 4
    return buffer.byteLength > header && new Int32Array(buffer, 0, headerWords)[HEADER.maxRequests] > 0
  }

  /** The lock of the overflow window. */
  get overflowLock(): number {
    return this.stripes
  }

  /** The lock of free slots and blocks. Locks are taken in ascending order: stripe, overflow, this. */
  get storeLock(): number {
    return this.stripes + 1
  }

  /** The first word of a slot. */
  atSlot(slot: number): number {
    return this.#slotAt + slot * slotWords
  }

  /** @throws LimiterUnavailableError when its holder does not give it back in time */
  lock(number: number): void {
    const at = this.stripeAt + number * stripeWords
    for (let i = 0; i < spins; i++) {
      if (Atomics.compareExchange(this.words, at, 0, this.#me) === 0) return
    }
    this.#lockSlowly(number, at)
  }

  unlock(number: number): void {
    const at = this.stripeAt + number * stripeWords
    Atomics.store(this.words, at, 0)
    if (Atomics.load(this.words, at + WAITERS) > 0) Atomics.notify(this.words, at, 1)
  }

  /** What `work` gives, done under a lock. */
  locked<T>(number: number, work: () => T): T {
    this.lock(number)
    try {
      return work()
    } finally {
      this.unlock(number)
    }
  }

  /** Takes over the locks that a thread held when it ended, and calls `repair` for each before it is given back. */
  takeOver(deadThread: number, repair: (lock: number) => void): void {
    for (let number = this.storeLock; number >= 0; number--) {
      const at = this.stripeAt + number * stripeWords
      if (Atomics.compareExchange(this.words, at, deadThread + 1, this.#me) !== deadThread + 1) continue
      repair(number)
      this.unlock(number)
    }
  }

  /** A free slot's number from 1, or 0 when all are taken. */
  takeSlot(): number {
    this.lock(this.storeLock)
    const { words } = this
    let slot = words[HEADER.freeSlot]
    if (slot !== 0) words[HEADER.freeSlot] = words[this.atSlot(slot)]
    else if (words[HEADER.opened] < this.maxKeys) slot = ++words[HEADER.opened]
    this.unlock(this.storeLock)
    return slot
  }

  freeSlot(slot: number): void {
    this.lock(this.storeLock)
    this.words[this.atSlot(slot)] = this.words[HEADER.freeSlot]
    this.words[HEADER.freeSlot] = slot
    this.unlock(this.storeLock)
  }

  /** A block as one word: its number and class; −1 when the arena is full. */
  takeBlock(size: number): number {
    if (size > largestClass - classBits) return -1
    this.lock(this.storeLock)
    const block = this.#takeBlock(size)
    this.unlock(this.storeLock)
    return block
  }

  freeBlock(block: number): void {
    this.lock(this.storeLock)
    const number = block >> classBits
    const list = HEADER.freeBlocks + sizeOf(block)
    this.#lookFor(number, sizeOf(block))
    this.words[this.#arenaAt + number * unitWords] = this.words[list]
    this.words[list] = number + 1
    this.unlock(this.storeLock)
  }

  /** Index in `floats` of the first stamp of a block. */
  stampsAt(block: number): number {
    this.#lookFor(block >> classBits, sizeOf(block))
    return (this.#arenaAt + (block >> classBits) * unitWords) >> 1
  }

  #takeBlock(size: number): number {
    const list = HEADER.freeBlocks + size
    const free = this.words[list]
    if (free !== 0) {
      this.#lookFor(free - 1, size)
      this.words[list] = this.words[this.#arenaAt + (free - 1) * unitWords]
      return ((free - 1) << classBits) | size
    }
    const number = this.words[HEADER.arenaUsed]
    const end = number + 2 ** size
    if (end > this.words[HEADER.arenaUnits]) return -1
    const bytes = this.#arenaAt * 4 + end * unitBytes
    if (bytes > this.buffer.byteLength) this.#grow(bytes)
    this.words[HEADER.arenaUsed] = end
    return (number << classBits) | size
  }

  #grow(bytes: number): void {
    const buffer = this.buffer as GrowableBuffer
    // Whole multiples of 8: all of the buffer is in the views.
    const wanted = Math.max(bytes, buffer.byteLength + growthBytes)
    buffer.grow(Math.min(wanted, buffer.maxByteLength))
    this.#look()
  }

  /** Another thread may have let the arena grow over this block. */
  #lookFor(number: number, size: number): void {
    if (this.#arenaAt + (number + (1 << size)) * unitWords > this.words.length) this.#look()
  }

  #look(): void {
    this.words = new Int32Array(this.buffer, 0, this.buffer.byteLength >> 2)
    this.floats = new Float64Array(this.buffer, 0, this.buffer.byteLength >> 3)
  }

  #lockSlowly(number: number, at: number): void {
    const end = this.#stuck.has(number) ? 0 : performance.now() + this.#lockTimeoutMs
    Atomics.add(this.words, at + WAITERS, 1)
    try {
      for (;;) {
        const holder = Atomics.compareExchange(this.words, at, 0, this.#me)
        if (holder === 0) break
        if (performance.now() >= end) {
          this.#stuck.add(number)
          throw new LimiterUnavailableError(
            `SharedRateLimiter: thread ${holder - 1} holds a lock and does not go on; if it ended, call releaseThread`
          )
        }
        Atomics.wait(this.words, at, holder, sleepMs)
      }
      this.#stuck.delete(number)
    } finally {
      Atomics.sub(this.words, at + WAITERS, 1)
    }
  }
}

/** The class of a block: it holds 2^(class + 1) entries. */
export function sizeOf(block: number): number {
  return block & ((1 << classBits) - 1)
}

/** Where the sections start, in words; slots and blocks at even ones. */
function sectionsOf(maxKeys: number, stripes: number, buckets: number) {
  const stripeAt = headerWords
  const bucketAt = stripeAt + (stripes + 2) * stripeWords
  const slotAt = bucketAt + buckets + (buckets & 1)
  return { stripeAt, bucketAt, slotAt, arenaAt: slotAt + (maxKeys + 1) * slotWords }
}
