/** Keeps a local list of revocations level with the one in Redis, and knows whether it is. */
import type { Cluster, Redis } from 'ioredis'
import type { Reporter } from '../../../http/reporter.ts'
import { within } from '../../../within.ts'
import type { MemoryRevocationList } from '../memory-revocation-list.ts'
import type { RevocationEntry } from '../revocation-entry.ts'

export interface RevocationFeedOptions {
  client: Redis | Cluster
  prefix: string
  pollMs: number
  maxStaleMs: number
  timeoutMs: number
  reporter: Reporter
  clock: () => number
  copy: MemoryRevocationList
}

/**
 * Adds an entry, drops what expired, counts the change, and tells everybody: all or nothing.
 * KEYS: the sorted set (score: ms since the epoch until which an entry counts), the count of changes.
 * ARGV: the entry, its score, now, the channel.
 */
const script = `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
local version = redis.call('INCR', KEYS[2])
redis.call('PUBLISH', ARGV[4], cjson.encode({ version, tonumber(ARGV[2]), ARGV[1] }))
return version
`

/**
 * Every change has a number. The copy is level when its number is the one in Redis: asked for by every poll, counted up by every
 * message, and set by loading the whole list where a message is missing.
 */
export class RevocationFeed {
  readonly ready: Promise<void>
  readonly #options: RevocationFeedOptions
  readonly #commands: Redis | Cluster
  readonly #messages: Redis | Cluster
  readonly #list: string
  readonly #counter: string
  readonly #channel: string
  readonly #staleTimer: NodeJS.Timeout
  #pollTimer: NodeJS.Timeout | undefined
  #markReady: () => void = () => {}
  #version = -1
  /** Numbers that came by message ahead of the copy's own. */
  #ahead = new Set<number>()
  /** The number that the poll before found, if the copy was not level with it. */
  #behind = -1
  #fresh = false
  #polling = false
  #incomplete = false
  #closed = false
  #loads = 0
  #received = 0
  #failures = 0

  constructor(options: RevocationFeedOptions) {
    this.#options = options
    const name = `{${options.prefix}:revocations}`
    this.#list = name
    this.#counter = `${name}:changes`
    this.#channel = `${name}:feed`
    this.ready = new Promise(resolve => {
      this.#markReady = resolve
    })
    this.#staleTimer = setTimeout(() => this.#expire(), options.maxStaleMs).unref()
    this.#commands = this.#duplicate({ enableOfflineQueue: false })
    this.#messages = this.#duplicate({ autoResubscribe: true })
    this.#messages.on('message', (_channel: string, text: string) => this.#onMessage(text))
    this.#messages.subscribe(this.#channel).catch(error => this.#report(error))
    this.#commands.on('ready', () => this.#pollNow())
    this.#schedule()
  }

  /** Whether nothing that Redis knew `maxStaleMs` ago is missing in the copy. */
  get fresh(): boolean {
    return this.#fresh
  }

  async send(entry: RevocationEntry): Promise<void> {
    const { clock } = this.#options
    const score = Math.ceil(entry.until)
    await this.#inTime(
      this.#commands.eval(script, 2, this.#list, this.#counter, written(entry), score, clock(), this.#channel)
    )
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#staleTimer)
    clearTimeout(this.#pollTimer)
    this.#fresh = false
    this.#commands.disconnect()
    this.#messages.disconnect()
  }

  get stats() {
    return { fresh: this.#fresh, loads: this.#loads, received: this.#received, failures: this.#failures }
  }

  #duplicate(once: { enableOfflineQueue?: boolean; autoResubscribe?: boolean }): Redis | Cluster {
    const { client } = this.#options
    const retry = (attempt: number) => Math.min(50 * attempt, 1_000)
    const options = {
      ...once,
      maxRetriesPerRequest: null,
      autoResendUnfulfilledCommands: false,
      lazyConnect: false
    }
    const duplicate =
      'nodes' in client
        ? client.duplicate([], {
            ...once,
            lazyConnect: false,
            clusterRetryStrategy: retry,
            redisOptions: options
          })
        : client.duplicate({ ...options, retryStrategy: retry })
    duplicate.on('error', error => this.#report(error))
    return duplicate
  }

  #schedule(): void {
    this.#pollTimer = setTimeout(() => this.#pollNow(), this.#options.pollMs).unref()
  }

  /** The next poll comes `pollMs` after this one's end. */
  #pollNow(): void {
    clearTimeout(this.#pollTimer)
    if (this.#closed || this.#polling) return
    this.#polling = true
    this.#poll()
      .catch(error => this.#fail(error))
      .finally(() => {
        this.#polling = false
        if (!this.#closed) this.#schedule()
      })
  }

  async #poll(): Promise<void> {
    // What was known when the question went out: a message may overtake the answer.
    const known = this.#version
    const found = await this.#readVersion()
    if (found < known) await this.#restore(found)
    // A message may be on its way: only what is missing at the next poll too is lost.
    else if (this.#version < 0 || this.#behind > this.#version || this.#incomplete) await this.#load(found)
    this.#behind = found > this.#version ? found : -1
    if (found <= this.#version && !this.#incomplete) this.#confirm()
  }

  #confirm(): void {
    if (this.#closed) return
    this.#fresh = true
    this.#staleTimer.refresh()
    this.#markReady()
  }

  #expire(): void {
    this.#fresh = false
    if (!this.#closed)
      this.#report(
        new Error(`the copy of the revocations has not been confirmed for ${this.#options.maxStaleMs} ms`)
      )
  }

  async #readVersion(): Promise<number> {
    const found = Number((await this.#inTime(this.#commands.get(this.#counter))) ?? 0)
    if (!Number.isInteger(found)) throw new Error(`the count of changes is no number: ${this.#counter}`)
    return found
  }

  /** @param version of Redis before the list is read: what changes meanwhile comes by message, or at the next poll */
  async #load(version: number): Promise<void> {
    this.#loads++
    this.#incomplete = false
    let cursor = '0'
    do {
      const [next, page] = await this.#inTime(this.#commands.zscan(this.#list, cursor, 'COUNT', 1_000))
      for (let i = 0; i < page.length; i += 2) this.#add(page[i], Number(page[i + 1]))
      cursor = next
    } while (cursor !== '0')
    this.#version = Math.max(this.#version, version)
    this.#catchUp()
  }

  /** Redis knows less than this process: it was emptied, or an older state was restored. */
  async #restore(found: number): Promise<void> {
    this.#report(new Error('Redis has lost revocations; writing back what this process knows'))
    this.#version = -1
    this.#ahead.clear()
    for (const entry of [...this.#options.copy.entries()]) await this.send(entry)
    await this.#load(Math.max(found, await this.#readVersion()))
  }

  #onMessage(text: string): void {
    try {
      const [version, until, entry] = JSON.parse(text) as [number, number, string]
      this.#received++
      this.#add(entry, until)
      this.#ahead.add(version)
      this.#catchUp()
    } catch (error) {
      this.#fail(error)
    }
  }

  #catchUp(): void {
    if (this.#version < 0) return
    while (this.#ahead.delete(this.#version + 1)) this.#version++
    for (const version of this.#ahead) if (version <= this.#version) this.#ahead.delete(version)
  }

  /** What cannot be read or kept is missing: the copy is not complete. */
  #add(text: string, until: number): void {
    try {
      this.#options.copy.add(read(text, until))
    } catch (error) {
      this.#incomplete = true
      this.#fresh = false
      this.#fail(error)
    }
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    return within(this.#options.timeoutMs, answer, 'Redis did not answer')
  }

  #fail(error: unknown): void {
    if (this.#closed) return
    this.#failures++
    this.#report(error)
  }

  #report(error: unknown): void {
    if (!this.#closed) this.#options.reporter.report('revocation_list', error)
  }
}

const kinds: readonly string[] = ['tokens', 'digests', 'subjects', 'clients', 'all']

function written({ kind, issuer, name, notBefore }: RevocationEntry): string {
  return JSON.stringify([kind, issuer, name, Number.isFinite(notBefore) ? notBefore : null])
}

function read(text: string, until: number): RevocationEntry {
  const [kind, issuer, name, notBefore] = JSON.parse(text) as [
    RevocationEntry['kind'],
    string,
    string,
    number | null
  ]
  const good =
    kinds.includes(kind) &&
    typeof issuer === 'string' &&
    typeof name === 'string' &&
    (notBefore === null || Number.isFinite(notBefore)) &&
    Number.isFinite(until)
  if (!good) throw new Error(`no revocation: ${text.slice(0, 200)}`)
  return { kind, issuer, name, notBefore: notBefore ?? Number.POSITIVE_INFINITY, until }
}
