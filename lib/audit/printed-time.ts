/** The time of a line, as it is printed: most lines come in the second of the line before. */
import { flat } from './printed-texts.ts'

export class PrintedTime {
  /** Since 1970. */
  second = Number.NaN
  /** Of that second. */
  thousandths = 0
  /** The beginning of a line, up to the second. */
  text = ''

  set(epochMs: number): void {
    const instant = Math.floor(epochMs)
    const second = Math.floor(instant / 1_000)
    if (second !== this.second) {
      this.second = second
      this.text = flat(`{"timestamp":"${new Date(second * 1_000).toISOString().slice(0, 19)}`)
    }
    this.thousandths = instant - second * 1_000
  }
}
