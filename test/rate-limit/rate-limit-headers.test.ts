import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { concurrencyLimit } from '../../lib/rate-limit/concurrency-limit.ts'
import { type RateLimitOptions, rateLimit } from '../../lib/rate-limit/rate-limit.ts'
import type { Limiter, RateLimitDecision } from '../../lib/rate-limit/rate-limit-decision.ts'
import { PolicyFields, seconds } from '../../lib/rate-limit/rate-limit-headers.ts'
import { RateLimiter } from '../../lib/rate-limit/rate-limiter.ts'
import { listen } from '../support/server.ts'

test('whole seconds: rounded up, at least 1, and not a second more for what floating point adds', () => {
  for (const [ms, whole] of [
    [0, 1],
    [0.25, 1],
    [1_000, 1],
    [1_000.000_001, 2],
    [1_000.001, 2],
    [59_999.999, 60],
    [60_000, 60],
    [60_000.000_000_007, 60],
    [2_592_000_000, 2_592_000]
  ]) {
    assert.equal(seconds(ms), whole, String(ms))
  }
})

test('t is never more than the window, at whatever instant a request comes', async t => {
  let time = 0
  const limited = rateLimit({ maxRequests: 1_000, windowSeconds: 60, clock: () => time })
  const port = await listen(t, createServer(limited.wrap((_req, res) => res.end())))
  let roundedUp = 0
  for (let i = 1; i <= 100; i++) {
    time = 100_000 * i + i / 7
    if (time + 60_000 - time > 60_000) roundedUp++
    const { headers } = await fetch(`http://127.0.0.1:${port}/`)
    assert.equal(headers.get('ratelimit'), '"default";r=999;t=60')
  }
  assert.ok(roundedUp > 0, 'some of the sums are rounded up')
})

test('the reset is that of the decision, however long the handler takes', async t => {
  // Both clocks stand still, but for the handler's hours.
  let now = 5_000
  t.mock.method(performance, 'now', () => now)
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000_000 })
  const limited = rateLimit({ maxRequests: 5, windowSeconds: 60, clock: () => 0 })
  for (const setsHeaders of [false, true]) {
    const handler = limited.wrap((_req, res) => {
      // Headers that were set before go another way into the head.
      if (setsHeaders) res.setHeader('A', 'b')
      now += 3_600_000
      t.mock.timers.tick(3_600_000)
      res.end()
    })
    const port = await listen(t, createServer(handler))
    const expected = String(Date.now() / 1_000 + 60)
    const { headers } = await fetch(`http://127.0.0.1:${port}/`)
    assert.equal(headers.get('x-ratelimit-reset'), expected)
  }
})

test('numbers that no structured field holds are refused by their own name', () => {
  const limiter = Object.create(new RateLimiter({ maxRequests: 1, windowSeconds: 1 }), {
    maxRequests: { value: 10 ** 15 },
    windowMs: { value: 1_000 },
    consume: { value: () => undefined }
  })
  const bad: [RateLimitOptions, RegExp][] = [
    [
      { maxRequests: 1, windowSeconds: 1e15 },
      /^rateLimit: windowSeconds must be at most 999999999999999, got 1000000000000000$/
    ],
    [{ limiter }, /^rateLimit: maxRequests must be at most 999999999999999, got 1000000000000000$/]
  ]
  for (const [options, message] of bad)
    assert.throws(() => rateLimit(options), { name: 'TypeError', message })
  assert.equal(new PolicyFields('a', 1, 999_999_999_999_999_000).policy, '"a";q=1;w=999999999999999')
  assert.ok(concurrencyLimit({ max: 2_147_483_647 }))
})

test('what a limiter of somebody else does not say, or says as no number, is in no header', async t => {
  const whole = { limit: 5, remaining: 3, retryAfterMs: 1_000, resetMs: 1_000 }
  for (const [said, named] of [
    [whole, true],
    [{ ...whole, remaining: 2.5 }, false],
    [{ ...whole, remaining: -1 }, false],
    [{ ...whole, resetMs: Number.NaN }, false],
    [{}, false]
  ] as const) {
    for (const allowed of [true, false]) {
      const decision = { ...said, allowed } as RateLimitDecision
      const limiter = { maxRequests: 5, windowMs: 1_000, consume: () => decision } as unknown as Limiter
      const limited = rateLimit({ limiter }).wrap((_req, res) => res.end())
      const port = await listen(t, createServer(limited))
      const { status, headers } = await fetch(`http://127.0.0.1:${port}/`)
      assert.equal(status, allowed ? 200 : 429)
      assert.equal(headers.get('ratelimit'), named ? `"default";r=3${allowed ? '' : ';t=1'}` : null)
      assert.equal(headers.has('x-ratelimit-reset'), named)
      assert.equal(headers.get('retry-after'), !allowed && 'limit' in said ? '1' : null)
    }
  }
  const decision = { ...whole, allowed: false, retryAfterMs: Number.NaN }
  const limiter = { maxRequests: 5, windowMs: 1_000, consume: () => decision } as unknown as Limiter
  const port = await listen(t, createServer(rateLimit({ limiter }).wrap((_req, res) => res.end())))
  const { headers } = await fetch(`http://127.0.0.1:${port}/`)
  assert.deepEqual([headers.get('retry-after'), headers.get('ratelimit')], [null, '"default";r=3'])
})
