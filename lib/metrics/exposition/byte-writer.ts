/** Bytes written one after the other into a buffer that grows. */

export class ByteWriter {
  #buffer: Buffer
  #length = 0

  /** @param capacity bytes to begin with; the size of the last answer is a good guess */
  constructor(capacity = 16_384) {
    this.#buffer = Buffer.allocUnsafeSlow(capacity)
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
      this.#length += this.#buffer.write(text, this.#length, 'latin1')
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

  /** A non-negative integer in decimal digits. */
  digits(value: number): void {
    if (value > 0x7fff_ffff) {
      this.text(String(value), true)
      return
    }
    this.#reserve(10)
    let end = this.#length + 1
    for (let power = 10; power <= value; power *= 10) end++
    let rest = value | 0
    for (let at = end - 1; at >= this.#length; at--) {
      const tens = (rest / 10) | 0
      this.#buffer[at] = 0x30 + rest - tens * 10
      rest = tens
    }
    this.#length = end
  }

  /** A few bytes: copied by hand, for which a native call would cost more than the copy. */
  appendFew(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    const buffer = this.#buffer
    let length = this.#length
    for (let i = 0; i < bytes.length; i++) buffer[length++] = bytes[i]
    this.#length = length
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
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2))
    this.#buffer.copy(grown, 0, 0, this.#length)
    this.#buffer = grown
  }
}
