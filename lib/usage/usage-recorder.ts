/** Records what API tokens did: a queue on the request's path, batches to a store off it. */
import { observeEnded } from '../http/ended-exchanges.ts'
import type { Exchange } from '../http/exchange.ts'
import { defaultReporter, type Reporter } from '../http/reporter.ts'
import { WallClock } from '../http/wall-clock.ts'
import { checkInteger, checkMs, checkObject, wrongOption } from '../options.ts'
import { within } from '../within.ts'
import { UsageQueue } from './usage-queue.ts'
import { takesRuns } from './usage-runs.ts'
import type { UsageQuery, UsageStats, UsageStore } from './usage-store.ts'

export interface UsageRecorderOptions {
  store: UsageStore
  /** ms that a record waits at most before it goes to the store. Default 250. */
  flushIntervalMs?: number
  /** Records a batch: what is prepared in one turn of the event loop. Default 1 024. */
  batchSize?: number
  /** Records that wait while the store is slow or down; further ones are lost, and counted. Default 32 768. */
  maxQueued?: number
  /** Where losses are counted and told. */
  reporter?: Reporter
}

export interface UsageRecorderStats {
  queued: number
  stored: number
  /** The queue was full, or closing could not store them. */
  lost: number
  /** Requests with an API token that names no `jti`, or no owner. */
  unattributed: number
}

interface Waiter {
  readonly until: number
  resolve(): void
  reject(error: unknown): void
}

/** Records of small batches that one turn of the event loop hands over together; a larger batch has a turn to itself. */
const recordsPerTurn = 1_024
/** ms between attempts while the store refuses: doubled from the first to the last. */
const firstRetryMs = 250
const lastRetryMs = 5_000
/** ms that closing waits for the last batches, and again for the store; and that statistics wait for what is queued. */
const closeMs = 5_000
/** Made once: in an outage every request would pay for its stack. */
const queueFull = new Error('the queue of usage records is full or closed')

/**
 * Queues one record for each request made with an API token and writes them in batches, one at a time and in order. A store
 * that is down costs a request nothing: records wait in bounded memory and are tried again.
 *
 * @throws TypeError when an option is wrong
 */
export class UsageRecorder {
  readonly #store: UsageStore
  readonly #queue: UsageQueue
  readonly #batchSize: number
  readonly #flushIntervalMs: number
  readonly #reporter: Reporter
  readonly #clock = new WallClock()
  #stored = 0
  #lost = 0
  #unattributed = 0
  #timer: NodeJS.Timeout | undefined
  #retryMs = 0
  #appending = 0
  /** Records of this turn that went to the store. */
  #handedOver = 0
  /** The next turn is to hand over more. */
  #deferred = false
  #waiting: Waiter[] = []
  #closing: Promise<void> | undefined

  constructor(options: UsageRecorderOptions) {
    checkObject('UsageRecorder', 'options', options)
    const {
      store,
      flushIntervalMs = 250,
      batchSize = 1_024,
      maxQueued = 32_768,
      reporter = defaultReporter
    } = options
    if (typeof store?.append !== 'function' || typeof store.stats !== 'function') {
      throw wrongOption('UsageRecorder', 'store', 'a UsageStore', store)
    }
    checkInteger('UsageRecorder', 'flushIntervalMs', flushIntervalMs, 1)
    checkMs('UsageRecorder', 'flushIntervalMs', flushIntervalMs)
    checkInteger('UsageRecorder', 'batchSize', batchSize, 1)
    checkInteger('UsageRecorder', 'maxQueued', maxQueued, 1)
    this.#store = store
    this.#flushIntervalMs = flushIntervalMs
    this.#batchSize = Math.min(batchSize, maxQueued)
    this.#reporter = reporter
    this.#queue = new UsageQueue(maxQueued)
    if (store.appendSync !== undefined) flushAtExit(this)
  }

  get stats(): UsageRecorderStats {
    observeEnded()
    return {
      queued: this.#queue.size,
      stored: this.#stored,
      lost: this.#lost,
      unattributed: this.#unattributed
    }
  }

  /** Queues the record of a request that has ended, if it was made with an API token. */
  record(exchange: Exchange): void {
    if (exchange.authMethod !== 'api_token') return
    const { user, tokenId } = exchange
    if (user === undefined || tokenId === undefined || tokenId === '' || (user.email ?? user.id) === '') {
      this.#unattributed++
      return
    }
    if (
      this.#closing !== undefined ||
      !this.#queue.add(exchange, user, tokenId, this.#clock.at(exchange.endedAt))
    ) {
      this.#lose(1, queueFull)
    } else if (this.#timer === undefined) {
      this.#arm(this.#flushIntervalMs)
    } else if (this.#queue.size === this.#batchSize && this.#retryMs === 0) {
      this.#arm(0)
    }
  }

  /** What a user's tokens did, of all that was stored; records that still wait are stored first, if the store takes them within 5 s. */
  async getTokenUsageStats(
    userEmail: string,
    options: Omit<UsageQuery, 'userEmail'> = {}
  ): Promise<UsageStats> {
    // A failure is counted where it happens, and the statistics of what is stored are still good.
    if (this.#closing === undefined) await soon(this.flush()).catch(() => undefined)
    return this.#store.stats({ ...options, userEmail })
  }

  /** Resolves when every record so far is stored; rejects with what the store said. */
  flush(): Promise<void> {
    observeEnded()
    return new Promise((resolve, reject) => {
      if (this.#queue.size === 0) return resolve()
      this.#waiting.push({ until: this.#queue.total, resolve, reject })
      this.#drain()
    })
  }

  /** Stores what is left, counts what cannot be stored, and closes the store. Safe to call twice; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** @internal Stores what is left while the process exits. */
  finish(): void {
    if (this.#queue.size === 0) return
    const left = this.#queue.size - this.#appending
    try {
      this.#store.appendSync?.(this.#queue.read(this.#queue.size).slice(this.#appending))
    } catch (error) {
      this.#lose(left, error)
    }
  }

  async #close(): Promise<void> {
    await soon(this.flush()).catch(error => this.#lose(this.#queue.size, error))
    clearTimeout(this.#timer)
    openRecorders.delete(this)
    if (openRecorders.size === 0) process.off('exit', finishAll)
    await soon(closed(this.#store)).catch(error => this.#reporter.report('usage_write', error))
  }

  #lose(count: number, error: unknown): void {
    if (count === 0) return
    this.#lost += count
    this.#reporter.report('usage_lost', error, count)
  }

  #arm(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#drain()
    }, ms).unref()
  }

  /** Hands over one batch, unless one is under way or this turn has handed over enough: then the next turn goes on. */
  #drain(): void {
    const count = Math.min(this.#batchSize, this.#queue.size)
    if (this.#appending > 0 || count === 0) return
    if (this.#handedOver > 0 && this.#handedOver + count > recordsPerTurn) {
      this.#deferred = true
      return
    }
    if (this.#handedOver === 0) setImmediate(this.#turnEnds)
    this.#handedOver += count
    this.#appending = count
    this.#append(count).then(
      () => this.#appended(count),
      error => this.#refused(error)
    )
  }

  /** A store of somebody else's may throw where it should reject. */
  async #append(count: number): Promise<void> {
    if (takesRuns(this.#store)) await this.#store.appendRuns(this.#queue.readRuns(count))
    else await this.#store.append(this.#queue.read(count))
  }

  /** Not the next turn yet: an immediate may follow at once, with no look at the sockets between. */
  readonly #turnEnds = (): void => {
    setImmediate(this.#nextTurn)
  }

  readonly #nextTurn = (): void => {
    this.#handedOver = 0
    if (!this.#deferred) return
    this.#deferred = false
    this.#drain()
  }

  #appended(count: number): void {
    this.#appending = 0
    this.#retryMs = 0
    this.#stored += count
    this.#queue.release(count)
    const stored = this.#queue.total - this.#queue.size
    while (this.#waiting.length > 0 && this.#waiting[0].until <= stored) this.#waiting.shift()!.resolve()
    if (this.#waiting.length > 0 || this.#queue.size >= this.#batchSize) this.#drain()
    else if (this.#queue.size > 0 && this.#timer === undefined) this.#arm(this.#flushIntervalMs)
  }

  #refused(error: unknown): void {
    this.#appending = 0
    this.#reporter.report('usage_write', error)
    this.#retryMs = Math.min(lastRetryMs, this.#retryMs * 2 || firstRetryMs)
    const waiting = this.#waiting
    this.#waiting = []
    for (const waiter of waiting) waiter.reject(error)
    if (this.#closing === undefined) this.#arm(this.#retryMs)
  }
}

/** Nobody waits for ever for a store that does not answer. */
function soon<T>(promise: Promise<T>): Promise<T> {
  return within(closeMs, promise, 'the usage store did not answer')
}

async function closed(store: UsageStore): Promise<void> {
  await store.close()
}

const openRecorders = new Set<UsageRecorder>()

/** One listener for however many recorders. */
function flushAtExit(recorder: UsageRecorder): void {
  if (openRecorders.size === 0) process.on('exit', finishAll)
  openRecorders.add(recorder)
}

function finishAll(): void {
  for (const recorder of openRecorders) recorder.finish()
}
