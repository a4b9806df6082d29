/** Bytes written one after the other into a buffer that grows. */

/** Of 2^53. */
const maxDigits = 16

/** What Node's types keep quiet about: `write` without a look at its arguments. */
interface WritableBuffer extends Buffer {
  latin1Write(text: string, offset: number, length: number): number
}

export class ByteWriter {
  #buffer: WritableBuffer
  #length = 0

  /** @param memory to begin with, or how many bytes of it */
  constructor(memory: Buffer | number = 16_384) {
    this.#buffer = (typeof memory === 'number' ? Buffer.allocUnsafeSlow(memory) : memory) as WritableBuffer
  }

  get length(): number {
    return this.#length
  }

  /** What was written; shares the memory. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }

  /** Forgets what was written after `length`. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, length)
  }

  /** @param ascii true only when every character is below U+0080: then nothing is measured or transcoded */
  text(text: string, ascii: boolean): void {
    if (ascii) {
      this.#reserve(text.length)
      this.#length += this.#buffer.latin1Write(text, this.#length, text.length)
    } else {
      this.#reserve(text.length * 3)
      this.#length += this.#buffer.write(text, this.#length, 'utf8')
    }
  }

  /** Writes again what stands from `start` to `end`: a few times faster than the text it came from. */
  repeat(start: number, end: number): void {
    this.#reserve(end - start)
    this.#buffer.copyWithin(this.#length, start, end)
    this.#length += end - start
  }

  /** A few bytes and the decimal digits of a non-negative integer, by hand: a native call would cost more than it saves. */
  appendCount(bytes: Uint8Array, count: number): void {
    this.#reserve(bytes.length + maxDigits)
    const buffer = this.#buffer
    let at = this.#length
    for (let i = 0; i < bytes.length; i++) buffer[at++] = bytes[i]
    if (count > 0x7fff_ffff) {
      this.#length = at
      this.text(String(count), true)
      return
    }
    let rest = count | 0
    let end = at + digitsOf(rest)
    this.#length = end
    while (rest > 9) {
      const tens = (rest / 10) | 0
      buffer[--end] = 0x30 + rest - tens * 10
      rest = tens
    }
    buffer[--end] = 0x30 + rest
  }

  append(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
  }

  byte(value: number): void {
    this.#reserve(1)
    this.#buffer[this.#length++] = value
  }

  /** IEEE 754, 64 bits, little endian. */
  double(value: number): void {
    this.#reserve(8)
    this.#length = this.#buffer.writeDoubleLE(value, this.#length)
  }

  /** A non-negative integer up to 2^53 in base 128, least significant group first. */
  varint(value: number): void {
    this.#reserve(10)
    let rest = value
    while (rest > 0x7f) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#buffer[this.#length++] = rest
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes
    if (needed <= this.#buffer.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2)) as WritableBuffer
    this.#buffer.copy(grown, 0, 0, this.#length)
    this.#buffer = grown
  }
}

/** Of an integer from 0 to 2^31 - 1. */
function digitsOf(value: number): number {
  if (value < 10) return 1
  if (value < 100) return 2
  if (value < 1_000) return 3
  let digits = 4
  for (let power = 10_000; power <= value; power *= 10) digits++
  return digits
}
