/** The record of a slot, and the list of all slots in order of their last stamp. */

/*
 *     slot, 32 bytes    start │ capacity │ head │ count │ older │ newer │ size │ generation
 *                       └─────────── its ring ──────────┘ └── the list ──┘
 *
 * Slot 0 is both ends of the list:
 *
 *     0 ⇄ idle longest ⇄ … ⇄ used just now ⇄ 0
 *
 * So the first of the list is the first to be dead, and when it is not dead, none is.
 */
export const slotBits = 3
export const START = 0
export const CAPACITY = 1
export const HEAD = 2
export const COUNT = 3
const OLDER = 4
const NEWER = 5
/** Size class of the ring. */
export const SIZE = 6
/** By which a holder of the slot's number sees that it is another's now. */
export const GENERATION = 7

/** The slot that was used next; 0 after the last. After 0 comes the one that was used longest ago. */
export function nextOf(slots: Int32Array, slot: number): number {
  return slots[(slot << slotBits) + NEWER]
}

/** Puts a slot at the end of the list, as the one used last. */
export function link(slots: Int32Array, slot: number): void {
  const newest = slots[OLDER]
  slots[(newest << slotBits) + NEWER] = slot
  slots[(slot << slotBits) + OLDER] = newest
  slots[(slot << slotBits) + NEWER] = 0
  slots[OLDER] = slot
}

export function unlink(slots: Int32Array, slot: number): void {
  const older = slots[(slot << slotBits) + OLDER]
  const newer = slots[(slot << slotBits) + NEWER]
  slots[(older << slotBits) + NEWER] = newer
  slots[(newer << slotBits) + OLDER] = older
}

/** Moves a slot to the end of the list; `unlink` and `link` in one. */
export function touch(slots: Int32Array, slot: number): void {
  const at = slot << slotBits
  const older = slots[at + OLDER]
  const newer = slots[at + NEWER]
  const newest = slots[OLDER]
  if (newest === slot) return
  slots[(older << slotBits) + NEWER] = newer
  slots[(newer << slotBits) + OLDER] = older
  slots[(newest << slotBits) + NEWER] = slot
  slots[at + OLDER] = newest
  slots[at + NEWER] = 0
  slots[OLDER] = slot
}
