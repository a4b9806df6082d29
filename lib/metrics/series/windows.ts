/** The same record three times: since the start, of the last minute, and of the last hour, in fixed memory. */
import { wrongOption } from '../../options.ts'
import { TimeSlots } from './time-slots.ts'

/** Since the start or the last reset; the last 60 to 65 s; the last 60 to 65 minutes. */
export type MetricsWindow = 'total' | 'minute' | 'hour'

/** Something that can be added up. */
export interface WindowRecord<Self> {
  add(other: Self): void
  clear(): void
}

/** Twelve slots and the current one: a window moves in steps of a twelfth. */
const slots = 12
const minuteSlotMs = 5_000
const hourSlotMs = 300_000

/**
 * What is measured goes into `total` and `current(now)`. Slots are made when time first reaches them; a full slot of the
 * minute is added to that of the hour, which 60 of them make up.
 */
export class Windows<R extends WindowRecord<R>> {
  readonly total: R
  readonly #minute: TimeSlots<R>
  readonly #hour: TimeSlots<R>
  readonly #make: () => R

  /** @param makeTotal makes the record of all, when it is to be finer than those of the slots */
  constructor(make: () => R, makeTotal: () => R = make) {
    const clear = (record: R): void => record.clear()
    this.total = makeTotal()
    this.#hour = new TimeSlots({ slotMs: hourSlotMs, slots, make, clear })
    const leave = (record: R, beganAtMs: number): void => this.#hour.at(beganAtMs).add(record)
    this.#minute = new TimeSlots({ slotMs: minuteSlotMs, slots, make, clear, leave })
    this.#make = make
  }

  /** The record of this moment, for the last minute and the last hour. */
  current(nowMs: number): R {
    return this.#minute.at(nowMs)
  }

  /** The record of a window that ends now. */
  read(window: MetricsWindow, nowMs: number): R {
    if (window === 'total') return this.total
    const merged = this.#make()
    for (const record of this.slots(window, nowMs)) merged.add(record)
    return merged
  }

  /**
   * The records that a window which ends now consists of.
   * @throws TypeError when there is no such window
   */
  slots(window: MetricsWindow, nowMs: number): R[] {
    if (window === 'total') return [this.total]
    if (window === 'minute') return this.#minute.within(nowMs)
    if (window === 'hour') return this.#hourSlots(nowMs)
    throw wrongOption('getMetrics', 'window', 'total, minute or hour', window)
  }

  reset(): void {
    this.total.clear()
    this.#minute.clear()
    this.#hour.clear()
  }

  /** With what the minute has not handed over yet. */
  #hourSlots(nowMs: number): R[] {
    const { open } = this.#minute
    if (open === undefined) return this.#hour.within(nowMs)
    const latest = this.#hour.at(open.beganAtMs)
    const records = this.#hour.within(nowMs)
    return records.includes(latest) ? [...records, open.slot] : records
  }
}
