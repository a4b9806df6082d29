/** One slab of typed arrays for the stamps of all keys of a limiter, handed out as rings of a few sizes. */

/** Stamps in a page: 512 KiB. A new page copies nothing, so that no request pays for the growth of the whole. */
export const pageBits = 16
const pageStamps = 1 << pageBits
export const pageMask: number = pageStamps - 1

const smallestRing = 4

const noPage = new Float64Array(0)

/**
 * A ring starts at `start`: page `start >>> pageBits`, element `start & pageMask`. It has 4, 8, 16 … stamps or, the last,
 * exactly what a key can need, so that a key at its limit wastes nothing.
 *
 *     pages[0]  | a   a   a   a | b   b   b   b   b   b   b   b | (free) |   rings of 4 and 8 stamps
 *     pages[1]  | c   c   c   c   c   c   c   c   c   c   c   c   c   c   c   c |  …
 *
 * Free rings of one size are a list through their first stamp. A large free ring is cut up when a small one is wanted.
 */
export class StampSlab {
  readonly pages: Float64Array[] = [noPage]
  /** Units of each stamp, beside `pages`; undefined while every stamp is one unit. */
  weights: Float64Array[] | undefined
  /** Stamps of a ring, by size class. */
  readonly capacities: Int32Array

  /** By size class: where the first free ring starts, or -1. */
  readonly #free: Int32Array
  /** The page that new rings are cut from, and its first element that never was one's. */
  #openPage = 0
  #opened = 0
  /** Numbers of pages that a very large ring had for itself and gave back. */
  readonly #freePages: number[] = []

  constructor(largestRing: number) {
    const capacities: number[] = []
    for (let capacity = smallestRing; capacity < largestRing; capacity *= 2) capacities.push(capacity)
    capacities.push(largestRing)
    this.capacities = Int32Array.from(capacities)
    this.#free = new Int32Array(capacities.length).fill(-1)
  }

  get bytes(): number {
    let stamps = 0
    for (const page of this.pages) stamps += page.length
    return stamps * (this.weights === undefined ? 8 : 16)
  }

  allocate(size: number): number {
    const start = this.#free[size]
    if (start !== -1) {
      this.#free[size] = this.pages[start >>> pageBits][start & pageMask]
      return start
    }
    const capacity = this.capacities[size]
    if (capacity > pageStamps) return this.#ownPage(capacity)
    return this.#cutUp(size) ?? this.#open(capacity)
  }

  release(start: number, size: number): void {
    const page = start >>> pageBits
    if (this.capacities[size] > pageStamps) {
      this.pages[page] = noPage
      if (this.weights !== undefined) this.weights[page] = noPage
      this.#freePages.push(page)
      return
    }
    this.pages[page][start & pageMask] = this.#free[size]
    this.#free[size] = start
  }

  /** From here on stamps have weights; those that are there weigh one. */
  weigh(): Float64Array[] {
    this.weights ??= this.pages.map(page => new Float64Array(page.length).fill(1))
    return this.weights
  }

  #ownPage(capacity: number): number {
    const page = this.#freePages.pop() ?? this.pages.length
    this.#setPage(page, capacity)
    return (page << pageBits) | 0
  }

  /** A ring from the smallest larger one that is free; the rest of that becomes smaller free rings. */
  #cutUp(size: number): number | undefined {
    for (let larger = size + 1; larger < this.capacities.length; larger++) {
      const start = this.#free[larger]
      if (start === -1) continue
      this.#free[larger] = this.pages[start >>> pageBits][start & pageMask]
      this.#giveBack(start + this.capacities[size], this.capacities[larger] - this.capacities[size])
      return start
    }
    return undefined
  }

  #open(capacity: number): number {
    const length = this.pages[this.#openPage].length
    if (this.#opened + capacity > length) {
      if (length < pageStamps) {
        this.#setPage(this.#openPage, Math.min(pageStamps, Math.max(16, length * 2, length + capacity)))
      } else {
        this.#giveBack((this.#openPage << pageBits) + this.#opened, length - this.#opened)
        this.#openPage = this.#freePages.pop() ?? this.pages.length
        this.#opened = 0
        this.#setPage(this.#openPage, pageStamps)
      }
    }
    // The page may have been full to the last few stamps, and small.
    if (this.#opened + capacity > this.pages[this.#openPage].length) return this.#open(capacity)
    const start = ((this.#openPage << pageBits) + this.#opened) | 0
    this.#opened += capacity
    return start
  }

  #giveBack(from: number, length: number): void {
    let start = from
    let left = length
    for (let size = this.capacities.length - 1; size >= 0; size--) {
      const capacity = this.capacities[size]
      for (; left >= capacity; left -= capacity, start += capacity) this.release(start, size)
    }
  }

  #setPage(page: number, length: number): void {
    this.pages[page] = grown(this.pages[page], length)
    if (this.weights !== undefined) this.weights[page] = grown(this.weights[page], length)
  }
}

/** The same numbers in a longer array. */
export function grown(numbers: Float64Array | undefined, length: number): Float64Array<ArrayBuffer> {
  const longer = new Float64Array(length)
  longer.set(numbers ?? noPage)
  return longer
}
