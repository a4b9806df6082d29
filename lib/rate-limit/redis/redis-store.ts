/** A connection to Redis that answers within a time limit or says at once that it cannot. */
import type { Cluster, Redis } from 'ioredis'
import type { Reporter } from '../../http/reporter.ts'
import { LimiterUnavailableError } from '../rate-limit-decision.ts'
import type { Script } from './window-script.ts'

export interface RedisStoreOptions {
  client: Redis | Cluster
  timeoutMs: number
  retryMs: number
  reporter: Reporter
  /** ms, monotonic. */
  clock: () => number
}

export interface RedisStoreStats {
  /** Commands sent. */
  readonly sent: number
  /** Commands that were not answered in time; whether the server ran them is not known, and none is sent again. */
  readonly timeouts: number
  /** Commands that failed otherwise. */
  readonly failures: number
  /** Commands that were not sent because the circuit was open. */
  readonly rejected: number
  /** Whether the circuit is open: the server is taken to be down. */
  readonly open: boolean
}

/** Failures in a row that open the circuit. */
const tolerance = 3
/** ms that calls may wait for the first connection: a limiter is often made just before it is asked. */
const firstConnectionMs = 1_000

/**
 * Runs scripts on a connection of its own, a duplicate of the client's that sends nothing twice, queues nothing while it is not
 * connected, and leaves keys as they are. It ends when the client ends.
 *
 * After three failures in a row the circuit is open: every `retryMs` one command is let through, all others fail at once.
 * Any answer closes it, and so does a new connection.
 */
export class RedisStore {
  readonly client: Redis | Cluster
  readonly #timeoutMs: number
  readonly #retryMs: number
  readonly #reporter: Reporter
  readonly #clock: () => number
  readonly #waiting = new Set<Call>()
  readonly #siblings: Set<Redis | Cluster>
  /** The first connection is being made. */
  #starting = true
  #failuresInARow = 0
  #retryAt = 0
  #sent = 0
  #timeouts = 0
  #failures = 0
  #rejected = 0

  constructor(options: RedisStoreOptions) {
    this.#timeoutMs = options.timeoutMs
    this.#retryMs = options.retryMs
    this.#reporter = options.reporter
    this.#clock = options.clock
    this.client = duplicate(options.client, Math.max(20 * options.timeoutMs, 1_000))
    this.client.on('error', error => this.#reporter.report('rate_limit_store', error))
    this.client.on('ready', () => this.#onReady())
    this.client.on('close', () => this.#onClose())
    this.#siblings = connectionsOf(options.client).add(this.client)
  }

  get stats(): RedisStoreStats {
    return {
      sent: this.#sent,
      timeouts: this.#timeouts,
      failures: this.#failures,
      rejected: this.#rejected,
      open: this.#failuresInARow >= tolerance
    }
  }

  /**
   * Runs a script.
   * @param late receives an answer that came after this had failed
   * @throws LimiterUnavailableError when there is no answer within the time limit
   */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
    timeoutMs: number = this.#timeoutMs,
    late?: (reply: number[]) => void
  ): Promise<number[]> {
    if (this.#failuresInARow >= tolerance) {
      const now = this.#clock()
      if (now < this.#retryAt) {
        this.#rejected++
        return Promise.reject(unavailable('Redis is not available', this.#retryAt - now))
      }
      this.#retryAt = now + this.#retryMs
    }
    return new Promise((resolve, reject) => {
      const call = new Call(script, [keys.length, ...keys, ...args], resolve, reject, late)
      const ready = this.client.status === 'ready'
      call.timeoutMs = timeoutMs
      this.#limit(call, ready || !this.#starting ? timeoutMs : Math.max(timeoutMs, firstConnectionMs))
      if (ready) this.#send(call)
      else this.#waiting.add(call)
    })
  }

  /** The keys that start so, batch by batch, on all masters. */
  async *scan(prefix: string): AsyncIterable<string[]> {
    const match = `${prefix.replace(/[\\*?[\]]/g, '\\$&')}*`
    const nodes = 'nodes' in this.client ? this.client.nodes('master') : [this.client]
    for (const node of nodes) {
      let cursor = '0'
      do {
        const [next, keys] = await this.#inTime(node.scan(cursor, 'MATCH', match, 'COUNT', 100))
        cursor = next
        yield keys
      } while (cursor !== '0')
    }
  }

  /** Ends the connection once all that was sent is answered, or the time limit has passed. */
  async close(): Promise<void> {
    if (this.client.status === 'ready') {
      const timer = setTimeout(() => this.client.disconnect(), this.#timeoutMs)
      await this.client.quit().catch(() => undefined)
      clearTimeout(timer)
    }
    this.client.disconnect()
    this.#siblings.delete(this.client)
  }

  async #inTime<T>(answer: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const limit = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        reject,
        this.#timeoutMs,
        new Error(`no answer from Redis within ${this.#timeoutMs} ms`)
      )
    })
    try {
      return await Promise.race([answer, limit])
    } catch (error) {
      throw unavailable((error as Error).message, this.#retryMs, error as Error)
    } finally {
      clearTimeout(timer)
    }
  }

  #limit(call: Call, ms: number): void {
    clearTimeout(call.timer)
    call.timer = setTimeout(() => this.#onTimeout(call), ms)
  }

  #send(call: Call): void {
    this.#sent++
    this.client.evalsha(call.script.sha, ...call.args).then(
      reply => this.#onReply(call, reply as number[]),
      (error: Error) => {
        // The server does not know the script, so it has not run: it may be sent again, in full.
        if (call.pending && error.message.startsWith('NOSCRIPT')) this.#sendInFull(call)
        else this.#onFailure(call, error)
      }
    )
  }

  #sendInFull(call: Call): void {
    this.#sent++
    this.client.eval(call.script.body, ...call.args).then(
      reply => this.#onReply(call, reply as number[]),
      (error: Error) => this.#onFailure(call, error)
    )
  }

  #onReply(call: Call, reply: number[]): void {
    this.#failuresInARow = 0
    if (!call.pending) {
      call.late?.(reply)
      return
    }
    call.settle()
    call.resolve(reply)
  }

  #onTimeout(call: Call): void {
    this.#timeouts++
    this.#waiting.delete(call)
    this.#fail(call, new Error(`no answer from Redis within ${this.#timeoutMs} ms`))
  }

  #onFailure(call: Call, error: Error): void {
    this.#failures++
    if (call.pending) this.#fail(call, error)
  }

  #fail(call: Call, error: Error): void {
    call.settle()
    this.#failuresInARow++
    if (this.#failuresInARow === tolerance) this.#retryAt = this.#clock() + this.#retryMs
    this.#reporter.report('rate_limit_store', error)
    call.reject(unavailable(error.message, this.#retryMs, error))
  }

  #onReady(): void {
    this.#starting = false
    this.#failuresInARow = 0
    for (const call of this.#waiting) {
      this.#limit(call, call.timeoutMs)
      this.#send(call)
    }
    this.#waiting.clear()
  }

  #onClose(): void {
    this.#starting = false
    for (const call of this.#waiting) this.#fail(call, new Error('no connection to Redis'))
    this.#waiting.clear()
    if (this.#failuresInARow < tolerance) this.#retryAt = this.#clock() + this.#retryMs
    this.#failuresInARow = Math.max(this.#failuresInARow, tolerance)
  }
}

class Call {
  readonly script: Script
  readonly args: [number, ...(string | number)[]]
  readonly resolve: (reply: number[]) => void
  readonly reject: (error: Error) => void
  readonly late: ((reply: number[]) => void) | undefined
  timer: NodeJS.Timeout | undefined
  timeoutMs = 0
  pending = true

  constructor(
    script: Script,
    args: [number, ...(string | number)[]],
    resolve: (reply: number[]) => void,
    reject: (error: Error) => void,
    late: ((reply: number[]) => void) | undefined
  ) {
    this.script = script
    this.args = args
    this.resolve = resolve
    this.reject = reject
    this.late = late
  }

  settle(): void {
    this.pending = false
    clearTimeout(this.timer)
  }
}

function unavailable(message: string, retryAfterMs: number, cause?: Error): LimiterUnavailableError {
  return new LimiterUnavailableError(
    `RedisRateLimiter: ${message}`,
    retryAfterMs,
    cause === undefined ? undefined : { cause }
  )
}

/** The connections that end with a client; it gets one listener for all of them. */
const connections = new WeakMap<Redis | Cluster, Set<Redis | Cluster>>()

function connectionsOf(client: Redis | Cluster): Set<Redis | Cluster> {
  let known = connections.get(client)
  if (known === undefined) {
    const all = new Set<Redis | Cluster>()
    client.once('end', () => {
      for (const connection of all) connection.disconnect()
    })
    connections.set(client, all)
    known = all
  }
  return known
}

/** @param silenceMs a connection on which commands are open and nothing arrives for so long is given up */
function duplicate(client: Redis | Cluster, silenceMs: number): Redis | Cluster {
  const once = {
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    reconnectOnError: null,
    commandTimeout: undefined,
    lazyConnect: false,
    socketTimeout: silenceMs,
    keyPrefix: '',
    retryStrategy: reconnectDelay
  }
  if ('nodes' in client) {
    return client.duplicate([], {
      enableOfflineQueue: false,
      lazyConnect: false,
      retryDelayOnFailover: 0,
      keyPrefix: '',
      clusterRetryStrategy: reconnectDelay,
      redisOptions: once
    })
  }
  return client.duplicate(once)
}

/** ms to wait before the given attempt to connect again. */
function reconnectDelay(attempt: number): number {
  return Math.min(50 * attempt, 1_000)
}
