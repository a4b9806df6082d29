/** What the gate's parts say of themselves, as metrics: the one place that knows both sides. */
import type { AuditLogger, AuditStats } from './audit/audit-logger.ts'
import type { AuthenticateOptions } from './auth/authenticate.ts'
import type { TokenVerifier, TokenVerifierStats } from './auth/token/token-verifier.ts'
import type { Reporter } from './http/reporter.ts'
import type { MetricsEndpointOptions } from './metrics/exposition/metrics-endpoint.ts'
import type { MetricsOptions } from './metrics/http-metrics.ts'
import type { MetricRegistry, StatMetric, StatSample } from './metrics/metric-registry.ts'
import type { MetricsCollector } from './metrics/metrics-collector.ts'
import type { RateLimitMiddleware, RateLimitStats } from './rate-limit/rate-limit.ts'
import type { UsageRecorder, UsageRecorderStats } from './usage/usage-recorder.ts'

export interface GateMetricsOptions extends MetricsOptions {
  /**
   * Of `gate.metrics`. Its `auth` is false unless set: whoever reaches the path on which you mount it may read, so mount
   * it where only scrapers come, or say who may.
   */
  endpoint?: Omit<MetricsEndpointOptions, 'registry'>
}

export interface GateParts {
  verifier: TokenVerifier | undefined
  limited: RateLimitMiddleware | undefined
  auditLogger: AuditLogger | undefined
  recorder: UsageRecorder | undefined
  reporter: Reporter
}

/** Registers the statistics of the parts that are there. */
export function registerStats(registry: MetricRegistry, parts: GateParts): void {
  const { verifier, limited, auditLogger, recorder, reporter } = parts
  if (verifier !== undefined) registry.source(() => verifier.stats, verifierMetrics)
  if (limited !== undefined) registry.source(() => limited.stage.stats, rateLimitMetrics)
  if (auditLogger !== undefined) registry.source(() => auditLogger.stats, auditMetrics)
  if (recorder !== undefined) registry.source(() => recorder.stats, usageMetrics)
  registry.source(() => reporter.counts, reporterMetrics)
}

/** The same options, with every validation counted beside what the options' own listener does. */
export function collectValidations(
  options: AuthenticateOptions,
  collector: MetricsCollector | undefined
): AuthenticateOptions {
  if (collector === undefined) return options
  const { onValidation } = options
  return {
    ...options,
    onValidation(reason, durationMs, exchange) {
      if (reason === undefined) collector.recordValidationSuccess(durationMs, exchange.startedAt)
      else collector.recordValidationFailure(reason, durationMs, exchange.startedAt)
      onValidation?.(reason, durationMs, exchange)
    }
  }
}

function counter<Stats>(name: string, help: string, value: (stats: Stats) => number): StatMetric<Stats> {
  return { name, type: 'counter', help, value }
}

function gauge<Stats>(name: string, help: string, value: (stats: Stats) => number): StatMetric<Stats> {
  return { name, type: 'gauge', help, value }
}

const verifierMetrics: StatMetric<TokenVerifierStats>[] = [
  gauge('ostiary_token_cache_entries', 'Verified tokens in memory.', ({ cache }) => cache.entries),
  gauge('ostiary_token_cache_bytes', 'Bytes of verified tokens in memory.', ({ cache }) => cache.bytes),
  counter('ostiary_token_cache_hits_total', 'Tokens found verified.', ({ cache }) => cache.hits),
  counter('ostiary_token_cache_misses_total', 'Tokens not found.', ({ cache }) => cache.misses),
  counter(
    'ostiary_token_cache_evictions_total',
    'Verified tokens that made room for others.',
    ({ cache }) => cache.evictions
  ),
  counter(
    'ostiary_token_cache_expired_total',
    'Tokens found, and refused since they had expired.',
    ({ cache }) => cache.expired
  ),
  counter(
    'ostiary_token_cache_revoked_total',
    'Tokens found, and refused since they were revoked.',
    ({ cache }) => cache.revoked
  ),
  counter(
    'ostiary_token_signatures_total',
    'Signatures verified, good or bad.',
    ({ signatures }) => signatures
  ),
  jwksGauge('ostiary_jwks_keys', 'Keys in the set of an issuer.', ({ keys }) => keys),
  jwksGauge(
    'ostiary_jwks_age_seconds',
    'Since the set was refreshed; -1 before the first time.',
    ({ ageSeconds }) => ageSeconds
  ),
  jwksGauge('ostiary_jwks_stale', '1 while the set is older than its interval.', ({ stale }) =>
    Number(stale)
  ),
  jwksCounter('ostiary_jwks_refreshes_total', 'Successful refreshes.', ({ refreshes }) => refreshes),
  jwksCounter('ostiary_jwks_refresh_failures_total', 'Failed refreshes.', ({ failures }) => failures),
  jwksCounter(
    'ostiary_jwks_unknown_keys_total',
    'Tokens whose key id was not in the set.',
    ({ unknownKeys }) => unknownKeys
  )
]

type JwksStats = TokenVerifierStats['jwks'][string]

function jwksGauge(
  name: string,
  help: string,
  of: (jwks: JwksStats) => number
): StatMetric<TokenVerifierStats> {
  return { name, type: 'gauge', help, labels: ['issuer'], value: ({ jwks }) => byIssuer(jwks, of) }
}

function jwksCounter(
  name: string,
  help: string,
  of: (jwks: JwksStats) => number
): StatMetric<TokenVerifierStats> {
  return { name, type: 'counter', help, labels: ['issuer'], value: ({ jwks }) => byIssuer(jwks, of) }
}

function byIssuer(jwks: TokenVerifierStats['jwks'], of: (jwks: JwksStats) => number): StatSample[] {
  return Object.entries(jwks).map(([issuer, stats]) => [[issuer], of(stats)])
}

const rateLimitMetrics: StatMetric<RateLimitStats>[] = [
  {
    name: 'ostiary_rate_limit_decisions_total',
    type: 'counter',
    help: 'Requests by what the rate limit decided.',
    labels: ['decision'],
    value: ({ allowed, refused, shadowed, unavailable }) => [
      [['allowed'], allowed],
      [['refused'], refused],
      [['shadowed'], shadowed],
      [['unavailable'], unavailable]
    ]
  },
  gauge('ostiary_rate_limit_keys', 'Keys in memory.', ({ keys }) => keys),
  counter(
    'ostiary_rate_limit_reclaimed_total',
    'Dead keys that gave their place to others.',
    ({ reclaimed }) => reclaimed
  ),
  counter(
    'ostiary_rate_limit_overflowed_total',
    'Decisions that the shared overflow window made, at the cap of keys.',
    ({ overflowed }) => overflowed
  ),
  counter(
    'ostiary_rate_limit_locked_out_total',
    'Requests of clients that were shut out.',
    ({ lockedOut }) => lockedOut
  )
]

const auditMetrics: StatMetric<Readonly<AuditStats>>[] = [
  counter('ostiary_audit_events_total', 'Audit events.', ({ events }) => events),
  counter('ostiary_audit_dropped_total', 'Audit events that a sink did not keep.', ({ dropped }) => dropped),
  counter(
    'ostiary_audit_callback_failures_total',
    'Audit callbacks that failed or were left out.',
    ({ callbackFailures }) => callbackFailures
  )
]

const usageMetrics: StatMetric<UsageRecorderStats>[] = [
  gauge('ostiary_usage_queued', 'Usage records that wait for the store.', ({ queued }) => queued),
  counter('ostiary_usage_stored_total', 'Usage records stored.', ({ stored }) => stored),
  counter('ostiary_usage_lost_total', 'Usage records lost: the queue was full.', ({ lost }) => lost),
  counter(
    'ostiary_usage_unattributed_total',
    'Requests with an API token that names no id or no owner.',
    ({ unattributed }) => unattributed
  )
]

const reporterMetrics: StatMetric<ReadonlyMap<string, number>>[] = [
  {
    name: 'ostiary_incidents_total',
    type: 'counter',
    help: 'What went wrong beside the requests, by kind.',
    labels: ['kind'],
    value: counts => [...counts].map(([kind, count]) => [[kind], count] as const)
  }
]
