/** Open addressing: slots by the hashes of their keys, in one row of cells. */

/*
 * A cell is four bytes, the lower eight bits of a key's hash and the number of its slot. The upper bits say which cell the
 * key wants, so that cells stand in the order of their hashes: to move them to a longer row is to copy from left to right.
 *
 *     cells     │ · │ 7f → 3 │ · │ a0 → 1 │ a2 → 9 │ · │        at least a fifth of them are empty;
 *                                     ·····> next               one that is taken: the next
 *     hashes    │ · │ 5d007f │ · │ 81b7a0 │ 82ffa2 │ · │        whole, for when cells are moved
 */

/** The slot in a cell; what is left is the tag. */
export const slotMask = 0xffffff
export const tagShift = 24

const perHash = 2 ** -32

export class KeyCells {
  /** Keys that it takes. */
  readonly room: number
  readonly cells: Int32Array
  readonly #hashes: Int32Array
  /** While its cells are given away: where the next one is, and how many were looked at. */
  #next = -1
  #passed = 0

  constructor(room: number) {
    this.room = room
    this.cells = new Int32Array(room + (room >> 2))
    this.#hashes = new Int32Array(this.cells.length)
  }

  add(hash: number, slot: number): void {
    const { cells } = this
    const { length } = cells
    let i = firstCell(hash, length)
    while (cells[i] !== 0) i = i + 1 === length ? 0 : i + 1
    cells[i] = (hash << tagShift) | slot
    this.#hashes[i] = hash
  }

  /** Empties a slot's cell, and closes the gap: a search must not end at it too soon. False when it has none. */
  delete(hash: number, slot: number): boolean {
    const { cells } = this
    const hashes = this.#hashes
    const { length } = cells
    let gap = firstCell(hash, length)
    while (cells[gap] !== 0 && (cells[gap] & slotMask) !== slot) gap = gap + 1 === length ? 0 : gap + 1
    if (cells[gap] === 0) return false
    for (let i = gap; ; ) {
      i = i + 1 === length ? 0 : i + 1
      if (cells[i] === 0) break
      // It may stand in the gap unless it wants a cell behind that.
      if (steps(firstCell(hashes[i], length), i, length) < steps(gap, i, length)) continue
      cells[gap] = cells[i]
      hashes[gap] = hashes[i]
      gap = i
    }
    cells[gap] = 0
    return true
  }

  /** Whether all of it was moved. */
  get isMoved(): boolean {
    return this.#passed === this.cells.length
  }

  /**
   * Moves the next few cells, and on to an empty one: what stands together goes together, so that a search in either row
   * finds what is there. Gives how many were taken.
   */
  moveTo(others: KeyCells, few: number): number {
    const { cells } = this
    if (this.#next < 0) this.#next = cells.indexOf(0)
    let moved = 0
    for (let n = 0; !this.isMoved && (n < few || cells[this.#next] !== 0); n++) {
      const i = this.#next
      if (cells[i] !== 0) {
        others.add(this.#hashes[i], cells[i] & slotMask)
        cells[i] = 0
        moved++
      }
      this.#next = i + 1 === cells.length ? 0 : i + 1
      this.#passed++
    }
    return moved
  }
}

/** The cell that a hash wants. */
export function firstCell(hash: number, length: number): number {
  return ((hash >>> 0) * perHash * length) | 0
}

function steps(from: number, to: number, length: number): number {
  return to >= from ? to - from : to - from + length
}
