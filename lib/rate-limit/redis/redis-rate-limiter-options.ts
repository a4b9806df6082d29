/** The options of `RedisRateLimiter`, checked and completed once. */
import { performance } from 'node:perf_hooks'
import type { Cluster, Redis } from 'ioredis'
import type { Reporter } from '../../http/reporter.ts'
import { checkOption, isText, shown, wrongOption } from '../../options.ts'
import { checkCallback, checkCount, thousandfold } from '../rate-limiter.ts'

export const owner = 'RedisRateLimiter'

export interface RedisRateLimiterOptions {
  /**
   * An ioredis client or cluster. The limiter talks over a duplicate of it, set up to send nothing twice; that ends with
   * `close()` or when the client ends.
   */
  client: Redis | Cluster
  /** Units that any window holds, 1 to 2 147 483 647. */
  maxRequests: number
  /** Length of the window, s. */
  windowSeconds: number
  /** What all keys start with. Default `ostiary`; a `keyPrefix` of the client stands before it. */
  prefix?: string
  /**
   * Limiters of one prefix and name share their windows. Default: the limit and the window, so that a limiter that was
   * configured anew starts afresh; name it to go on with what was counted.
   */
  name?: string
  /** Units taken within one tick of this many ms share a stamp: less memory, none is freed early, none more than a tick late. Default 0. */
  resolutionMs?: number
  /**
   * What to do when Redis does not answer: `'closed'` throws `LimiterUnavailableError` (the middleware answers 503),
   * `'open'` admits and counts nothing (`uncounted`, and no headers), `'local'` asks a limiter in this process with the same limit. Default `'closed'`.
   */
  onOutage?: 'closed' | 'open' | 'local'
  /** ms that Redis may take to answer. Default 50; while the first connection is being made, up to a second. */
  timeoutMs?: number
  /** ms between attempts while Redis is taken to be down. Default 1000. */
  retryMs?: number
  /** Units to take at a time for a key that is asked for again and again, 1 to `maxRequests`. Default 1: no leases. */
  lease?: number
  /** ms that a lease may be used. Default: a tenth of the window, at most 1000. */
  leaseMs?: number
  /** Keys that this process remembers at a time, for leases and for `onOutage: 'local'`. Default 100 000. */
  maxKeys?: number
  reporter?: Reporter
  /** ms, monotonic: for time limits and leases; windows are on Redis's clock. Default `performance.now`. */
  clock?: () => number
}

export interface RedisRateLimiterSettings {
  readonly maxRequests: number
  readonly windowMs: number
  readonly prefix: string
  readonly resolutionMs: number
  readonly onOutage: 'closed' | 'open' | 'local'
  readonly timeoutMs: number
  readonly retryMs: number
  readonly lease: number
  readonly leaseMs: number
  readonly maxKeys: number
  readonly clock: () => number
}

/** @throws TypeError that names the option and the value */
export function settingsOf(options: RedisRateLimiterOptions): RedisRateLimiterSettings {
  const { maxRequests, windowSeconds, resolutionMs = 0, onOutage = 'closed' } = options
  const { timeoutMs = 50, retryMs = 1_000, lease = 1, maxKeys = 100_000, prefix = 'ostiary' } = options
  const { client } = options
  if (typeof client?.duplicate !== 'function') {
    throw wrongOption(owner, 'client', 'a client or a cluster of ioredis', shown(client))
  }
  checkCount(owner, 'maxRequests', maxRequests, 2_147_483_647)
  // Up to 2^52 µs: sums of a window and a time of the server's clock stay exact.
  checkNumber('windowSeconds', windowSeconds, 1e-6, 2 ** 52 / 1e6)
  const windowMs = thousandfold(windowSeconds)
  checkNumber('resolutionMs', resolutionMs, 0, windowMs)
  const isPolicy = onOutage === 'closed' || onOutage === 'open' || onOutage === 'local'
  checkOption(isPolicy, owner, 'onOutage', "'closed', 'open' or 'local'", shown(onOutage))
  checkNumber('timeoutMs', timeoutMs, 1, 2_147_483_647)
  checkNumber('retryMs', retryMs, 1, 2_147_483_647)
  checkCount(owner, 'lease', lease, maxRequests)
  const { leaseMs = Math.min(windowMs / 10, 1_000) } = options
  checkNumber('leaseMs', leaseMs, 0.001, Math.min(windowMs, 2_147_483_647))
  checkCount(owner, 'maxKeys', maxKeys, 16_000_000)
  checkCallback(owner, 'clock', options.clock)
  const name = options.name ?? `${maxRequests}/${windowSeconds}s`
  checkOption(typeof prefix === 'string', owner, 'prefix', 'a string', shown(prefix))
  checkOption(isText(name), owner, 'name', 'a string, not empty', shown(name))
  return {
    maxRequests,
    windowMs,
    prefix: `${keyPrefixOf(client)}${prefix}:${name}`,
    resolutionMs,
    onOutage,
    timeoutMs,
    retryMs,
    lease,
    leaseMs,
    maxKeys,
    clock: options.clock ?? monotonic
  }
}

function keyPrefixOf(client: Redis | Cluster): string {
  return client.options.keyPrefix ?? ''
}

function monotonic(): number {
  return performance.now()
}

function checkNumber(option: string, value: unknown, least: number, most: number): void {
  const isRight = typeof value === 'number' && value >= least && value <= most
  checkOption(isRight, owner, option, `a number from ${least} to ${most}`, shown(value))
}
