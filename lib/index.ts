/** `ostiary`: guards and measures `node:http` servers. */

export { type AuditOptions, audit } from './audit/audit.ts'
export {
  AuditEvent,
  type AuditEventFields,
  type AuditEventInit
} from './audit/audit-event.ts'
export {
  type AuditDetails,
  AuditLogger,
  type AuditLoggerOptions,
  type AuditSink,
  type AuditStats
} from './audit/audit-logger.ts'
export type { SealedLogProblemKind } from './audit/sealed-chain.ts'
export { SealedLog, type SealedLogOptions } from './audit/sealed-log.ts'
export {
  type SealedLogProblem,
  type SealedLogVerification,
  type VerifySealedLogOptions,
  verifySealedLog
} from './audit/verify-sealed-log.ts'
export {
  type Authenticate,
  type AuthenticateOptions,
  type AuthenticateSettings,
  authenticate,
  type ValidationListener
} from './auth/authenticate.ts'
export type { CallerRule, IdentityOptions } from './auth/caller/identity.ts'
export {
  type CallerExplanation,
  type CallerKind,
  M2MTokenDetector,
  type TokenMetadata
} from './auth/caller/m2m-token-detector.ts'
export {
  auth0Permissions,
  claimMemberships,
  cognitoGroups,
  entraGroups,
  entraRoles,
  keycloakRoles,
  MembershipError,
  type MembershipOptions,
  type MembershipProvider
} from './auth/caller/memberships.ts'
export { User } from './auth/caller/user.ts'
export type { Clock } from './auth/clock.ts'
export {
  type RequireHumanOptions,
  requireHuman,
  requireM2M,
  requireUser
} from './auth/guards/caller-guards.ts'
export {
  hasGroups,
  hasPermissions,
  hasRoles,
  type MembershipGuard,
  type MembershipQuestion,
  requireGroups,
  requirePermissions,
  requireRoles
} from './auth/guards/membership-guards.ts'
export { hasScopes, requireScopes } from './auth/guards/scope-guards.ts'
export { DiscoveryError } from './auth/keys/discovery.ts'
export type { Fetch } from './auth/keys/endpoint.ts'
export type { JwksSnapshot } from './auth/keys/jwks-cache.ts'
export { JwksCache, type JwksCacheOptions, type JwksCacheStats } from './auth/keys/jwks-cache.ts'
export type { JwksStrategy } from './auth/keys/jwks-cache-options.ts'
export { type ApiKeyOptions, type ApiKeyRecord, ApiKeys, apiKeyHash } from './auth/opaque/api-keys.ts'
export { Introspection, type IntrospectionOptions } from './auth/opaque/introspection.ts'
export {
  type ProtectedResourceMetadata,
  type ProtectedResourceMetadataOptions,
  protectedResourceMetadata
} from './auth/protected-resource-metadata.ts'
export {
  MemoryRevocationList,
  type MemoryRevocationListOptions,
  RevocationListFullError,
  type RevocationListStats
} from './auth/revocation/memory-revocation-list.ts'
export type { RevokedEpoch, RevokedToken } from './auth/revocation/revocation-entry.ts'
export {
  type RevocationList,
  type RevocationState,
  signingInputDigest
} from './auth/revocation/revocation-list.ts'
export type { CertificateBindingOptions } from './auth/sender/certificate-binding.ts'
export type { DpopOptions } from './auth/sender/dpop-proofs.ts'
export { MemoryReplays, type MemoryReplaysOptions, type Replays } from './auth/sender/replays.ts'
export type { SenderCheckOptions } from './auth/sender/sender-check.ts'
export type { IssuerPreset } from './auth/token/issuer-preset.ts'
export { TokenError } from './auth/token/refusal.ts'
export {
  TokenVerifier,
  type TokenVerifierOptions,
  type TokenVerifierStats
} from './auth/token/token-verifier.ts'
export type { TokenVerifierSettings } from './auth/token/token-verifier-options.ts'
export type { Claims, TokenHeader, VerifiedToken } from './auth/token/verified-token.ts'
export type { VerifiedTokenCacheOptions, VerifiedTokenCacheStats } from './auth/token/verified-token-cache.ts'
export { type Gate, type GateAuditOptions, type GateOptions, ostiary } from './gate.ts'
export type { GateMetricsOptions } from './gate-metrics.ts'
export { currentExchange } from './http/async-context.ts'
export type { ClientAddressOptions } from './http/client-address.ts'
export {
  type Caller,
  type Denial,
  Exchange,
  type ExchangeListener,
  exchangeOf,
  type Identity,
  type Outcome
} from './http/exchange.ts'
export { defaultSkip, PathFilter, type PathFilterOptions } from './http/path-filter.ts'
export {
  type GuardedRequest,
  type Middleware,
  type Next,
  type Pipeline,
  pipeline,
  type RequestHandler,
  type Stage,
  type StageMiddleware,
  stageMiddleware
} from './http/pipeline.ts'
export { type Problem, refuse } from './http/problem.ts'
export { type Report, Reporter, type ReporterOptions } from './http/reporter.ts'
export { observeServer } from './http/server-events.ts'
export type { UpgradeHandler } from './http/upgrade.ts'
export type { ClusterRefresh } from './metrics/cluster/cluster-metrics.ts'
export {
  type ClusterMetrics,
  type ClusterMetricsOptions,
  clusterMetrics
} from './metrics/cluster/cluster-metrics.ts'
export {
  reportMetrics,
  type WorkerMetrics,
  type WorkerMetricsOptions
} from './metrics/cluster/cluster-worker-metrics.ts'
export type { RefreshedRegistry } from './metrics/exposition/metrics-endpoint.ts'
export {
  type AllowScrape,
  type MetricsEndpointOptions,
  metricsEndpoint
} from './metrics/exposition/metrics-endpoint.ts'
export { bridgeToPromClient, type PromClientRegistry } from './metrics/exposition/prom-client-bridge.ts'
export type { BucketOptions } from './metrics/histogram/bucket-layout.ts'
export type { HistogramJson } from './metrics/histogram/histogram.ts'
export { Histogram, type HistogramOptions, type HistogramSnapshot } from './metrics/histogram/histogram.ts'
export { HistogramError, type HistogramErrorCode } from './metrics/histogram/histogram-error.ts'
export type { HistogramStep } from './metrics/histogram/histogram-iterators.ts'
export { type HistogramLogRange, HistogramLogReader } from './metrics/histogram/histogram-log-reader.ts'
export {
  type HistogramInterval,
  HistogramLogWriter,
  type HistogramLogWriterOptions
} from './metrics/histogram/histogram-log-writer.ts'
export { type PercentileOutputOptions, percentileOutput } from './metrics/histogram/percentile-output.ts'
export {
  type HttpMetrics,
  type MetricsOptions,
  metrics,
  type RequestMetrics
} from './metrics/http-metrics.ts'
export type { HistogramMetric, LabelSet, Metric, MetricSource, ScalarMetric } from './metrics/metric.ts'
export {
  MetricRegistry,
  type MetricRegistryOptions,
  type StatMetric,
  type StatSample
} from './metrics/metric-registry.ts'
export {
  MetricsCollector,
  type MetricsCollectorOptions,
  type ValidationMetrics
} from './metrics/metrics-collector.ts'
export { ProcessMetrics, type ProcessMetricsOptions } from './metrics/process-metrics.ts'
export type { DurationSummary } from './metrics/series/duration-record.ts'
export type { RequestSummary, StatusClass } from './metrics/series/request-record.ts'
export type { MetricsWindow } from './metrics/series/windows.ts'
export {
  type ConcurrencyLimitMiddleware,
  type ConcurrencyLimitOptions,
  type ConcurrencyStats,
  concurrencyLimit
} from './rate-limit/concurrency-limit.ts'
export {
  type FailedAttemptLimit,
  type FailedAttemptLimitOptions,
  type FailedAttemptStats,
  failedAttemptLimit
} from './rate-limit/failed-attempt-limit.ts'
export type { LimitOptions, LimitsOf } from './rate-limit/limits.ts'
export type { LockoutOptions } from './rate-limit/lockout.ts'
export {
  type RateLimitMiddleware,
  type RateLimitOptions,
  type RateLimitRefusal,
  type RateLimitStats,
  rateLimit,
  type TierOptions
} from './rate-limit/rate-limit.ts'
export type { Reservation } from './rate-limit/rate-limit-decision.ts'
export {
  type Limiter,
  LimiterUnavailableError,
  type RateLimitDecision
} from './rate-limit/rate-limit-decision.ts'
export type { RateLimitHeaderFormat } from './rate-limit/rate-limit-headers.ts'
export { RateLimiter, type RateLimiterOptions, type RateLimiterState } from './rate-limit/rate-limiter.ts'
export {
  type AttachOptions,
  SharedRateLimiter,
  type SharedRateLimiterHandle,
  type SharedRateLimiterOptions,
  type SharedRateLimiterState,
  type SharedRateLimiterStats
} from './rate-limit/shared/shared-rate-limiter.ts'
export type { TierMatch } from './rate-limit/tier-match.ts'
export { MemoryUsageStore, type MemoryUsageStoreOptions } from './usage/memory-usage-store.ts'
export { type TokenUsageMiddleware, type TokenUsageOptions, tokenUsage } from './usage/token-usage.ts'
export { UsageRecorder, type UsageRecorderOptions, type UsageRecorderStats } from './usage/usage-recorder.ts'
export type { UsageQuery, UsageRecord, UsageStats, UsageStore } from './usage/usage-store.ts'
