/** Remembers in Redis what may be used once, for all processes of a service. */
import type { Cluster, Redis } from 'ioredis'
import { defaultReporter, type Reporter } from '../../../http/reporter.ts'
import { checkMs, checkOption, checkText, shown, wrongOption } from '../../../options.ts'
import { within } from '../../../within.ts'
import { MemoryReplays, type Replays } from '../replays.ts'

export interface RedisReplaysOptions {
  /** An ioredis client or cluster. The names go over a duplicate of it, which ends with `close()`. */
  client: Redis | Cluster
  /** What all keys start with. Default `ostiary`; a `keyPrefix` of the client stands before it. */
  prefix?: string
  /**
   * What to say of a name when Redis cannot be asked: `'closed'` refuses the request with 503; `'open'` lets it pass unless this
   * process has seen the name itself. Default `'closed'`.
   */
  onOutage?: 'closed' | 'open'
  /** ms that Redis may take to answer. Default 1000. */
  timeoutMs?: number
  reporter?: Reporter
  /** Wall clock, ms. */
  clock?: () => number
}

export interface RedisReplaysStats {
  /** Names that were new. */
  added: number
  /** Names that had been used already. */
  replayed: number
  /** Questions to Redis that failed. */
  failures: number
}

/** Processes whose clocks differ by up to a minute agree on what was used. */
const clockDifferenceMs = 60_000
/** What this process remembers by itself for `'open'`, at least. */
const ownMemoryMs = 600_000

/**
 * For `dpop: { replays }`. A name is one key that expires by itself. Redis must not evict keys (`maxmemory-policy noeviction`): a
 * name that was evicted is new again.
 */
export class RedisReplays implements Replays {
  readonly #client: Redis | Cluster
  readonly #prefix: string
  readonly #timeoutMs: number
  readonly #reporter: Reporter
  readonly #clock: () => number
  readonly #own: MemoryReplays | undefined
  #closed = false
  #added = 0
  #replayed = 0
  #failures = 0

  /** @throws TypeError when an option is not what it must be */
  constructor(options: RedisReplaysOptions) {
    const { prefix, onOutage, timeoutMs, clock } = checked(options)
    this.#prefix = `${prefix}:replay:`
    this.#timeoutMs = timeoutMs
    this.#reporter = options.reporter ?? defaultReporter
    this.#clock = clock
    this.#own = onOutage === 'open' ? new MemoryReplays({ windowMs: ownMemoryMs, clock }) : undefined
    this.#client = duplicateOf(options.client)
    this.#client.on('error', error => this.#report(error))
  }

  /** @throws Error when Redis does not answer in time, unless `onOutage` is `'open'` */
  async add(name: string, until: number): Promise<boolean> {
    if (this.#own?.add(name, until) === false) return this.#count(false)
    try {
      return this.#count(await this.#inTime(this.#set(name, until)))
    } catch (error) {
      this.#failures++
      this.#report(error)
      if (this.#own === undefined) throw error
      return this.#count(true)
    }
  }

  /** Ends the connection. Safe to call twice. */
  close(): void {
    this.#closed = true
    this.#client.disconnect()
  }

  get stats(): RedisReplaysStats {
    return { added: this.#added, replayed: this.#replayed, failures: this.#failures }
  }

  /** One command looks and marks: of two copies one is first. */
  async #set(name: string, until: number): Promise<boolean> {
    const ms = Math.max(1, Math.ceil(until - this.#clock())) + clockDifferenceMs
    return (await this.#client.set(this.#prefix + name, 1, 'PX', ms, 'NX')) === 'OK'
  }

  #count(isNew: boolean): boolean {
    if (isNew) this.#added++
    else this.#replayed++
    return isNew
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    return within(this.#timeoutMs, answer, 'Redis did not answer')
  }

  #report(error: unknown): void {
    if (!this.#closed) this.#reporter.report('dpop_replays', error)
  }
}

/** Sends nothing twice, and queues nothing while it is not connected: a name that comes late would refuse its own proof. */
function duplicateOf(client: Redis | Cluster): Redis | Cluster {
  const retry = (attempt: number) => Math.min(50 * attempt, 1_000)
  const options = {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    lazyConnect: false
  }
  return 'nodes' in client
    ? client.duplicate([], {
        enableOfflineQueue: false,
        lazyConnect: false,
        clusterRetryStrategy: retry,
        redisOptions: options
      })
    : client.duplicate({ ...options, retryStrategy: retry })
}

function checked(options: RedisReplaysOptions) {
  const { client, prefix = 'ostiary', onOutage = 'closed', timeoutMs = 1_000, clock = Date.now } = options
  checkOption(typeof client?.duplicate === 'function', 'RedisReplays', 'client', 'an ioredis client', client)
  checkText('RedisReplays', 'prefix', prefix)
  if (onOutage !== 'closed' && onOutage !== 'open') {
    throw wrongOption('RedisReplays', 'onOutage', "'closed' or 'open'", shown(onOutage))
  }
  checkMs('RedisReplays', 'timeoutMs', timeoutMs)
  return { prefix, onOutage, timeoutMs, clock }
}
