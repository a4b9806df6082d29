/** Finds the counters at which ranks are reached: one look at all counters, then a short one for each rank. */
import { type Counts, chunkLength } from './histogram-counts.ts'

export class RankIndex {
  /** Of all counters. */
  readonly total: number
  readonly #counts: Counts
  /** Of `chunkLength` counters each. */
  readonly #sums: Float64Array

  /** What is recorded from here on may be found or not. */
  constructor(counts: Counts) {
    this.#counts = counts
    this.#sums = new Float64Array(Math.ceil(counts.length / chunkLength))
    this.total = counts.sumChunks(this.#sums)
  }

  /** The first index at which the running total reaches `rank`, from 1 up; the last one in use if it never does. */
  indexOf(rank: number): number {
    const counts = this.#counts
    const sums = this.#sums
    let running = 0
    let chunk = 0
    while (chunk < sums.length && running + sums[chunk]! < rank) running += sums[chunk++]!
    for (let i = chunk * chunkLength; i < counts.length; i++) {
      running += counts.get(i)
      if (running >= rank) return i
    }
    return counts.lastInUse()
  }
}
