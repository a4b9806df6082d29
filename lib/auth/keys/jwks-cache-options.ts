/** How an issuer's keys are kept fresh. */
import type { Reporter } from '../../http/reporter.ts'
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkMs,
  checkObject,
  checkPositive,
  wrongOption
} from '../../options.ts'
import { type Clock, systemClock } from '../clock.ts'
import { checkEndpoint, type Fetch } from './endpoint.ts'

/** When a refresh is due: by age, by successful verifications, or by whichever comes first. */
export type JwksStrategy = 'time' | 'usage' | 'both'

export interface JwksCacheOptions {
  /** The JWKS URL. Without it, it is discovered from `issuer`. */
  jwksUri?: string
  issuer?: string
  /** Default `both`. */
  strategy?: JwksStrategy
  /** Minutes that a key set is fresh. Default 20. */
  intervalMinutes?: number
  /** Successful signature verifications after which a refresh is due, at most one in five minutes. Default 1000. */
  usages?: number
  /** Refresh by timer. Without it the first token that comes after the time starts one, and does not wait. Default true. */
  backgroundRefresh?: boolean
  /** Fraction of the interval after which the set is refreshed, more than 0 and at most 1. Default 0.8. */
  backgroundRefreshThreshold?: number
  /** Seconds that keys serve on while the identity provider is down. Default 86 400. */
  maxStaleSeconds?: number
  /** ms for one answer of the identity provider. Default 5000. */
  timeoutMs?: number
  fetch?: Fetch
  clock?: Clock
  /** 0 ≤ x < 1, for jitter. */
  random?: () => number
  /** Told of every failed refresh, as `jwks_refresh`. */
  reporter?: Reporter
}

const owner = 'JwksCache'

/** The defaults filled in. @throws TypeError when an option is not what it must be */
export function jwksSettings(options: JwksCacheOptions) {
  checkObject(owner, 'options', options)
  const {
    strategy = 'both',
    intervalMinutes = 20,
    usages = 1000,
    backgroundRefreshThreshold: threshold = 0.8,
    maxStaleSeconds = 86_400,
    timeoutMs = 5000,
    backgroundRefresh = true,
    clock = systemClock
  } = options
  if (options.jwksUri !== undefined) checkEndpoint('JwksCache: jwksUri', options.jwksUri)
  else checkEndpoint('JwksCache: issuer', options.issuer)
  if (strategy !== 'time' && strategy !== 'usage' && strategy !== 'both') {
    throw wrongOption(owner, 'strategy', "'time', 'usage' or 'both'", strategy)
  }
  checkPositive(owner, 'intervalMinutes', intervalMinutes)
  checkPositive(owner, 'maxStaleSeconds', maxStaleSeconds)
  checkMs(owner, 'timeoutMs', timeoutMs)
  checkInteger(owner, 'usages', usages, 1)
  if (typeof threshold !== 'number' || !(threshold > 0 && threshold <= 1)) {
    throw wrongOption(owner, 'backgroundRefreshThreshold', 'more than 0 and at most 1', threshold)
  }
  checkBoolean(owner, 'backgroundRefresh', backgroundRefresh)
  if (options.fetch !== undefined) checkFunction(owner, 'fetch', options.fetch)
  return {
    strategy,
    intervalMinutes,
    usages,
    threshold,
    maxStaleSeconds,
    timeoutMs,
    backgroundRefresh,
    clock
  }
}
