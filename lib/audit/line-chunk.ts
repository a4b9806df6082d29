/** A piece of memory that collects lines. One that comes again is copied from where it was, with its digits anew. */
import type { PrintedTime } from './printed-time.ts'

/** What `write(text, offset, 'latin1')` comes down to, without the look-up of the encoding. */
interface LatinBuffer extends Buffer {
  latin1Write(text: string, offset: number): number
}

/** Where a line is, for as long as its chunk is not written. */
export interface LinePlace {
  /** What the chunk was when it took the line. */
  filling: number
  /** Of its first byte in the chunk. */
  at: number
  /** With the newline. */
  length: number
  /** Of its duration, counted from `at`, and the digits and point of that. */
  durationAt: number
  durationLength: number
  /** The second that it names. */
  second: number
}

const newline = 0x0a
const zero = 0x30
const point = 0x2e
/** The shortest duration is `0.000`. */
const shortest = 5
/** µs from which on a duration is not printed as digits in place: such lines are rare. */
const longest = 1_000_000_000
/** Of the thousandths of its second in a line. */
const thousandthsAt = 34
/** The number of a chunk between two times that it is emptied: no two have the same. */
let fillings = 0

export class LineChunk {
  readonly bytes: LatinBuffer
  used = 0
  lines = 0
  #filling = ++fillings

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size) as LatinBuffer
  }

  get filling(): number {
    return this.#filling
  }

  /** Whether there is room for that many bytes. */
  fits(length: number): boolean {
    return this.used + length <= this.bytes.length
  }

  /** @param line printable ASCII, for which there is room, with its newline */
  append(line: string): void {
    this.bytes.latin1Write(line, this.used)
    this.used += line.length + 1
    this.bytes[this.used - 1] = newline
    this.lines++
  }

  /** Notes where the last line is. */
  locate(last: LinePlace): void {
    last.filling = this.#filling
    last.at = this.used - last.length
  }

  /**
   * Appends the line that is at this place once more, with another time and duration. The place is then that of the copy.
   * @returns false when the line is not here any more, or there is no room for it, or the duration is a very long one
   */
  repeat(place: LinePlace, time: PrintedTime, durationMicros: number): boolean {
    if (place.filling !== this.#filling || !(durationMicros >= 0 && durationMicros < longest)) return false
    const { bytes, used } = this
    const { at, durationAt } = place
    const durationLength = lengthOf(durationMicros)
    const length = place.length + durationLength - place.durationLength
    if (used + length > bytes.length) return false
    const durationEnd = durationAt + durationLength
    if (durationLength === place.durationLength) bytes.copyWithin(used, at, at + length)
    else {
      bytes.copyWithin(used, at, at + durationAt)
      bytes.copyWithin(used + durationEnd, at + durationAt + place.durationLength, at + place.length)
      place.length = length
      place.durationLength = durationLength
    }
    printMillis(bytes, used + durationEnd, durationMicros)
    if (place.second !== time.second) {
      bytes.latin1Write(time.text, used)
      place.second = time.second
    }
    printThousandths(bytes, used + thousandthsAt, time.thousandths)
    place.at = used
    this.used = used + length
    this.lines++
    return true
  }

  /** Free for other lines. */
  empty(): void {
    this.used = 0
    this.lines = 0
    this.#filling = ++fillings
  }
}

/** Of a duration in ms with three decimals. */
function lengthOf(micros: number): number {
  let length = shortest
  for (let bound = 10_000; micros >= bound; bound *= 10) length++
  return length
}

/** Prints µs as ms with three decimals, from the end. */
function printMillis(bytes: Uint8Array, end: number, micros: number): void {
  let rest = Math.floor(micros / 1_000)
  printThousandths(bytes, end - 3, micros - rest * 1_000)
  bytes[end - 4] = point
  let at = end - 5
  for (; rest >= 10; at--) {
    const tenth = Math.floor(rest / 10)
    bytes[at] = zero + rest - tenth * 10
    rest = tenth
  }
  bytes[at] = zero + rest
}

function printThousandths(bytes: Uint8Array, at: number, thousandths: number): void {
  const tens = Math.floor(thousandths / 10)
  const hundreds = Math.floor(thousandths / 100)
  bytes[at] = zero + hundreds
  bytes[at + 1] = zero + tens - hundreds * 10
  bytes[at + 2] = zero + thousandths - tens * 10
}
