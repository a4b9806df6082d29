/** What every usage store must do. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { UsageRecord, UsageStats, UsageStore } from '../../lib/usage/usage-store.ts'
import { fc } from '../support/seeded.ts'

export const now = Date.parse('2030-06-15T12:00:00Z')
const dayMs = 86_400_000

export function record(changes: Partial<UsageRecord> = {}): UsageRecord {
  return {
    tokenJti: 'jti-1',
    userEmail: 'ann@example.com',
    timestamp: new Date(now - 1_000),
    endpoint: '/orders',
    method: 'GET',
    ipAddress: '192.0.2.1',
    userAgent: 'curl/8',
    statusCode: 200,
    responseTimeMs: 10,
    blocked: false,
    blockReason: null,
    ...changes
  }
}

/** The statistics by the book, one thing at a time. */
function byTheBook(
  all: UsageRecord[],
  userEmail: string,
  tokenId: string | undefined,
  days: number
): UsageStats {
  const mine = all
    .filter(one => one.userEmail === userEmail && (tokenId === undefined || one.tokenJti === tokenId))
    .filter(one => one.timestamp.getTime() >= now - days * dayMs)
  const good = mine.filter(one => one.statusCode >= 1 && one.statusCode <= 399).length
  const times = mine.map(one => one.responseTimeMs).sort((a, b) => a - b)
  // Nearest rank: the first value that enough values are not above.
  const percentile = (percent: number) => times.find((_, i) => (i + 1) * 100 >= percent * times.length) ?? 0
  const names = [...new Set(mine.map(one => one.endpoint))]
  const counts = names.map(endpoint => ({
    endpoint,
    count: mine.filter(one => one.endpoint === endpoint).length
  }))
  return {
    periodDays: days,
    totalRequests: mine.length,
    successfulRequests: good,
    blockedRequests: mine.filter(one => one.blocked).length,
    successRate: mine.length === 0 ? 0 : good / mine.length,
    averageResponseTimeMs: mine.length === 0 ? 0 : times.reduce((a, b) => a + b, 0) / mine.length,
    p50ResponseTimeMs: percentile(50),
    p95ResponseTimeMs: percentile(95),
    p99ResponseTimeMs: percentile(99),
    topEndpoints: counts.sort((a, b) => b.count - a.count || (a.endpoint < b.endpoint ? -1 : 1)).slice(0, 5),
    lastUsedAt: mine.length === 0 ? null : new Date(Math.max(...mine.map(one => one.timestamp.getTime())))
  }
}

const anyRecord: fc.Arbitrary<UsageRecord> = fc
  .record({
    tokenJti: fc.constantFrom('jti-1', 'jti-2', 'jti-3'),
    userEmail: fc.constantFrom('ann@example.com', 'bob@example.com'),
    agoMs: fc.oneof(
      fc.integer({ min: 0, max: 40 * dayMs }),
      fc.constantFrom(0, dayMs - 1, dayMs, dayMs + 1, 30 * dayMs, 30 * dayMs + 1)
    ),
    endpoint: fc.constantFrom('/a', '/b', '/c', '/d', '/e', '/f', '/g'),
    statusCode: fc.constantFrom(0, 200, 304, 399, 400, 401, 429, 500),
    responseTimeMs: fc.oneof(
      fc.constantFrom(0, 1, 2),
      fc.integer({ min: 0, max: 4_000 }).map(n => n / 4)
    )
  })
  .map(({ agoMs, ...fields }) => {
    const blocked = fields.statusCode >= 400 && fields.statusCode < 500
    const blockReason = blocked ? `http_${fields.statusCode}` : null
    return record({ ...fields, timestamp: new Date(now - agoMs), blocked, blockReason })
  })

/** Of one token, and in no order. */
const alikeAroundBoundary = fc
  .record({
    agoMs: fc.integer({ min: dayMs - 4, max: dayMs + 4 }),
    endpoint: fc.constantFrom('/a', '/b'),
    responseTimeMs: fc.integer({ min: 0, max: 9 })
  })
  .map(({ agoMs, ...fields }) => record({ ...fields, timestamp: new Date(now - agoMs) }))

export function storeContract(name: string, open: (t: TestContext) => UsageStore): void {
  test(`${name}: nothing stored, nothing counted`, async t => {
    assert.deepEqual(
      await open(t).stats({ userEmail: 'ann@example.com' }),
      byTheBook([], 'ann@example.com', undefined, 30)
    )
  })

  test(`${name}: one record`, async t => {
    const store = open(t)
    await store.append([record()])
    assert.deepEqual(await store.stats({ userEmail: 'ann@example.com' }), {
      periodDays: 30,
      totalRequests: 1,
      successfulRequests: 1,
      blockedRequests: 0,
      successRate: 1,
      averageResponseTimeMs: 10,
      p50ResponseTimeMs: 10,
      p95ResponseTimeMs: 10,
      p99ResponseTimeMs: 10,
      topEndpoints: [{ endpoint: '/orders', count: 1 }],
      lastUsedAt: new Date(now - 1_000)
    })
  })

  test(`${name}: percentiles are times of real requests, by nearest rank`, async t => {
    const store = open(t)
    await store.append(Array.from({ length: 1_000 }, (_, i) => record({ responseTimeMs: 1_000 - i })))
    const stats = await store.stats({ userEmail: 'ann@example.com' })
    assert.deepEqual(
      [stats.p50ResponseTimeMs, stats.p95ResponseTimeMs, stats.p99ResponseTimeMs],
      [500, 950, 990]
    )
    assert.equal(stats.averageResponseTimeMs, 500.5)
  })

  test(`${name}: the statistics of any records are those by the book`, async t => {
    const store = open(t)
    const all: UsageRecord[] = []
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyRecord, { maxLength: 60 }),
        fc.constantFrom(1, 7, 30, 0.5),
        async (records, days) => {
          all.push(...records)
          await store.append(records)
          for (const [userEmail, tokenId] of [
            ['ann@example.com', undefined],
            ['ann@example.com', 'jti-2'],
            ['bob@example.com', 'jti-1'],
            ['nobody', undefined]
          ] as const) {
            const stats = await store.stats(
              tokenId === undefined ? { userEmail, days } : { userEmail, tokenId, days }
            )
            const expected = byTheBook(all, userEmail, tokenId, days)
            assert.ok(Math.abs(stats.averageResponseTimeMs - expected.averageResponseTimeMs) < 1e-6)
            assert.deepEqual(
              { ...stats, averageResponseTimeMs: 0 },
              { ...expected, averageResponseTimeMs: 0 }
            )
          }
        }
      ),
      { numRuns: 15 }
    )
  })

  test(`${name}: of records that are alike, those inside the period count`, async t => {
    const store = open(t)
    const all: UsageRecord[] = []
    await fc.assert(
      fc.asyncProperty(fc.array(alikeAroundBoundary, { minLength: 2, maxLength: 30 }), async records => {
        all.push(...records)
        await store.append(records)
        const stats = await store.stats({ userEmail: 'ann@example.com', days: 1 })
        const expected = byTheBook(all, 'ann@example.com', undefined, 1)
        assert.ok(Math.abs(stats.averageResponseTimeMs - expected.averageResponseTimeMs) < 1e-6)
        assert.deepEqual({ ...stats, averageResponseTimeMs: 0 }, { ...expected, averageResponseTimeMs: 0 })
      }),
      { numRuns: 15 }
    )
  })

  test(`${name}: any text is kept as text`, async t => {
    const store = open(t)
    const odd = ["'; DROP TABLE token_usage; --", '/%00', 'Zürich 😀', '?1', '']
    await store.append(
      odd.map(endpoint =>
        record({ userEmail: "o'hara@example.com", endpoint, userAgent: null, ipAddress: null })
      )
    )
    const { topEndpoints } = await store.stats({ userEmail: "o'hara@example.com" })
    assert.deepEqual(new Set(topEndpoints.map(top => top.endpoint)), new Set(odd))
  })

  test(`${name}: batches that overlap are all stored`, async t => {
    const store = open(t)
    await Promise.all(
      Array.from({ length: 20 }, () => store.append(Array.from({ length: 50 }, () => record())))
    )
    assert.equal((await store.stats({ userEmail: 'ann@example.com' })).totalRequests, 1_000)
  })

  const wrong: [unknown, RegExp][] = [
    [{}, /usage stats: userEmail must be a non-empty string, got undefined/],
    [{ userEmail: '' }, /userEmail must be a non-empty string, got ""/],
    [{ userEmail: 'a', tokenId: '' }, /tokenId must be a non-empty string, got ""/],
    [{ userEmail: 'a', days: 0 }, /days must be a number above 0 and at most 36525, got 0/],
    [{ userEmail: 'a', days: Number.NaN }, /days must be .* got NaN/],
    [{ userEmail: 'a', days: '7' }, /days must be .* got 7/],
    [{ userEmail: 'a', days: 1e9 }, /days must be .* got 1000000000/]
  ]

  for (const [query, message] of wrong) {
    test(`${name}: refuses the query ${JSON.stringify(query)}`, async t => {
      await assert.rejects(open(t).stats(query as never), message)
    })
  }

  test(`${name}: close is safe to call twice`, async t => {
    const store = open(t)
    await store.append([record()])
    await Promise.all([store.close(), store.close()])
    await store.close()
  })
}
