import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { Reporter } from '../../../lib/http/reporter.ts'
import { RedisRateLimiter } from '../../../lib/rate-limit/redis/redis-rate-limiter.ts'
import type { RedisRateLimiterOptions } from '../../../lib/rate-limit/redis/redis-rate-limiter-options.ts'
import { missing } from '../../support/program.ts'
import { RedisAtTime } from '../../support/redis-at-time.ts'
import { connectRedis, type RedisServer, startRedis } from '../../support/redis-server.ts'

interface Trace {
  name: string
  maxRequests: number
  windowMs: number
  events: [number, number, boolean, number, number | null, number][]
}

const vectors = new URL('../../vectors/rate-limit-traces.json', import.meta.url)
const traces: Trace[] = JSON.parse(readFileSync(vectors, 'utf8')).traces
const quiet = new Reporter({ onReport: () => undefined })

describe('RedisRateLimiter', { skip: missing('redis-server') }, () => {
  let server: RedisServer
  let client: Redis
  const cleanups: (() => Promise<void> | void)[] = []

  before(async () => {
    server = await startRedis({ after: fn => cleanups.unshift(fn) })
    client = connectRedis({ after: fn => cleanups.unshift(fn) }, server)
  })

  after(async () => {
    for (const cleanup of cleanups) await cleanup()
  })

  let made = 0
  async function limiterWith(options: Partial<RedisRateLimiterOptions> = {}): Promise<RedisRateLimiter> {
    const limiter = new RedisRateLimiter({
      client,
      maxRequests: 5,
      windowSeconds: 60,
      name: `test-${++made}`,
      timeoutMs: 5_000,
      reporter: quiet,
      ...options
    })
    cleanups.unshift(() => limiter.close())
    return limiter
  }

  test('counts to the limit, refuses, and says when it is over', async () => {
    const limiter = await limiterWith()
    for (let left = 4; left >= 0; left--) {
      const decision = await limiter.consume('a')
      assert.equal(decision.allowed, true)
      assert.equal(decision.remaining, left)
      assert.equal(decision.retryAfterMs, 0)
      assert.equal(decision.resetMs, 60_000)
      assert.equal(decision.decidedBy, 'redis')
    }
    const refused = await limiter.consume('a')
    assert.equal(refused.allowed, false)
    assert.equal(refused.limit, 5)
    assert.ok(refused.retryAfterMs! > 0 && refused.retryAfterMs! <= 60_000)
    assert.ok(refused.resetMs >= refused.retryAfterMs!)
    assert.equal(await limiter.isAllowed('b'), true)
    assert.equal(await limiter.getRemaining('b'), 4)
    assert.equal(await limiter.getRemaining('c'), 5)
    assert.equal((await limiter.peek('a')).allowed, false)
  })

  for (const { name, maxRequests, windowMs, events } of traces) {
    test(`answers as the oracle does: ${name}`, async t => {
      const timed = new RedisAtTime(server.port)
      t.after(() => timed.disconnect())
      const limiter = await limiterWith({
        client: timed,
        maxRequests,
        windowSeconds: windowMs / 1_000,
        clock: timed.clock
      })
      for (const [now, cost, allowed, remaining, retryAfterMs, resetMs] of events) {
        timed.now = now
        const { decidedBy: _, ...decision } = await limiter.consume('key', cost)
        const expected = {
          allowed,
          limit: maxRequests,
          remaining,
          retryAfterMs: retryAfterMs ?? undefined,
          resetMs
        }
        assert.deepEqual(decision, expected, `at ${now}`)
      }
    })
  }
})
