/** ZigZag LEB128-64b9B, the variable-length integers of HdrHistogram: 7 bits a byte, 8 in the ninth and last. */
import { HistogramError } from './histogram-error.ts'

export const maxZigZagBytes = 9

/** Writes a signed 64-bit integer at `at` and gives the position after it. */
export function writeZigZag(bytes: Uint8Array, at: number, value: number | bigint): number {
  if (typeof value === 'bigint' || Math.abs(value) >= 2 ** 30) return writeLong(bytes, at, BigInt(value))
  let rest = (value << 1) ^ (value >> 31)
  let end = at
  while (rest > 0x7f) {
    bytes[end++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  bytes[end++] = rest
  return end
}

function writeLong(bytes: Uint8Array, at: number, value: bigint): number {
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
  let end = at
  for (; end < at + maxZigZagBytes - 1 && rest > 0x7fn; end++) {
    bytes[end] = Number(rest & 0x7fn) | 0x80
    rest >>= 7n
  }
  bytes[end++] = Number(rest)
  return end
}

/** Reads one integer after the other until the bytes end. */
export class ZigZagReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** @throws HistogramError when the bytes end within the number, or it is beyond 2^53 - 1 */
  next(): number {
    let bits = 0
    for (let i = 0; i < 4; i++) {
      const byte = this.#bytes[this.#at + i]
      if (byte === undefined) throw endedWithin()
      bits |= (byte & 0x7f) << (7 * i)
      if (byte < 0x80) {
        this.#at += i + 1
        return (bits >>> 1) ^ -(bits & 1)
      }
    }
    const value = this.nextLong()
    const number = Number(value)
    if (!Number.isSafeInteger(number)) {
      throw new HistogramError('ERR_HISTOGRAM_RANGE', `Histogram: a count of ${value} is beyond 2^53 - 1`)
    }
    return number
  }

  /** The same with all 64 bits. */
  nextLong(): bigint {
    let bits = 0n
    for (let i = 0; i < maxZigZagBytes; i++) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw endedWithin()
      const last = i === maxZigZagBytes - 1
      bits |= BigInt(last ? byte : byte & 0x7f) << BigInt(7 * i)
      if (byte < 0x80) break
    }
    return BigInt.asIntN(64, (bits >> 1n) ^ -(bits & 1n))
  }
}

function endedWithin(): HistogramError {
  return new HistogramError('ERR_HISTOGRAM_LENGTH', 'Histogram: the bytes end within a number')
}
