/** Remembers what may be used once. */
import { checkInteger, checkPositive } from '../../options.ts'

/** Shared by several processes it has to be asked where they all can see it. */
export interface Replays {
  /**
   * Marks a name as used, and says whether it was new: at once both, or two copies of one proof pass.
   * @param until ms since the epoch; the name may be forgotten then
   * @throws when it cannot tell, which refuses the request with 503
   */
  add(name: string, until: number): boolean | Promise<boolean>
}

export interface MemoryReplaysOptions {
  /** ms that a name counts at most. */
  windowMs: number
  /** Names kept at most; with more than that it cannot tell any more. Default 200 000. */
  maxNames?: number
  /** ms. */
  clock?: () => number
}

/** Two sets that take turns: each name is kept for one window at least and two at most. */
export class MemoryReplays implements Replays {
  readonly #windowMs: number
  readonly #maxNames: number
  readonly #clock: () => number
  #current = new Set<string>()
  #previous = new Set<string>()
  #turnAt: number

  /** @throws TypeError when an option is not what it must be */
  constructor(options: MemoryReplaysOptions) {
    const { windowMs, maxNames = 200_000, clock = Date.now } = options
    checkPositive('MemoryReplays', 'windowMs', windowMs)
    checkInteger('MemoryReplays', 'maxNames', maxNames, 1)
    this.#windowMs = windowMs
    this.#maxNames = maxNames
    this.#clock = clock
    this.#turnAt = clock() + windowMs
  }

  add(name: string, _until: number): boolean {
    this.#turn(this.#clock())
    if (this.#current.has(name) || this.#previous.has(name)) return false
    if (this.size >= this.#maxNames) throw new Error('MemoryReplays: there is no room for another name')
    this.#current.add(name)
    return true
  }

  get size(): number {
    return this.#current.size + this.#previous.size
  }

  #turn(now: number): void {
    if (now < this.#turnAt) return
    this.#previous = now < this.#turnAt + this.#windowMs ? this.#current : new Set()
    this.#current = new Set()
    this.#turnAt = now + this.#windowMs
  }
}
