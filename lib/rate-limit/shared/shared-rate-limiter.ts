/** An exact rate limiter for all threads of a process: one window a key, in memory that they share. */
import { randomBytes } from 'node:crypto'
import type { Worker } from 'node:worker_threads'
import { wrongOption } from '../../options.ts'
import { checkState, keysOf, passedSince, stampsOf, stampsState } from '../limiter-state.ts'
import type { Limiter, RateLimitDecision, Reservation } from '../rate-limit-decision.ts'
import { checkCost, checkKey, checkWindow, type RateLimiterOptions } from '../rate-limiter.ts'
import { KeyDigests } from './key-digests.ts'
import { HEADER, SharedMemory } from './shared-memory.ts'
import type { SharedCharge } from './shared-rings.ts'
import type { KeyDigest } from './shared-slots.ts'
import { checkSharedState, digestOfText, type SharedRateLimiterState, textOf } from './shared-state.ts'
import { SharedWindows } from './shared-windows.ts'

export type { SharedRateLimiterState } from './shared-state.ts'

const name = 'SharedRateLimiter'

export interface SharedRateLimiterOptions extends RateLimiterOptions {
  /**
   * ms, monotonic, and the same in all threads, as `performance.now` is not. Default: `process.hrtime`. Workers are given
   * theirs when they attach.
   */
  clock?: () => number
  /**
   * Bytes that the stamps may take; they are reserved, and used as the keys need them. At most 1 GiB; default what
   * `maxKeys` full windows can need, up to that. With none left a key's newest stamp is moved instead of a new one made, and
   * fresh keys share a window: too few are admitted then, never too many.
   */
  maxBytes?: number
  /** ms that a call waits for another thread at most. Default 1000. */
  lockTimeoutMs?: number
}

export interface SharedRateLimiterStats {
  /** Keys that are remembered. */
  readonly keys: number
  /** Dead keys whose place was given to others. */
  readonly reclaimed: number
  /** Decisions made by the shared overflow window. */
  readonly overflowed: number
  /** Stamps that were moved because there was no memory for another. */
  readonly pressed: number
  /** Bytes of the shared memory so far. */
  readonly bytes: number
}

/** What a worker needs to attach: send it as `workerData` or in a message. */
export interface SharedRateLimiterHandle {
  readonly buffer: SharedArrayBuffer
}

/** What a thread of its own may choose. */
export interface AttachOptions {
  clock?: () => number
  lockTimeoutMs?: number
}

const leastBytes = 1_024
const mostBytes = 2 ** 30

/**
 * The interface and the semantics of `RateLimiter`, exact over all threads that attach.
 *
 *     const limiter = new SharedRateLimiter({ maxRequests: 100, windowSeconds: 60 })
 *     const worker = new Worker(file, { workerData: limiter.handle })
 *     limiter.watch(worker)
 *     // in the worker
 *     const limiter = SharedRateLimiter.attach(workerData)
 *
 * A key is kept as 128 bits of SHA-256 under a secret that is drawn for each limiter: two keys share a window with a
 * chance of n²/2¹²⁹ for n keys, and nobody can look for such keys.
 *
 * A call holds a lock, one of 64, for less than a microsecond. A worker that is terminated right then keeps it: `watch`
 * gives it back when the worker ends. Without that, calls for the keys of that lock wait once for `lockTimeoutMs` and
 * throw `LimiterUnavailableError` from then on.
 */
export class SharedRateLimiter implements Limiter {
  readonly maxRequests: number
  readonly windowMs: number
  readonly handle: SharedRateLimiterHandle
  readonly #memory: SharedMemory
  readonly #windows: SharedWindows
  readonly #clock: () => number
  readonly #hasOwnClock: boolean
  #digests: KeyDigests

  /** @throws TypeError when an option is not what it must be */
  constructor(options: SharedRateLimiterOptions)
  /** @internal Use `attach`. */
  constructor(options: AttachOptions, handle: SharedRateLimiterHandle)
  constructor(options: SharedRateLimiterOptions | AttachOptions, handle?: SharedRateLimiterHandle) {
    const { clock = machineTime, lockTimeoutMs = 1_000 } = options
    if (typeof lockTimeoutMs !== 'number' || !(lockTimeoutMs >= 0)) {
      throw wrongOption(name, 'lockTimeoutMs', 'a number from 0', lockTimeoutMs)
    }
    this.handle = handle ?? { buffer: memoryFor(options as SharedRateLimiterOptions) }
    this.#memory = new SharedMemory(this.handle.buffer, lockTimeoutMs)
    this.#windows = new SharedWindows(this.#memory)
    const { words, floats } = this.#memory
    if (handle === undefined) this.#windows.open()
    else Atomics.add(words, HEADER.attached, 1)
    this.maxRequests = words[HEADER.maxRequests]
    this.windowMs = floats[HEADER.windowMs / 2]
    this.#clock = clock
    this.#hasOwnClock = options.clock !== undefined
    this.#digests = new KeyDigests(this.#secret().toString('latin1'), this.#memory.maxKeys)
  }

  /** The limiter of another thread, in this one. */
  static attach(handle: SharedRateLimiterHandle, options: AttachOptions = {}): SharedRateLimiter {
    if (!(handle?.buffer instanceof SharedArrayBuffer && SharedMemory.isIn(handle.buffer))) {
      throw wrongOption(name, 'handle', 'the handle of a limiter', handle)
    }
    if (options.clock !== undefined && typeof options.clock !== 'function') {
      throw wrongOption(name, 'clock', 'a function', options.clock)
    }
    return new SharedRateLimiter(options, handle)
  }

  get stats(): SharedRateLimiterStats {
    const { words, buffer } = this.#memory
    return {
      keys: Atomics.load(words, HEADER.keys),
      reclaimed: Atomics.load(words, HEADER.reclaimed),
      overflowed: Atomics.load(words, HEADER.overflowed),
      pressed: Atomics.load(words, HEADER.pressed),
      bytes: buffer.byteLength
    }
  }

  /**
   * Counts `cost` units of `identifier` when they fit in the window that ends now.
   * @param cost a non-negative integer; 0 counts nothing, more than `maxRequests` can never pass
   * @param now ms, on the clock that all threads share
   * @throws TypeError when an argument is not what it must be; nothing is counted then
   * @throws LimiterUnavailableError when another thread holds a lock for longer than `lockTimeoutMs`
   */
  consume(identifier: string, cost = 1, now: number = this.#clock()): RateLimitDecision {
    const key = this.#keyOf(identifier, cost, now)
    return cost === 0 ? this.#windows.peek(key, 0, now) : this.#windows.consume(key, cost, now)
  }

  /** What `consume(identifier, cost, now)` would answer, without counting: `remaining` is what is left before it. */
  peek(identifier: string, cost = 1, now: number = this.#clock()): RateLimitDecision {
    return this.#windows.peek(this.#keyOf(identifier, cost, now), cost, now)
  }

  /** Counts one unit and says whether it fitted. */
  isAllowed(identifier: string): boolean {
    return this.consume(identifier).allowed
  }

  /** Units left, without counting. */
  getRemaining(identifier: string): number {
    return this.peek(identifier).remaining
  }

  /** Forgets what `identifier` has taken. */
  reset(identifier: string): void {
    this.#windows.reset(this.#keyOf(identifier, 0, 0))
  }

  /** Forgets all keys, for all threads. */
  clearAll(): void {
    this.#windows.clear()
  }

  /** `consume` with a way back: `refund()` takes out that very stamp. */
  reserve(identifier: string, cost = 1, now: number = this.#clock()): SharedReservation {
    const key = this.#keyOf(identifier, cost, now)
    if (cost === 0)
      return new SharedReservation(this.#windows.peek(key, 0, now), this.#windows, key, undefined)
    const { decision, charge } = this.#windows.charge(key, cost, now)
    return new SharedReservation(decision, this.#windows, key, charge)
  }

  /**
   * What every key has taken, for the process that comes after this one. Call it when the workers have stopped: what is
   * taken meanwhile may be in it or not. The secret under which keys are kept goes along.
   */
  export(now: number = this.#clock()): SharedRateLimiterState {
    const overflow = this.#windows.overflow(now)
    return {
      version: 1,
      windowMs: this.windowMs,
      exportedAt: Date.now(),
      clockAt: this.#hasOwnClock ? now : null,
      secret: this.#secret().toString('base64url'),
      keys: this.#windows
        .live(now)
        .map(({ key, stamps }) => [textOf(key), stampsState(stamps, now)] as const),
      ...(overflow.length === 0 ? {} : { overflow: stampsState(overflow, now) })
    }
  }

  /**
   * Takes over what another limiter's `export` gave, as `RateLimiter.import` does.
   * @throws TypeError when the state is none, is of another window, or has more keys than `maxKeys`
   * @throws Error when this limiter has keys already or workers have attached; or when `maxBytes` is not enough: what was
   *   taken over until then is forgotten
   */
  import(state: SharedRateLimiterState, now: number = this.#clock()): void {
    checkState(name, state, this.windowMs)
    checkSharedState(state)
    const memory = this.#memory
    if (this.stats.keys > 0 || Atomics.load(memory.words, HEADER.attached) > 0) {
      throw new Error('SharedRateLimiter: import comes before the first request and before workers attach')
    }
    const passedMs = passedSince(state, this.#hasOwnClock, now)
    const keys = keysOf(name, state, memory.maxKeys, this.maxRequests, passedMs, now)
    const secret = Buffer.from(state.secret, 'base64url')
    for (let i = 0; i < 4; i++) memory.words[HEADER.secret + i] = secret.readInt32LE(4 * i)
    this.#digests = new KeyDigests(secret.toString('latin1'), memory.maxKeys)
    for (const [key, stamps] of keys) {
      if (this.#windows.restore(digestOfText(key), stamps)) continue
      this.clearAll()
      throw new Error('SharedRateLimiter: maxBytes has no room for the state')
    }
    this.#windows.restoreOverflow(stampsOf(state.overflow ?? [], this.maxRequests, passedMs, now))
  }

  /** Gives back the locks of a worker when it ends. */
  watch(worker: Worker): void {
    const { threadId } = worker
    worker.once('exit', () => this.releaseThread(threadId))
  }

  /**
   * Gives back the locks that a thread held when it ended. What it had half done is undone or made whole.
   * @param threadId of a thread that has ended; for one that runs, windows may be damaged
   */
  releaseThread(threadId: number): void {
    this.#memory.takeOver(threadId, lock => this.#windows.repair(lock))
  }

  #secret(): Buffer {
    return Buffer.from(this.#memory.words.slice(HEADER.secret, HEADER.secret + 4).buffer)
  }

  #keyOf(identifier: string, cost: number, now: number): KeyDigest {
    if (typeof identifier !== 'string' || !Number.isFinite(now)) {
      checkKey(name, identifier, now)
    }
    if (cost !== 1) checkCost(name, cost)
    return this.#digests.of(identifier)
  }
}

/** Units of a shared limiter that can be given back, once, by the thread that took them. */
export class SharedReservation implements Reservation {
  readonly decision: RateLimitDecision
  readonly #windows: SharedWindows
  readonly #key: KeyDigest
  #charge: SharedCharge | undefined

  constructor(
    decision: RateLimitDecision,
    windows: SharedWindows,
    key: KeyDigest,
    charge: SharedCharge | undefined
  ) {
    this.decision = decision
    this.#windows = windows
    this.#key = key
    this.#charge = charge
  }

  refund(): void {
    const charge = this.#charge
    this.#charge = undefined
    if (charge !== undefined) this.#windows.refund(this.#key, charge)
  }
}

function memoryFor(options: SharedRateLimiterOptions): SharedArrayBuffer {
  const { maxRequests, windowMs, resolutionMs, maxKeys } = checkWindow(name, options)
  // A ring is twice as large as needed at worst, and its smaller predecessors are as large together.
  const full = 48 * (maxKeys + 1) * 2 ** Math.ceil(Math.log2(maxRequests + 1))
  const { maxBytes = Math.max(leastBytes, Math.min(mostBytes, full)) } = options
  if (!Number.isInteger(maxBytes) || maxBytes < leastBytes || maxBytes > mostBytes) {
    throw wrongOption(name, 'maxBytes', `an integer from ${leastBytes} to ${mostBytes}`, maxBytes)
  }
  const secret = new Int32Array(Uint8Array.from(randomBytes(16)).buffer)
  return SharedMemory.create({ maxRequests, windowMs, resolutionMs, maxKeys, arenaBytes: maxBytes }, secret)
}

/** ms of the machine's monotonic clock: the origin of `performance.now` is another in each thread. */
function machineTime(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1_000 + nanoseconds / 1e6
}
