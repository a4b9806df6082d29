/** Limits as they are configured: one window, several, somebody's limiter, or what a function gives for a caller. */
import type { Exchange, Identity } from '../http/exchange.ts'
import type { GuardedRequest } from '../http/pipeline.ts'
import { shown, wrongOption } from '../options.ts'
import {
  type Identify,
  type LimiterWindow,
  LimiterWindows,
  type LimitWindow,
  type LocalWindow,
  LocalWindows,
  type WindowSet
} from './limit-windows.ts'
import type { Limiter } from './rate-limit-decision.ts'
import { PolicyFields } from './rate-limit-headers.ts'
import { checkCallback, checkWindow, RateLimiter, type RateLimiterOptions } from './rate-limiter.ts'
import { SlidingWindow } from './window/sliding-window.ts'

/** One window: its numbers, or a limiter that has them. */
export interface LimitOptions extends Partial<RateLimiterOptions> {
  /**
   * Decides instead of a new `RateLimiter`: one that is shared, kept over a restart, or backed by a server. The numbers
   * that the headers show are its own; those given here only if it does not say.
   */
  limiter?: Limiter
  /** The policy's name in the headers and the problem body. Of several windows the default is the length, as `60s`. */
  name?: string
  /** Whose requests this window counts. Default: the identifier of the whole. */
  identifier?: Identify
}

/**
 * What a caller may do, for example by plan. Before authentication the identity is undefined. Windows of one name and
 * length are one: a new number applies to what was already taken.
 */
export type LimitsOf = (
  identity: Identity | undefined,
  req: GuardedRequest,
  exchange: Exchange
) => readonly LimitOptions[] | Promise<readonly LimitOptions[]>

/** The windows of requests: fixed, or as the caller may have them. */
export type WindowSource = WindowSet | CallerWindows

/** Different windows that a function may give; more would be a leak. */
const mostEngines = 100
const mostFields = 1_000

/** @throws TypeError when what is configured is not exactly one kind of limit, or has a wrong number in it */
export function windowSource(
  options: LimitOptions & { limits?: readonly LimitOptions[] | LimitsOf }
): WindowSource {
  const { limits } = options
  if (limits === undefined) return windowSet([windowOf(options, options.name ?? 'default', undefined)])
  if (
    options.maxRequests !== undefined ||
    options.windowSeconds !== undefined ||
    options.limiter !== undefined
  ) {
    throw new TypeError('rateLimit: limits stand instead of maxRequests, windowSeconds and limiter')
  }
  if (typeof limits === 'function') return new CallerWindows(limits, options)
  checkList(limits)
  return windowSet(
    limits.map(limit => windowOf({ ...shared(options), ...limit }, nameOf(limit), limit.identifier))
  )
}

/** Windows that depend on the caller. Their rings outlive a change of the numbers. */
export class CallerWindows {
  readonly #limitsOf: LimitsOf
  readonly #options: LimitOptions
  readonly #engines = new Map<string, SlidingWindow>()
  readonly #fields = new Map<string, PolicyFields>()

  constructor(limitsOf: LimitsOf, options: LimitOptions) {
    this.#limitsOf = limitsOf
    this.#options = shared(options)
  }

  get rings(): Iterable<SlidingWindow> {
    return this.#engines.values()
  }

  /** @throws TypeError when the function gives anything but limits: the request is not admitted then */
  windowsOf(exchange: Exchange): WindowSet | Promise<WindowSet> {
    const limits = this.#limitsOf(exchange.user, exchange.req, exchange)
    return limits instanceof Promise ? limits.then(given => this.#windowSet(given)) : this.#windowSet(limits)
  }

  #windowSet(limits: readonly LimitOptions[]): WindowSet {
    checkList(limits)
    return new LocalWindows(limits.map(limit => this.#window({ ...this.#options, ...limit })))
  }

  #window(limit: LimitOptions): LocalWindow {
    const { maxRequests, windowMs, resolutionMs, maxKeys } = checkWindow('rateLimit', limit)
    const name = nameOf(limit)
    const id = `${windowMs} ${resolutionMs} ${name}`
    let rings = this.#engines.get(id)
    if (rings === undefined) {
      if (this.#engines.size === mostEngines) {
        throw new TypeError(`rateLimit: limits gave more than ${mostEngines} different windows`)
      }
      rings = new SlidingWindow({ largestLimit: 2_147_483_647, windowMs, resolutionMs, maxKeys })
      this.#engines.set(id, rings)
    }
    const fields = this.#fieldsOf(name, maxRequests, windowMs)
    return { fields, maxRequests, windowMs, rings, clock: limit.clock, identifier: limit.identifier }
  }

  #fieldsOf(name: string, maxRequests: number, windowMs: number): PolicyFields {
    const id = `${maxRequests} ${windowMs} ${name}`
    let fields = this.#fields.get(id)
    if (fields === undefined) {
      fields = new PolicyFields(name, maxRequests, windowMs)
      if (this.#fields.size === mostFields) this.#fields.clear()
      this.#fields.set(id, fields)
    }
    return fields
  }
}

/** A limiter, and its rings when they are in this process. */
type ConfiguredWindow = LimiterWindow & { readonly local: LocalWindow | undefined }

function windowOf(limit: LimitOptions, name: string, identifier: Identify | undefined): ConfiguredWindow {
  const limiter = limit.limiter ?? new RateLimiter(checkWindow('rateLimit', limit))
  if (typeof limiter.consume !== 'function') {
    throw wrongOption('rateLimit', 'limiter', 'a limiter', shown(limiter))
  }
  checkCallback('rateLimit', 'identifier', identifier)
  const known = Number.isInteger(limiter.maxRequests) && Number.isFinite(limiter.windowMs)
  const { maxRequests, windowMs } = known ? limiter : checkWindow('rateLimit', limit)
  const fields = new PolicyFields(name, maxRequests, windowMs)
  const window: LimitWindow = { fields, maxRequests, windowMs, identifier }
  const local =
    limiter instanceof RateLimiter ? { ...window, rings: limiter.window, clock: limiter.ownClock } : undefined
  return { ...window, limiter, local }
}

function windowSet(windows: readonly ConfiguredWindow[]): WindowSet {
  const local = windows.flatMap(window => window.local ?? [])
  if (local.length === windows.length) return new LocalWindows(local)
  if (windows.length > 1) for (const { limiter } of windows) checkReserve(limiter, 'several limits')
  return new LimiterWindows(windows)
}

/** @throws TypeError when the limiter cannot give back what it took */
export function checkReserve(limiter: Limiter, purpose: string): void {
  if (typeof limiter.reserve === 'function') return
  throw new TypeError(`rateLimit: ${purpose} need a limiter with reserve(), got ${shown(limiter)}`)
}

/** What all limits of a middleware have in common; what is undefined is the default. */
export function shared({ maxKeys, resolutionMs, clock }: LimitOptions): LimitOptions {
  return { maxKeys, resolutionMs, clock } as LimitOptions
}

function checkList(limits: unknown): asserts limits is readonly LimitOptions[] {
  const isList =
    Array.isArray(limits) &&
    limits.length > 0 &&
    limits.every(limit => typeof limit === 'object' && limit !== null)
  if (!isList) throw wrongOption('rateLimit', 'limits', 'a list of windows', shown(limits))
  // Left alone, it would be a limit for every path.
  if (limits.some(limit => 'match' in limit))
    throw new TypeError('rateLimit: match belongs in tiers, not in limits')
  if (limits.length > 1) checkNames(limits.map(nameOf))
}

/** Two windows of one name would be one in the headers, and on rings that outlive them. */
function checkNames(names: readonly string[]): void {
  const double = names.find((name, i) => names.indexOf(name) !== i)
  if (double !== undefined)
    throw new TypeError(`rateLimit: names of limits must differ, got ${shown(double)} twice`)
}

/** Of several windows the default is the length. */
function nameOf({ name, windowSeconds, limiter }: LimitOptions): string {
  return name ?? `${windowSeconds ?? (limiter?.windowMs ?? 0) / 1_000}s`
}
