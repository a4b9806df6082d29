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
export {
  type Authenticate,
  type AuthenticateOptions,
  type AuthenticateSettings,
  authenticate,
  type ValidationListener
} from './auth/authenticate.ts'
export { type RequireHumanOptions, requireHuman, requireM2M, requireUser } from './auth/caller-guards.ts'
export type { CallerRule } from './auth/identity.ts'
export { JwksCache, type JwksCacheOptions, type JwksCacheStats } from './auth/jwks-cache.ts'
export {
  type CallerExplanation,
  type CallerKind,
  M2MTokenDetector,
  type TokenMetadata
} from './auth/m2m-token-detector.ts'
export {
  hasGroups,
  hasPermissions,
  hasRoles,
  type MembershipGuard,
  type MembershipQuestion,
  requireGroups,
  requirePermissions,
  requireRoles
} from './auth/membership-guards.ts'
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
} from './auth/memberships.ts'
export { hasScopes, requireScopes } from './auth/scope-guards.ts'
export { TokenVerifier, type TokenVerifierOptions, type TokenVerifierStats } from './auth/token-verifier.ts'
export { User } from './auth/user.ts'
export type { Claims, TokenHeader, VerifiedToken } from './auth/verified-token.ts'
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
export { Histogram, type HistogramOptions, type HistogramSnapshot } from './metrics/histogram.ts'
export { HistogramError, type HistogramErrorCode } from './metrics/histogram-error.ts'
export { type HistogramLogRange, HistogramLogReader } from './metrics/histogram-log-reader.ts'
export {
  type HistogramInterval,
  HistogramLogWriter,
  type HistogramLogWriterOptions
} from './metrics/histogram-log-writer.ts'
export {
  type HttpMetrics,
  type MetricsOptions,
  metrics,
  type RequestMetrics
} from './metrics/http-metrics.ts'
export type { Metric, MetricSource } from './metrics/metric.ts'
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
export { type AllowScrape, type MetricsEndpointOptions, metricsEndpoint } from './metrics/metrics-endpoint.ts'
export { ProcessMetrics, type ProcessMetricsOptions } from './metrics/process-metrics.ts'
export {
  type RateLimitMiddleware,
  type RateLimitOptions,
  type RateLimitRefusal,
  type RateLimitStats,
  rateLimit
} from './rate-limit/rate-limit.ts'
export {
  type Limiter,
  LimiterUnavailableError,
  type RateLimitDecision
} from './rate-limit/rate-limit-decision.ts'
export type { RateLimitHeaderFormat } from './rate-limit/rate-limit-headers.ts'
export { RateLimiter, type RateLimiterOptions } from './rate-limit/rate-limiter.ts'
export { MemoryUsageStore, type MemoryUsageStoreOptions } from './usage/memory-usage-store.ts'
export { type TokenUsageMiddleware, type TokenUsageOptions, tokenUsage } from './usage/token-usage.ts'
export { UsageRecorder, type UsageRecorderOptions, type UsageRecorderStats } from './usage/usage-recorder.ts'
export type { UsageQuery, UsageRecord, UsageStats, UsageStore } from './usage/usage-store.ts'
