import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { describe, type TestContext, test } from 'node:test'
import { composed } from '../../../lib/http/pipeline.ts'
import { Reporter } from '../../../lib/http/reporter.ts'
import { type RateLimitOptions, rateLimit } from '../../../lib/rate-limit/rate-limit.ts'
import { RedisRateLimiter, type RedisRateLimiterOptions } from '../../../lib/redis.ts'
import { missing } from '../../support/program.ts'
import { RedisAtTime } from '../../support/redis-at-time.ts'
import { connectRedis, type RedisServer, startRedis } from '../../support/redis-server.ts'
import { converse, listen } from '../../support/server.ts'

const reporter = new Reporter({ onReport: () => undefined })

describe('rateLimit with RedisRateLimiter', { skip: missing('redis-server') }, () => {
  async function serve(t: TestContext, options: RateLimitOptions): Promise<() => Promise<string>> {
    const guarded = composed([rateLimit(options).stage], { reporter })
    const port = await listen(t, createServer(guarded.wrap((_req, res) => res.end('served'))))
    return () => converse(port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  }

  function limiterOf(t: TestContext, server: RedisServer, options: Partial<RedisRateLimiterOptions> = {}) {
    const limiter = new RedisRateLimiter({
      client: connectRedis(t, server),
      maxRequests: 2,
      windowSeconds: 60,
      timeoutMs: 60_000,
      reporter,
      ...options
    })
    t.after(() => limiter.close())
    return limiter
  }

  test('429 over the limit, 503 when Redis hangs', async t => {
    const server = await startRedis(t)
    const timed = new RedisAtTime(server.port)
    t.after(() => timed.disconnect())
    const ask = await serve(t, { limiter: limiterOf(t, server, { client: timed, clock: timed.clock }) })
    assert.match(await ask(), /^HTTP\/1.1 200 /)
    assert.match(await ask(), /^HTTP\/1.1 200 /)
    const refused = await ask()
    assert.match(refused, /^HTTP\/1.1 429 /)
    assert.match(refused, /\r\nRetry-After: 60\r\n/)
    const other = await serve(t, { limiter: limiterOf(t, server, { name: 'other', timeoutMs: 100 }) })
    server.pause()
    const unavailable = await other()
    server.resume()
    assert.match(unavailable, /^HTTP\/1.1 503 /)
    assert.match(unavailable, /\r\nRetry-After: 1\r\n/)
  })

  test("onOutage 'open': served, and no headers with numbers that nobody counted", async t => {
    const server = await startRedis(t)
    const ask = await serve(t, { limiter: limiterOf(t, server, { onOutage: 'open' }) })
    assert.match(await ask(), /\r\nRateLimit: "default";r=1\r\n/)
    await server.stop()
    for (let i = 0; i < 3; i++) {
      const served = await ask()
      assert.match(served, /^HTTP\/1.1 200 /)
      assert.doesNotMatch(served, /ratelimit/i)
    }
  })

  test('several windows are all or nothing', async t => {
    const server = await startRedis(t)
    const client = connectRedis(t, server)
    // One after the other and given back, or in one script.
    for (const clients of [[], [{ client }, { client }]]) {
      const name = `of ${clients.length}`
      const [narrow, wide] = [
        limiterOf(t, server, { maxRequests: 1, name: `narrow ${name}`, ...clients[0] }),
        limiterOf(t, server, { maxRequests: 10, windowSeconds: 600, name: `wide ${name}`, ...clients[1] })
      ]
      const ask = await serve(t, { limits: [{ limiter: narrow }, { limiter: wide }], identifier: () => 'k' })
      assert.match(await ask(), /^HTTP\/1.1 200 /)
      for (let i = 0; i < 5; i++) assert.match(await ask(), /^HTTP\/1.1 429 /)
      if (clients.length > 0) assert.deepEqual([narrow.stats.sent, wide.stats.sent], [6 + 1, 0])
      assert.equal(await wide.getRemaining('k'), 9)
    }
  })

  test('failures are given back', async t => {
    const server = await startRedis(t)
    const limiter = limiterOf(t, server, { lease: 2 })
    const guarded = rateLimit({ limiter, refundOn: 'failure', identifier: () => 'k' })
    const port = await listen(
      t,
      createServer(
        guarded.wrap((_req, res) => {
          res.statusCode = 500
          res.end()
        })
      )
    )
    for (let i = 0; i < 6; i++) {
      assert.match(
        await converse(port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'),
        /^HTTP\/1.1 500 /
      )
    }
  })
})
