/** The counters of a histogram that many threads record into, in a SharedArrayBuffer. */
import { checkOption, wrongOption } from '../../options.ts'
import { BucketLayout, type BucketOptions } from './bucket-layout.ts'
import { type Counts, chunkLength, OwnCounts } from './histogram-counts.ts'

/**
 * ```
 * byte  0       4       8         16         24         32          40 ...
 *       │ state │ digits│ lowest  │ highest  │ overflow │ invalid   │ counters, 64 bits each
 *       │ int32 │ int32 │ double  │ double   │ 64 bits  │ 64 bits   │
 * ```
 */
const headerBytes = 24
const extraCells = 2

const fresh = 0
const beingLaidOut = 1
const laidOut = 0x4f484953

/** Where the lower half of a 64-bit cell is among its two 32-bit words. */
const lowWord = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1 ? 0 : 1

/** Below this, a 32-bit addition cannot carry, however many threads add at once. */
const carryFree = 2 ** 31

/**
 * Nothing is lost: every addition is atomic. It is done in the lower word as long as that has its top bit free, and in
 * all 64 bits, which is slower, while it has not.
 */
export class SharedCounts implements Counts {
  readonly buffer: SharedArrayBuffer
  readonly layout: BucketLayout
  readonly length: number
  readonly #words: Uint32Array
  readonly #cells: BigInt64Array

  /**
   * Lays out a buffer of zeros, or takes up one that was laid out, here or in another thread.
   * @throws TypeError when it is no SharedArrayBuffer, too small, or laid out for other options
   */
  constructor(buffer: SharedArrayBuffer, options: BucketOptions) {
    checkOption(buffer instanceof SharedArrayBuffer, 'Histogram', 'buffer', 'a SharedArrayBuffer', buffer)
    this.buffer = buffer
    this.layout = agreedLayout(buffer, options)
    this.length = this.layout.length
    const cells = extraCells + this.length
    this.#words = new Uint32Array(buffer, headerBytes, cells * 2)
    this.#cells = new BigInt64Array(buffer, headerBytes, cells)
  }

  get overflow(): number {
    return this.#cell(0)
  }

  get invalid(): number {
    return this.#cell(1)
  }

  get(index: number): number {
    return index < this.length ? this.#cell(extraCells + index) : 0
  }

  nextInUse(from: number): number {
    let i = from
    while (i < this.length && this.#cell(extraCells + i) === 0) i++
    return i
  }

  add(index: number, count: number): void {
    this.#addTo(extraCells + index, count)
  }

  addOverflow(count: number): void {
    this.#addTo(0, count)
  }

  addInvalid(count: number): void {
    this.#addTo(1, count)
  }

  total(): number {
    let total = 0
    for (let i = 0; i < this.length; i++) total += this.#cell(extraCells + i)
    return total
  }

  sumChunks(sums: Float64Array): number {
    let total = 0
    for (let chunk = 0; chunk < sums.length; chunk++) {
      const end = Math.min((chunk + 1) * chunkLength, this.length)
      let sum = 0
      for (let i = chunk * chunkLength; i < end; i++) sum += this.#cell(extraCells + i)
      sums[chunk] = sum
      total += sum
    }
    return total
  }

  lastInUse(): number {
    let i = this.length - 1
    while (i > 0 && this.get(i) === 0) i--
    return i
  }

  clear(): void {
    for (let cell = 0; cell < this.#cells.length; cell++) Atomics.store(this.#cells, cell, 0n)
  }

  copy(): OwnCounts {
    const copy = new OwnCounts(this.length, 0)
    for (let i = 0; i < this.length; i++) {
      const count = this.#cell(extraCells + i)
      if (count > 0) copy.add(i, count)
    }
    copy.addOverflow(this.overflow)
    copy.addInvalid(this.invalid)
    return copy
  }

  /** A plain read will do to see that the lower word is far from a carry: it is 32 bits, which are never torn. */
  #addTo(cell: number, count: number): void {
    const word = 2 * cell + lowWord
    if (count >= 0 && count < carryFree && this.#words[word]! < carryFree) {
      Atomics.add(this.#words, word, count)
    } else {
      Atomics.add(this.#cells, cell, BigInt(count))
    }
  }

  /** The halves are read apart only while no carry between them can be on its way. */
  #cell(cell: number): number {
    const low = Atomics.load(this.#words, 2 * cell + lowWord)
    const high = Atomics.load(this.#words, 2 * cell + (1 - lowWord))
    if (high === 0 && low < carryFree) return low
    return Math.min(Number(Atomics.load(this.#cells, cell)), Number.MAX_SAFE_INTEGER)
  }
}

/** A buffer of the right size, laid out. */
export function sharedBuffer(options: BucketOptions): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytesFor(new BucketLayout(options)))
  agreedLayout(buffer, options)
  return buffer
}

function bytesFor(layout: BucketLayout): number {
  return headerBytes + 8 * (extraCells + layout.length)
}

function agreedLayout(buffer: SharedArrayBuffer, options: BucketOptions): BucketLayout {
  if (buffer.byteLength < headerBytes) throw tooSmall(buffer, new BucketLayout(options))
  const [state, digits, range] = [
    new Int32Array(buffer, 0, 1),
    new Int32Array(buffer, 4, 1),
    new Float64Array(buffer, 8, 2)
  ]
  if (Atomics.load(state, 0) === fresh) {
    const layout = new BucketLayout(options)
    if (buffer.byteLength < bytesFor(layout)) throw tooSmall(buffer, layout)
    if (Atomics.compareExchange(state, 0, fresh, beingLaidOut) === fresh) {
      digits[0] = layout.significantDigits
      range[0] = layout.lowest
      range[1] = layout.highest
      Atomics.store(state, 0, laidOut)
      Atomics.notify(state, 0)
      return layout
    }
  }
  Atomics.wait(state, 0, beingLaidOut, 1_000)
  if (Atomics.load(state, 0) !== laidOut) {
    throw new TypeError('Histogram: buffer must be all zeros or hold a histogram, got something else')
  }
  const layout = new BucketLayout({ lowest: range[0]!, highest: range[1]!, significantDigits: digits[0]! })
  if (buffer.byteLength < bytesFor(layout)) throw tooSmall(buffer, layout)
  for (const option of ['lowest', 'highest', 'significantDigits'] as const) {
    if (options[option] !== undefined && options[option] !== layout[option]) {
      throw wrongOption('Histogram', option, `${layout[option]} as in the buffer`, options[option])
    }
  }
  return layout
}

function tooSmall(buffer: SharedArrayBuffer, layout: BucketLayout): TypeError {
  return new TypeError(
    `Histogram: buffer must have ${bytesFor(layout)} bytes or more, got ${buffer.byteLength}`
  )
}
