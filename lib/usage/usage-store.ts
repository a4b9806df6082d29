/** What token usage is made of, and where it is kept. */
import { checkText, wrongOption } from '../options.ts'

/** One request that was made with an API token. */
export interface UsageRecord {
  /** The token's `jti`. */
  tokenJti: string
  /** The owner's e-mail address, or their id where they have none. */
  userEmail: string
  /** When the response ended. */
  timestamp: Date
  /** The request path, without the query. */
  endpoint: string
  method: string
  ipAddress: string | null
  userAgent: string | null
  /** 0: nothing was answered before the client left. */
  statusCode: number
  /** In whole µs: the recorder rounds to them, and so does a store that keeps no more. */
  responseTimeMs: number
  /** The token was good, or known, and the answer was a 4xx. */
  blocked: boolean
  /** `http_<status>`; `revoked_or_expired` when the gate refused the token itself. */
  blockReason: string | null
}

export interface UsageQuery {
  userEmail: string
  /** One token (`jti`) of this user. Default: all. */
  tokenId?: string
  /** How many days back from now. Default 30. */
  days?: number
}

export interface UsageStats {
  periodDays: number
  totalRequests: number
  /** Status 1 to 399. */
  successfulRequests: number
  blockedRequests: number
  /** Successful over total, 0 to 1; 0 when there were none. */
  successRate: number
  averageResponseTimeMs: number
  /** Percentiles are times of real requests (nearest rank); 0 when there were none. */
  p50ResponseTimeMs: number
  p95ResponseTimeMs: number
  p99ResponseTimeMs: number
  /** The five most used, most used first. */
  topEndpoints: { endpoint: string; count: number }[]
  lastUsedAt: Date | null
}

/**
 * Keeps usage records. A store that is slow or down rejects; the recorder keeps the records, tries again, and counts what
 * it could not keep in the end.
 */
export interface UsageStore {
  /** Stores all of the records, or none and rejects. */
  append(records: UsageRecord[]): Promise<void>
  stats(query: UsageQuery): Promise<UsageStats>
  /** Safe to call twice. */
  close(): Promise<void>
  /**
   * Stores records while the process exits, when nothing asynchronous runs any more, after those whose `append` is under
   * way; there may be none but these. Throws when it cannot.
   */
  appendSync?(records: UsageRecord[]): void
}

/** The response time of a record, as it is kept. */
export function wholeMicros(responseTimeMs: number): number {
  return Math.round(responseTimeMs * 1_000)
}

/** How many endpoints the statistics name. */
export const topEndpointCount = 5
const dayMs = 86_400_000

/**
 * A query with its period filled in and checked.
 * @param now epoch ms
 * @throws TypeError when a member is wrong
 */
export function usagePeriod(query: UsageQuery, now: number): { days: number; since: number } {
  const { userEmail, tokenId, days = 30 } = query
  checkText('usage stats', 'userEmail', userEmail)
  if (tokenId !== undefined) checkText('usage stats', 'tokenId', tokenId)
  if (typeof days !== 'number' || !(days > 0 && days <= 36_525)) {
    throw wrongOption('usage stats', 'days', 'a number above 0 and at most 36525', days)
  }
  return { days, since: now - days * dayMs }
}

/** The statistics of nothing. */
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
