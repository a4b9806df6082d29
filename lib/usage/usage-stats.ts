/** The arithmetic that every usage store shares. */
import type { UsageQuery, UsageStats } from './usage-store.ts'

export const defaultDays = 30
export const topEndpointCount = 5
const dayMs = 86_400_000

/**
 * A query with its period filled in and checked.
 * @param now epoch ms
 * @throws TypeError when a member is wrong
 */
export function usagePeriod(query: UsageQuery, now: number): { days: number; since: number } {
  const { userEmail, tokenId, days = defaultDays } = query
  if (typeof userEmail !== 'string' || userEmail === '') {
    throw new TypeError(`usage stats: userEmail must be a non-empty string, got ${JSON.stringify(userEmail)}`)
  }
  if (tokenId !== undefined && (typeof tokenId !== 'string' || tokenId === '')) {
    throw new TypeError(`usage stats: tokenId must be a non-empty string, got ${JSON.stringify(tokenId)}`)
  }
  if (typeof days !== 'number' || !(days > 0 && days <= 36_525)) {
    throw new TypeError(`usage stats: days must be a number above 0 and at most 36525, got ${String(days)}`)
  }
  return { days, since: now - days * dayMs }
}

/** Nearest rank: the smallest value that at least `percent` of `count` values do not exceed, as an index into them sorted. */
export function percentileIndex(count: number, percent: 50 | 95 | 99): number {
  return Math.max(0, Math.ceil((count * percent) / 100) - 1)
}

export function emptyStats(periodDays: number): UsageStats {
  return {
    periodDays,
    totalRequests: 0,
    successfulRequests: 0,
    blockedRequests: 0,
    successRate: 0,
    averageResponseTimeMs: 0,
    p50ResponseTimeMs: 0,
    p95ResponseTimeMs: 0,
    p99ResponseTimeMs: 0,
    topEndpoints: [],
    lastUsedAt: null
  }
}
