/** The record of a slot, and the list of all slots in order of their last stamp. */

/*
 * A slot has 32 bytes, half a cache line, and a key that used its window once or twice has nothing else:
 *
 *     older │ newer │ generation │ state │ stamp         │ stamp             state = head << 2 | count
 *     older │ newer │ generation │ state │ start │ capacity │ head │ count   state = ringed + size of its ring in the slab
 *     └─ the list ──┘
 *
 * Slot 0 is both ends of the list:
 *
 *     0 ⇄ idle longest ⇄ … ⇄ used just now ⇄ 0
 *
 * So the first of the list is the first to be dead, and when it is not dead, none is.
 */

/** A slot's first field among the record's integers. */
export const slotBits = 3
/** A slot's first field among the same bytes as floating-point numbers; the third and the fourth are its own two stamps. */
export const floatBits = 2
export const ownStamps = 2
const OLDER = 0
const NEWER = 1
/** By which a holder of the slot's number sees that it is another's now. */
export const GENERATION = 2
export const STATE = 3
export const START = 4
export const CAPACITY = 5
export const HEAD = 6
export const COUNT = 7

/** Where the states of slots with a ring in the slab begin. */
export const ringed = 8

/** The slot that was used next; 0 after the last. After 0 comes the one that was used longest ago. */
export function nextOf(ints: Int32Array, slot: number): number {
  return ints[(slot << slotBits) + NEWER]
}

/** Puts a slot at the end of the list, as the one used last. */
export function link(ints: Int32Array, slot: number): void {
  const newest = ints[OLDER]
  ints[(newest << slotBits) + NEWER] = slot
  ints[(slot << slotBits) + OLDER] = newest
  ints[(slot << slotBits) + NEWER] = 0
  ints[OLDER] = slot
}

export function unlink(ints: Int32Array, slot: number): void {
  const older = ints[(slot << slotBits) + OLDER]
  const newer = ints[(slot << slotBits) + NEWER]
  ints[(older << slotBits) + NEWER] = newer
  ints[(newer << slotBits) + OLDER] = older
}

/** Moves a slot to the end of the list; `unlink` and `link` in one. Fields go by number: it is on every request's way. */
export function touch(ints: Int32Array, slot: number): void {
  const newest = ints[0]
  if (newest === slot) return
  const at = slot << 3
  const older = ints[at]
  const newer = ints[at + 1]
  ints[(older << 3) + 1] = newer
  ints[newer << 3] = older
  ints[(newest << 3) + 1] = slot
  ints[at] = newest
  ints[at + 1] = 0
  ints[0] = slot
}
