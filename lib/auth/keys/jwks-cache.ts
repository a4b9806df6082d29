/** An issuer's keys: fetched ahead of need, in the background, one fetch at a time, and kept through outages. */
import { defaultReporter, type Reporter } from '../../http/reporter.ts'
import type { Clock } from '../clock.ts'
import { DiscoveryError, discoverJwksUri } from './discovery.ts'
import { type FetchPolicy, fetchJson } from './endpoint.ts'
import { type JwksCacheOptions, jwksSettings } from './jwks-cache-options.ts'
import { KeySet, type VerificationKey } from './key-set.ts'
import type { KeySource } from './key-source.ts'
import { UnknownKeys } from './unknown-keys.ts'

export type { JwksCacheOptions, JwksStrategy } from './jwks-cache-options.ts'

/** A key set that outlives its process: public keys only. */
export interface JwksSnapshot {
  /** Where the keys are from: the JWKS URL, else the issuer. Another source refuses the snapshot. */
  source: string
  /** ms since the epoch. */
  fetchedAt: number
  jwks: { keys: Record<string, unknown>[] }
}

export interface JwksCacheStats {
  keys: number
  /** Seconds since the last successful refresh; -1 before the first. */
  ageSeconds: number
  /** The set is older than its interval: the identity provider does not answer. */
  stale: boolean
  refreshes: number
  failures: number
  consecutiveFailures: number
  /** Tokens whose key id was not in the set. */
  unknownKeys: number
}

const minute = 60_000
/** Usage asks for a refresh at most this often, however much traffic there is. */
const usageGapMs = 5 * minute
/** Strategy `usage` on a quiet service: a withdrawn key is gone after this all the same. */
const usageCeilingMs = 60 * minute
const firstBackoffMs = 1_000
const maxBackoffMs = 60_000
/** A timer of more, some 25 days, would fire at once. */
const maxTimerMs = 0x7fff_ffff

/**
 * Starts to load when it is constructed; a failed load is tried again after 1 s, doubling up to 60 s.
 * Old keys serve while refreshes fail, up to `maxStaleSeconds`. After the first load no request waits for a refresh,
 * except one with an unknown key id, and only while the identity provider is well.
 *
 * @throws TypeError when an option is not what it must be
 */
export class JwksCache implements KeySource {
  usableUntil = 0
  readonly #source: string
  readonly #issuer: string | undefined
  readonly #policy: FetchPolicy
  readonly #clock: Clock
  readonly #random: () => number
  readonly #reporter: Reporter
  readonly #freshMs: number
  readonly #refreshMs: number
  readonly #usageGapMs: number
  readonly #usages: number
  readonly #background: boolean
  readonly #maxStaleMs: number
  readonly #unknown: UnknownKeys
  readonly #stop = new AbortController()
  readonly #withdrawalListeners: (() => void)[] = []

  #uri: string | undefined
  #set: KeySet | undefined
  #flight: Promise<void> | undefined
  #lastError: unknown = undefined
  #timer: unknown = undefined
  #refreshedAt = Number.NEGATIVE_INFINITY
  #refreshedWallAt = 0
  /** ms, monotonic: when the next refresh is due. */
  #dueAt = 0
  #uses = 0
  #refreshes = 0
  #failures = 0
  #consecutiveFailures = 0

  constructor(options: JwksCacheOptions) {
    const settings = jwksSettings(options)
    const clock = settings.clock
    this.#issuer = options.jwksUri === undefined ? options.issuer : undefined
    this.#uri = options.jwksUri
    this.#source = (options.jwksUri ?? options.issuer) as string
    this.#clock = clock
    this.#random = options.random ?? Math.random
    this.#reporter = options.reporter ?? defaultReporter
    this.#policy = { fetch: options.fetch ?? globalThis.fetch, clock, timeoutMs: settings.timeoutMs }
    this.#freshMs = settings.strategy === 'usage' ? usageCeilingMs : settings.intervalMinutes * minute
    this.#refreshMs = this.#freshMs * settings.threshold
    this.#usages = settings.strategy === 'time' ? Number.POSITIVE_INFINITY : settings.usages
    this.#usageGapMs = Math.min(usageGapMs, this.#refreshMs)
    this.#background = settings.backgroundRefresh
    this.#maxStaleMs = settings.maxStaleSeconds * 1000
    this.#unknown = new UnknownKeys(clock.monotonic())
    // After this turn, so that a snapshot that is imported right away saves the fetch.
    queueMicrotask(() => {
      if (this.#set === undefined && this.#flight === undefined && !this.#stop.signal.aborted) this.#refresh()
    })
  }

  candidates(kid: string | undefined, alg: string): readonly VerificationKey[] {
    const now = this.#clock.monotonic()
    if (!this.#background && now >= this.#dueAt && !this.#stop.signal.aborted) this.#refresh()
    return this.#usableSet(now)?.candidates(kid, alg) ?? []
  }

  has(kid: string): boolean {
    return this.#usableSet(this.#clock.monotonic())?.has(kid) === true
  }

  seek(kid: string | undefined): Promise<void> | undefined {
    if (this.#stop.signal.aborted) return undefined
    // While the identity provider is down nobody waits for it; the timer tries again.
    if (this.#consecutiveFailures > 0) return this.#seekWithoutTimer()
    const now = this.#clock.monotonic()
    if (this.#usableSet(now) === undefined) return this.#flight ?? this.#refresh()
    if (kid === undefined) return undefined
    // A refresh that began before the key was published does not bring it.
    return this.#flight === undefined ? this.#ask(kid) : this.#flight.then(() => this.#ask(kid))
  }

  /** Asks the identity provider for a key that was not in the set a moment ago, if that is worth it. */
  #ask(kid: string): Promise<void> | undefined {
    if (this.#stop.signal.aborted || this.#consecutiveFailures > 0 || this.has(kid)) return undefined
    if (this.#flight !== undefined) return this.#flight
    if (!this.#unknown.mayAsk(kid, this.#clock.monotonic())) return undefined
    return this.#refresh(true).then(() => {
      if (this.#consecutiveFailures === 0 && !this.has(kid))
        this.#unknown.missing(kid, this.#clock.monotonic())
    })
  }

  /** 0 while the identity provider answers: then a key that is not here does not exist. */
  get retryAfterSeconds(): number {
    const now = this.#clock.monotonic()
    if (this.#consecutiveFailures === 0 && this.#usableSet(now) !== undefined) return 0
    if (this.#flight !== undefined) return 1
    return Math.max(1, Math.ceil((this.#dueAt - now) / 1000))
  }

  countUse(): void {
    if (++this.#uses < this.#usages) return
    this.#uses = 0
    // An attempt under way, and the back-off after one that failed, are not hurried.
    if (this.#flight !== undefined || this.#consecutiveFailures > 0) return
    const earliest = this.#refreshedAt + this.#usageGapMs
    if (earliest < this.#dueAt) this.#arm(Math.max(0, earliest - this.#clock.monotonic()))
  }

  /** Runs `listener` after every refresh that withdrew keys. */
  onWithdrawal(listener: () => void): void {
    this.#withdrawalListeners.push(listener)
  }

  /** Keys are at hand. @throws Error when the load fails, and says why; it goes on trying all the same */
  async ready(): Promise<void> {
    if (this.#set === undefined && !this.#stop.signal.aborted) await (this.#flight ?? this.#refresh())
    if (this.#set === undefined) throw this.#lastError ?? new Error(`JWKS of ${this.#source}: closed`)
  }

  /** The keys, to be imported after a cold start; undefined before there are any. */
  export(): JwksSnapshot | undefined {
    if (this.#set === undefined) return undefined
    const keys = this.#set.keys.map(key => ({ ...key.jwk }) as Record<string, unknown>)
    return { source: this.#source, fetchedAt: this.#refreshedWallAt, jwks: { keys } }
  }

  /**
   * Takes over exported keys; a refresh comes when it is due by their age. Right after construction it saves the first
   * fetch; once keys were fetched it changes nothing.
   * @throws Error when they are of another source, too old, or no key set
   */
  async import(snapshot: JwksSnapshot): Promise<void> {
    if (snapshot.source !== this.#source) {
      throw new Error(`JwksCache: the snapshot is of ${snapshot.source}, not of ${this.#source}`)
    }
    const ageMs = Math.max(0, this.#clock.now() - snapshot.fetchedAt)
    if (!(ageMs < this.#maxStaleMs)) throw new Error(`JwksCache: the snapshot of ${this.#source} is too old`)
    if (this.#set !== undefined || this.#flight !== undefined) return
    const reading = KeySet.read(snapshot.jwks)
    this.#flight = reading.then(
      set => {
        this.#flight = undefined
        this.#adopt(set, ageMs)
        this.#arm(Math.max(0, this.#refreshMs - ageMs))
      },
      () => {
        this.#flight = undefined
        return this.#refresh()
      }
    )
    await reading
    await this.#flight
  }

  get stats(): JwksCacheStats {
    const ageMs = this.#clock.monotonic() - this.#refreshedAt
    const loaded = Number.isFinite(ageMs)
    return {
      keys: this.#set?.keys.length ?? 0,
      ageSeconds: loaded ? ageMs / 1000 : -1,
      stale: loaded && ageMs > this.#freshMs,
      refreshes: this.#refreshes,
      failures: this.#failures,
      consecutiveFailures: this.#consecutiveFailures,
      unknownKeys: this.#unknown.count
    }
  }

  /** Stops refreshing; the keys at hand go on serving. */
  close(): void {
    this.#stop.abort(new Error('closed'))
    this.#clock.clearTimeout(this.#timer)
  }

  /** The keys at hand, unless they are too old: after an outage of `maxStaleSeconds`, or a process that slept as long. */
  #usableSet(now: number): KeySet | undefined {
    return now < this.usableUntil ? this.#set : undefined
  }

  /** Single-flight; never rejects. `budgeted`: it was taken from the budget of unknown keys already. */
  #refresh(budgeted = false): Promise<void> {
    if (this.#flight === undefined) {
      if (!budgeted) this.#unknown.charge(this.#clock.monotonic())
      this.#flight = this.#load().finally(() => {
        this.#flight = undefined
      })
    }
    return this.#flight
  }

  async #load(): Promise<void> {
    this.#clock.clearTimeout(this.#timer)
    // Nothing else is due until this attempt says what comes next.
    this.#dueAt = Number.POSITIVE_INFINITY
    try {
      const stop = this.#stop.signal
      this.#uri ??= await discoverJwksUri(this.#issuer as string, this.#policy, stop)
      this.#adopt(await KeySet.read(await fetchJson(this.#uri, this.#policy, stop), this.#set), 0)
      this.#refreshes++
      this.#consecutiveFailures = 0
      this.#lastError = undefined
      this.#arm(this.#jittered(this.#refreshMs))
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(error: unknown): void {
    if (this.#stop.signal.aborted) return
    this.#failures++
    this.#consecutiveFailures++
    this.#lastError = error instanceof DiscoveryError ? error : failure(this.#source, error)
    // A discovered URL may have moved.
    if (this.#issuer !== undefined) this.#uri = undefined
    this.#reporter.report('jwks_refresh', this.#lastError)
    this.#arm(this.#jittered(Math.min(maxBackoffMs, firstBackoffMs * 2 ** (this.#consecutiveFailures - 1))))
  }

  #adopt(set: KeySet, ageMs: number): void {
    const withdrawn = this.#set?.keys.filter(key => !set.keys.includes(key)) ?? []
    for (const key of withdrawn) key.current = false
    this.#set = set
    this.#uses = 0
    this.#refreshedAt = this.#clock.monotonic() - ageMs
    this.#refreshedWallAt = this.#clock.now() - ageMs
    this.usableUntil = this.#refreshedAt + this.#maxStaleMs
    if (withdrawn.length === 0) return
    for (const listener of this.#withdrawalListeners) listener()
  }

  #arm(delayMs: number): void {
    this.#clock.clearTimeout(this.#timer)
    if (this.#stop.signal.aborted) return
    this.#dueAt = this.#clock.monotonic() + delayMs
    if (!this.#background) return
    this.#timer = this.#clock.setTimeout(() => void this.#refresh(), Math.min(delayMs, maxTimerMs))
  }

  #seekWithoutTimer(): Promise<void> | undefined {
    const due = !this.#background && this.#clock.monotonic() >= this.#dueAt
    return due && this.#set === undefined ? this.#refresh() : undefined
  }

  /** ± 10 %: many instances that started together do not ask together. */
  #jittered(ms: number): number {
    return ms * (0.9 + 0.2 * this.#random())
  }
}

function failure(source: string, error: unknown): Error {
  const text = error instanceof Error ? error.message : String(error)
  return new Error(`JWKS of ${source}: ${text}`, { cause: error })
}
