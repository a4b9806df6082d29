/** Which slot a key has, for up to 16 million keys. */
import { randomFillSync } from 'node:crypto'

/*
 * A few keys are in a Map: it knows their hashes, and all of it is in the processor's caches. Among many, a Map follows
 * four pointers for a key, each to memory that is in no cache. The index follows one: a cell is four bytes, the upper
 * eight bits of the key's hash and the number of its slot, and the cell that a key wants first is nearly always its own.
 *
 *     hash(key) ──> cells   │ · │ 7f → 3 │ · │ a0 → 1 │ a2 → 9 │ · │        at least half of them are empty;
 *                                                ·····> next          one that is taken: the next
 *     slot      ──> keys    │ 'user:ada' │ …                               the whole key is compared
 *               ──> hashes  │ 5d0001a0   │ …                               for when cells are moved
 */

/** Keys that a Map holds; measured, both take about as long there. */
const mapKeys = 1 << 15
const slotMask = 0xffffff

/** The longest key, in UTF-16 code units. */
export const longestTableKey = 129

/**
 * What a key's code units are multiplied with, position by position. Nobody who does not know these numbers can find keys
 * that meet in one cell (multilinear hashing: Carter and Wegman 1979, Lemire and Kaser 2014).
 */
const factors = randomFillSync(new Int32Array(longestTableKey + 1))

export class KeyTable {
  /** Until there are too many. */
  #map: Map<string, number> | undefined = new Map()
  /** By slot. */
  #keys: string[] = ['']
  #hashes = new Int32Array(0)
  #cells = new Int32Array(0)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** A key's slot; 0 when it has none. */
  find(key: string): number {
    return this.#map === undefined ? this.#search(key) : (this.#map.get(key) ?? 0)
  }

  keyOf(slot: number): string {
    return this.#keys[slot]
  }

  /** Gives a slot to a key that has none. */
  add(key: string, slot: number): void {
    this.#keys[slot] = key
    this.#size++
    if (this.#map === undefined) this.#index(slot)
    else if (this.#size <= mapKeys) this.#map.set(key, slot)
    else {
      this.#leave(this.#map)
      this.#index(slot)
    }
  }

  /** Takes the slot from the key that has it. */
  delete(slot: number): void {
    this.#size--
    if (this.#map === undefined) this.#vacate(slot)
    else this.#map.delete(this.#keys[slot])
    this.#keys[slot] = ''
  }

  #search(key: string): number {
    const hash = hashOf(key)
    const cells = this.#cells
    const mask = cells.length - 1
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const cell = cells[i]
      if (cell === 0) return 0
      if ((cell ^ hash) >>> 24 === 0 && this.#keys[cell & slotMask] === key) return cell & slotMask
    }
  }

  #leave(map: Map<string, number>): void {
    this.#map = undefined
    this.#cells = new Int32Array(4 * mapKeys)
    for (const slot of map.values()) this.#index(slot)
  }

  #index(slot: number): void {
    if (2 * this.#size > this.#cells.length) this.#grow()
    if (slot >= this.#hashes.length) {
      const hashes = new Int32Array(Math.max(2 * slot, 2 * mapKeys))
      hashes.set(this.#hashes)
      this.#hashes = hashes
    }
    this.#hashes[slot] = hashOf(this.#keys[slot])
    this.#place(slot)
  }

  #place(slot: number): void {
    const hash = this.#hashes[slot]
    const cells = this.#cells
    const mask = cells.length - 1
    let i = hash & mask
    while (cells[i] !== 0) i = (i + 1) & mask
    cells[i] = (hash & ~slotMask) | slot
  }

  #grow(): void {
    const old = this.#cells
    this.#cells = new Int32Array(2 * old.length)
    for (const cell of old) if (cell !== 0) this.#place(cell & slotMask)
  }

  /** Empties a slot's cell, and closes the gap: a search must not end at it too soon. */
  #vacate(slot: number): void {
    const cells = this.#cells
    const mask = cells.length - 1
    let gap = this.#hashes[slot] & mask
    while ((cells[gap] & slotMask) !== slot) gap = (gap + 1) & mask
    for (let i = (gap + 1) & mask; cells[i] !== 0; i = (i + 1) & mask) {
      const wanted = this.#hashes[cells[i] & slotMask] & mask
      // It may stand in the gap unless it wants a cell behind that.
      if (((i - wanted) & mask) < ((i - gap) & mask)) continue
      cells[gap] = cells[i]
      gap = i
    }
    cells[gap] = 0
  }
}

function hashOf(key: string): number {
  const { length } = key
  let sum = Math.imul(length, factors[longestTableKey])
  for (let i = 0; i < length; i++) sum = (sum + Math.imul(key.charCodeAt(i), factors[i])) | 0
  // Every bit of the sum reaches every bit of the hash, and no two sums have one hash.
  sum = Math.imul(sum ^ (sum >>> 16), 0x7feb352d)
  sum = Math.imul(sum ^ (sum >>> 15), 0x846ca68b)
  return sum ^ (sum >>> 16)
}
