/** The public face of `ostiary/redis`: what needs a Redis server, by way of ioredis. */
export {
  RedisRevocationList,
  type RedisRevocationListOptions,
  type RedisRevocationListStats
} from './auth/revocation/redis/redis-revocation-list.ts'
export {
  RedisReplays,
  type RedisReplaysOptions,
  type RedisReplaysStats
} from './auth/sender/redis/redis-replays.ts'
export { LimiterUnavailableError } from './rate-limit/rate-limit-decision.ts'
export type { RedisRateLimitDecision } from './rate-limit/redis/redis-decision.ts'
export {
  RedisRateLimiter,
  type RedisRateLimiterStats,
  type RedisReservation
} from './rate-limit/redis/redis-rate-limiter.ts'
export type { RedisRateLimiterOptions } from './rate-limit/redis/redis-rate-limiter-options.ts'
