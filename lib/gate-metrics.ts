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
      return onValidation?.(reason, durationMs, exchange)
    }
  }
}

type Row<Numbers> = readonly [name: string, help: string, member: keyof Numbers]

/** A metric for each of a part's numbers; the name of a counter ends in `_total`. */
function metricsOf<Stats, Numbers>(
  rows: readonly Row<Numbers>[],
  value: (stats: Stats, member: keyof Numbers) => number | StatSample[],
  labels: readonly string[] = []
): StatMetric<Stats>[] {
  return rows.map(([name, help, member]) => ({
    name,
    help,
    type: name.endsWith('_total') ? 'counter' : 'gauge',
    labels,
    value: stats => value(stats, member)
  }))
}

function numberOf<Numbers>(stats: Numbers, member: keyof Numbers): number {
  return stats[member] as number
}

const cacheMetrics = metricsOf<TokenVerifierStats, TokenVerifierStats['cache']>(
  [
    ['ostiary_token_cache_entries', 'Verified tokens in memory.', 'entries'],
    ['ostiary_token_cache_bytes', 'Bytes of verified tokens in memory.', 'bytes'],
    ['ostiary_token_cache_hits_total', 'Tokens found verified.', 'hits'],
    ['ostiary_token_cache_misses_total', 'Tokens not found.', 'misses'],
    ['ostiary_token_cache_evictions_total', 'Verified tokens that made room for others.', 'evictions'],
    ['ostiary_token_cache_expired_total', 'Tokens found, and refused since they had expired.', 'expired'],
    ['ostiary_token_cache_revoked_total', 'Tokens found, and refused since they were revoked.', 'revoked']
  ],
  ({ cache }, member) => cache[member]
)

const signatureMetrics = metricsOf<TokenVerifierStats, TokenVerifierStats>(
  [['ostiary_token_signatures_total', 'Signatures verified, good or bad.', 'signatures']],
  numberOf
)

const jwksMetrics = metricsOf<TokenVerifierStats, TokenVerifierStats['jwks'][string]>(
  [
    ['ostiary_jwks_keys', 'Keys in the set of an issuer.', 'keys'],
    ['ostiary_jwks_age_seconds', 'Since the set was refreshed; -1 before the first time.', 'ageSeconds'],
    ['ostiary_jwks_stale', '1 while the set is older than its interval.', 'stale'],
    ['ostiary_jwks_refreshes_total', 'Successful refreshes.', 'refreshes'],
    ['ostiary_jwks_refresh_failures_total', 'Failed refreshes.', 'failures'],
    ['ostiary_jwks_unknown_keys_total', 'Tokens whose key id was not in the set.', 'unknownKeys']
  ],
  ({ jwks }, member) => Object.entries(jwks).map(([issuer, stats]) => [[issuer], Number(stats[member])]),
  ['issuer']
)

const verifierMetrics = [...cacheMetrics, ...signatureMetrics, ...jwksMetrics]

const decisions = ['allowed', 'refused', 'shadowed', 'unavailable'] as const

const rateLimitMetrics: StatMetric<RateLimitStats>[] = [
  {
    name: 'ostiary_rate_limit_decisions_total',
    type: 'counter',
    help: 'Requests by what the rate limit decided.',
    labels: ['decision'],
    value: stats => decisions.map(decision => [[decision], stats[decision]] as const)
  },
  ...metricsOf<RateLimitStats, RateLimitStats>(
    [
      ['ostiary_rate_limit_keys', 'Keys in memory.', 'keys'],
      ['ostiary_rate_limit_reclaimed_total', 'Dead keys that gave their place to others.', 'reclaimed'],
      [
        'ostiary_rate_limit_overflowed_total',
        'Decisions that the shared overflow window made, at the cap of keys.',
        'overflowed'
      ],
      ['ostiary_rate_limit_locked_out_total', 'Requests of clients that were shut out.', 'lockedOut']
    ],
    numberOf
  )
]

const auditMetrics = metricsOf<Readonly<AuditStats>, Readonly<AuditStats>>(
  [
    ['ostiary_audit_events_total', 'Audit events.', 'events'],
    ['ostiary_audit_dropped_total', 'Audit events that a sink did not keep.', 'dropped'],
    [
      'ostiary_audit_callback_failures_total',
      'Audit callbacks that failed or were left out.',
      'callbackFailures'
    ]
  ],
  numberOf
)

const usageMetrics = metricsOf<UsageRecorderStats, UsageRecorderStats>(
  [
    ['ostiary_usage_queued', 'Usage records that wait for the store.', 'queued'],
    ['ostiary_usage_stored_total', 'Usage records stored.', 'stored'],
    ['ostiary_usage_lost_total', 'Usage records lost: the queue was full.', 'lost'],
    [
      'ostiary_usage_unattributed_total',
      'Requests with an API token that names no id or no owner.',
      'unattributed'
    ]
  ],
  numberOf
)

const reporterMetrics: StatMetric<ReadonlyMap<string, number>>[] = [
  {
    name: 'ostiary_incidents_total',
    type: 'counter',
    help: 'What went wrong beside the requests, by kind.',
    labels: ['kind'],
    value: counts => [...counts].map(([kind, count]) => [[kind], count] as const)
  }
]
