/** Which slot a key has, for up to 16 million keys. */
import { randomFillSync } from 'node:crypto'
import { firstCell, KeyCells, slotMask, tagShift } from './key-cells.ts'

/*
 * A few keys are in a Map: it knows their hashes, and all of it is in the processor's caches. Among many, a Map follows
 * four pointers for a key, each to memory that is in no cache. The index follows one: the cell that a key wants first is
 * nearly always its own, or beside it.
 *
 *     hash(key) ──> cells   │ · │ 7f → 3 │ · │ a0 → 1 │ …      see key-cells.ts
 *     slot      ──> keys    │ 'user:ada' │ …                   the whole key is compared
 *
 * No request waits for the growth of the whole: who adds a key moves a few that are where they were before.
 *
 *     Map ── a few ──> cells ── a few ──> twice as many cells ── a few ──> …
 */

/** Keys that a Map holds; measured, both take about as long there. */
const mapKeys = 1 << 15

/** Keys of the Map, or cells, that are moved for each key that is added. */
const fewKeys = 8

const pageBits = 16
const pageMask = (1 << pageBits) - 1

/** The longest key, in UTF-16 code units. */
export const longestTableKey = 129

/**
 * What a key's code units are multiplied with, position by position. Nobody who does not know these numbers can find keys
 * that meet in one cell (multilinear hashing: Carter and Wegman 1979, Lemire and Kaser 2014).
 */
const factors = randomFillSync(new Int32Array(longestTableKey + 1))

export class KeyTable {
  /** All keys, until there are too many; then those that are not yet in the index. */
  readonly #map = new Map<string, number>()
  #leaving: Iterator<[key: string, slot: number]> | undefined
  #index: KeyCells | undefined
  /** The index that was there before, until all of it is in this one. */
  #older: KeyCells | undefined
  /** By slot, in pages: a new page copies nothing. */
  readonly #pages: string[][] = [['']]
  #size = 0
  #moved = 0

  get size(): number {
    return this.#size
  }

  /** Keys that were moved since the table is there. */
  get moved(): number {
    return this.#moved
  }

  /** A key's slot; 0 when it has none. */
  find(key: string): number {
    return this.#index === undefined ? (this.#map.get(key) ?? 0) : this.#search(this.#index, key)
  }

  keyOf(slot: number): string {
    return this.#pages[slot >>> pageBits][slot & pageMask]
  }

  /** Gives a slot to a key that has none. */
  add(key: string, slot: number): void {
    this.#pages[slot >>> pageBits] ??= []
    this.#pages[slot >>> pageBits][slot & pageMask] = key
    this.#size++
    if (this.#index !== undefined) this.#addTo(this.#index, key, slot)
    else if (this.#map.set(key, slot).size === mapKeys) {
      this.#index = new KeyCells(2 * mapKeys)
      this.#leaving = this.#map.entries()
    }
  }

  /** Takes the slot from the key that has it. */
  delete(slot: number): void {
    const key = this.keyOf(slot)
    this.#pages[slot >>> pageBits][slot & pageMask] = ''
    this.#size--
    if (this.#index === undefined) this.#map.delete(key)
    else {
      const hash = hashOf(key)
      if (!this.#index.delete(hash, slot) && !this.#older?.delete(hash, slot)) this.#map.delete(key)
    }
  }

  #search(index: KeyCells, key: string): number {
    const hash = hashOf(key)
    const { cells } = index
    const { length } = cells
    for (let i = firstCell(hash, length); ; i = i + 1 === length ? 0 : i + 1) {
      const cell = cells[i]
      if (cell === 0) return index === this.#index ? this.#searchOlder(key) : 0
      if (cell >>> tagShift === (hash & 0xff) && this.keyOf(cell & slotMask) === key) return cell & slotMask
    }
  }

  #searchOlder(key: string): number {
    if (this.#older !== undefined) return this.#search(this.#older, key)
    return this.#leaving === undefined ? 0 : (this.#map.get(key) ?? 0)
  }

  #addTo(full: KeyCells, key: string, slot: number): void {
    let index = full
    if (this.#size > index.room) {
      index = new KeyCells(2 * index.room)
      this.#older = this.#index
      this.#index = index
    }
    index.add(hashOf(key), slot)
    if (this.#older !== undefined) {
      this.#moved += this.#older.moveTo(index, fewKeys)
      if (this.#older.isMoved) this.#older = undefined
    } else if (this.#leaving !== undefined) this.#moveFromMap(index, this.#leaving)
  }

  #moveFromMap(index: KeyCells, leaving: Iterator<[key: string, slot: number]>): void {
    for (let n = 0; n < fewKeys; n++) {
      const { done, value } = leaving.next()
      if (done) {
        this.#leaving = undefined
        return
      }
      const [key, slot] = value
      this.#map.delete(key)
      index.add(hashOf(key), slot)
      this.#moved++
    }
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
