/** A window that moves in steps: slots of equal length, used again and again, so that memory is fixed. */

export interface TimeSlotsOptions<Slot> {
  slotMs: number
  /** Full slots that a window must cover; one more is being filled. */
  slots: number
  make(): Slot
  clear(slot: Slot): void
  /** Told of a slot that is full, and of the moment it began, before it is left for the next. */
  leave?(slot: Slot, beganAtMs: number): void
}

/**
 * ```
 *   slots = 3          |<----- window: 3 slots and what there is of the current ----->|
 *   number    … 41          42              43              44              45 (now in here)
 *   place        1           2               3               0               1   ← number mod 4; 41 is cleared
 * ```
 * So a window covers at least `slots × slotMs`, and at most one slot more.
 */
export class TimeSlots<Slot> {
  readonly #slotMs: number
  readonly #slots: (Slot | undefined)[]
  readonly #numbers: Float64Array
  readonly #make: () => Slot
  readonly #clear: (slot: Slot) => void
  readonly #leave: ((slot: Slot, beganAtMs: number) => void) | undefined
  #current: Slot
  #currentNumber = -Infinity
  /** When the current slot ends. */
  #until = -Infinity

  constructor({ slotMs, slots, make, clear, leave }: TimeSlotsOptions<Slot>) {
    this.#slotMs = slotMs
    this.#slots = new Array<Slot | undefined>(slots + 1).fill(undefined)
    this.#numbers = new Float64Array(slots + 1).fill(-Infinity)
    this.#make = make
    this.#clear = clear
    this.#leave = leave
    this.#current = make()
  }

  /** The slot that is being filled; undefined when nothing was since the start, or since `clear`. */
  get open(): { slot: Slot; beganAtMs: number } | undefined {
    if (this.#currentNumber === -Infinity) return undefined
    return { slot: this.#current, beganAtMs: this.#currentNumber * this.#slotMs }
  }

  /** The slot of this moment, cleared when it is a new one. Time that steps back stays in the latest slot. */
  at(nowMs: number): Slot {
    if (nowMs >= this.#until) this.#turn(Math.floor(nowMs / this.#slotMs))
    return this.#current
  }

  /** The slots of the window that ends now. */
  within(nowMs: number): Slot[] {
    const oldest = Math.max(Math.floor(nowMs / this.#slotMs), this.#currentNumber) - this.#slots.length + 1
    return this.#slots.filter(
      (slot, place): slot is Slot => slot !== undefined && this.#numbers[place] >= oldest
    )
  }

  clear(): void {
    this.#numbers.fill(-Infinity)
    this.#currentNumber = -Infinity
    this.#until = -Infinity
  }

  #turn(number: number): void {
    const { open } = this
    if (open !== undefined) this.#leave?.(open.slot, open.beganAtMs)
    const place = ((number % this.#slots.length) + this.#slots.length) % this.#slots.length
    let slot = this.#slots[place]
    if (slot === undefined) {
      slot = this.#currentNumber === -Infinity ? this.#current : this.#make()
      this.#slots[place] = slot
    }
    this.#clear(slot)
    this.#numbers[place] = number
    this.#currentNumber = number
    this.#current = slot
    this.#until = (number + 1) * this.#slotMs
  }
}
