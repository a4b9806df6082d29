/** The sparse exponential buckets of a Prometheus native histogram. */
import type { NativeBuckets } from '../metric.ts'

/** Buckets beyond these powers of two (about a nanosecond, about twelve days) take what is past them. */
const lowestExponent = -30
const highestExponent = 20

const bits = new DataView(new ArrayBuffer(8))

/**
 * Counts of positive values in buckets that grow by 2^(2^−schema): bucket i holds (base^(i−1), base^i].
 * The array covers what was seen and grows at either end; the range of exponents bounds it to 50 × 2^schema counts.
 */
export class NativeCounts implements NativeBuckets {
  readonly schema: number
  /** Durations are never negative and only a broken clock makes one zero. */
  readonly zeroThreshold = 2 ** lowestExponent
  zeroCount = 0
  firstIndex = 0
  counts = new Float64Array(0)
  /** Bounds of one octave, as fractions from 0.5 up to 1. */
  readonly #fractions: Float64Array

  constructor(schema: number) {
    this.schema = schema
    this.#fractions = Float64Array.from({ length: 2 ** schema }, (_, i) => 0.5 * 2 ** (i / 2 ** schema))
  }

  observe(value: number): void {
    if (value <= this.zeroThreshold) {
      this.zeroCount++
      return
    }
    const index = this.#indexOf(Math.min(value, 2 ** highestExponent))
    const at = index - this.firstIndex
    if (at < 0 || at >= this.counts.length) this.#grow(index)
    this.counts[index - this.firstIndex]++
  }

  /** Takes the double apart instead of asking for its logarithm, which is not exact at the bounds. */
  #indexOf(value: number): number {
    bits.setFloat64(0, value)
    const high = bits.getUint32(0)
    const exponent = (high >>> 20) - 1022
    bits.setUint32(0, (high & 0xf_ffff) | (1022 << 20))
    const fraction = bits.getFloat64(0)
    const fractions = this.#fractions
    let low = 0
    let end = fractions.length
    while (low < end) {
      const middle = (low + end) >> 1
      if (fractions[middle] < fraction) low = middle + 1
      else end = middle
    }
    return low + (exponent - 1) * fractions.length
  }

  /** Half an octave of room on the side that grows, so that it grows seldom. */
  #grow(index: number): void {
    const { counts, firstIndex } = this
    const room = this.#fractions.length >> 1
    const oldEnd = firstIndex + counts.length
    let first = index
    let end = index + 1
    if (counts.length > 0) {
      first = index < firstIndex ? index - room : firstIndex
      end = index >= oldEnd ? index + 1 + room : oldEnd
    }
    const grown = new Float64Array(end - first)
    grown.set(counts, counts.length === 0 ? 0 : firstIndex - first)
    this.counts = grown
    this.firstIndex = first
  }
}
