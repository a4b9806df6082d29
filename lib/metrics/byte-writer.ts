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
