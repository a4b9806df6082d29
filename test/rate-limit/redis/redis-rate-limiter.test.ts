import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import type { Redis } from 'ioredis'
import { Reporter } from '../../../lib/http/reporter.ts'
import { RateLimiter } from '../../../lib/rate-limit/rate-limiter.ts'
import { RedisRateLimiter, type RedisRateLimiterOptions } from '../../../lib/redis.ts'
import { missing } from '../../support/program.ts'
import { RedisAtTime } from '../../support/redis-at-time.ts'
import { connectRedis, type RedisServer, startRedis } from '../../support/redis-server.ts'
import { fc } from '../../support/seeded.ts'
import { WindowOracle } from '../window-oracle.ts'

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
      timeoutMs: 60_000,
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

  test('a window is as long as it is in memory: floating point takes nothing off', async () => {
    for (const [windowSeconds, windowMs] of [
      [2.006, 2_006],
      [0.0011, 1.1],
      [4.35, 4_350]
    ]) {
      const limiter = await limiterWith({ windowSeconds, name: `of ${windowSeconds}` })
      assert.equal(limiter.windowMs, windowMs)
      assert.equal((await limiter.consume('a')).resetMs, windowMs)
    }
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

  test('admits what a brute-force window admits, for any costs, ticks and gaps', async t => {
    const timed = new RedisAtTime(server.port)
    t.after(() => timed.disconnect())
    const event = fc.record({
      gap: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 40 }), fc.constantFrom(999, 1_000, 1_001)),
      cost: fc.oneof(fc.constant(1), fc.integer({ min: 0, max: 12 })),
      refund: fc.boolean()
    })
    const run = fc.asyncProperty(
      fc.integer({ min: 1, max: 10 }),
      fc.array(event, { minLength: 1, maxLength: 120 }),
      async (maxRequests, events) => {
        const limiter = await limiterWith({
          client: timed,
          maxRequests,
          windowSeconds: 1,
          clock: timed.clock
        })
        let counted: { at: number; cost: number }[] = []
        for (const { gap, cost, refund } of events) {
          timed.now += gap
          const now = timed.now
          counted = counted.filter(({ at }) => at + 1_000 > now)
          const used = counted.reduce((sum, entry) => sum + entry.cost, 0)
          const allowed = used + cost <= maxRequests
          const reservation = await limiter.reserve('key', cost)
          const { decision } = reservation
          assert.equal(decision.allowed, allowed)
          assert.equal(decision.remaining, maxRequests - used - (allowed ? cost : 0))
          assert.equal(
            decision.retryAfterMs,
            allowed ? 0 : waitFor(counted, used + cost - maxRequests, cost, now)
          )
          if (refund) {
            await reservation.refund()
            await reservation.refund()
          } else if (allowed) counted.push({ at: now, cost })
        }
        await limiter.close()
        function waitFor(entries: typeof counted, units: number, cost: number, now: number) {
          if (cost > maxRequests) return undefined
          let freed = 0
          for (const entry of entries) {
            freed += entry.cost
            if (freed >= units) return entry.at + 1_000 - now
          }
        }
      }
    )
    await fc.assert(run, { numRuns: 25 })
  })

  test('several windows in one call: all or none, as brute force says', async t => {
    const timed = new RedisAtTime(server.port)
    t.after(() => timed.disconnect())
    const shapes = [
      { maxRequests: 3, windowSeconds: 1 },
      { maxRequests: 8, windowSeconds: 5 },
      { maxRequests: 10, windowSeconds: 60, resolutionMs: 0 }
    ]
    const step = fc.record({
      gap: fc.constantFrom(0, 1, 300, 700, 1_000, 5_000),
      cost: fc.nat(4),
      refund: fc.nat(5)
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async steps => {
        const limiters: RedisRateLimiter[] = []
        for (const shape of shapes)
          limiters.push(await limiterWith({ client: timed, clock: timed.clock, ...shape }))
        const oracles = shapes.map(shape => new WindowOracle(shape.maxRequests, shape.windowSeconds * 1_000))
        const [first, ...others] = limiters
        const sent = () => limiters.reduce((sum, { stats }) => sum + stats.sent, 0)
        timed.now = 1_000
        for (const { gap, cost, refund } of steps) {
          timed.now += gap
          const before = sent()
          const reservations = await first.reserveWith(others, ['a', 'a', 'b'], cost)!
          assert.equal(sent(), before + 1)
          const fits = oracles.every((oracle, i) => oracle.used(timed.now) + cost <= shapes[i].maxRequests)
          reservations.forEach(({ decision }, i) => {
            // One that refuses leaves the others as they were: they are looked at, and charged nothing.
            const limit = shapes[i].maxRequests
            const left = limit - oracles[i].used(timed.now)
            const { decidedBy, retryAfterMs, resetMs, ...rest } = decision
            assert.equal(decidedBy, 'redis')
            if (fits)
              assert.deepEqual({ ...rest, retryAfterMs, resetMs }, oracles[i].consume(cost, timed.now))
            else assert.deepEqual(rest, { allowed: left >= cost, limit, remaining: left })
          })
          if (refund > 0) continue
          for (const reservation of reservations) await reservation.refund()
          if (fits) for (const oracle of oracles) oracle.refund(timed.now, cost)
        }
        for (const limiter of limiters) await limiter.close()
      }),
      { numRuns: 25 }
    )
  })

  test('several windows go one by one when one script cannot do it', async t => {
    const first = await limiterWith()
    const elsewhere = await limiterWith({ client: connectRedis(t, server) })
    const leasing = await limiterWith({ lease: 2 })
    const open = await limiterWith({ onOutage: 'open' })
    for (const other of [
      elsewhere,
      leasing,
      open,
      first,
      new RateLimiter({ maxRequests: 1, windowSeconds: 1 })
    ])
      assert.equal(first.reserveWith([other], ['a', 'a'], 1), undefined)
    assert.equal(leasing.reserveWith([first], ['a', 'a'], 1), undefined)
    assert.equal((await first.reserveWith([first], ['a', 'b'], 1)!).length, 2)
    assert.throws(() => first.reserveWith([first], ['a', 'b'], -1), /cost must be/)
    assert.throws(() => first.reserveWith([first], ['a', 5 as never], 1), /identifier must be/)
  })

  test('finds its way in windows of many entries, mostly dead ones too', async t => {
    const timed = new RedisAtTime(server.port)
    t.after(() => timed.disconnect())
    const limiter = await limiterWith({
      client: timed,
      maxRequests: 400,
      windowSeconds: 1,
      clock: timed.clock
    })
    const stamps: number[] = []
    let random = 7
    for (let i = 0; i < 1_500; i++) {
      random = (random * 48_271) % 2_147_483_647
      timed.now += random % 100 === 0 ? 900 : random % 5
      const cost = random % 97 === 0 ? 150 : 1
      while (stamps.length > 0 && stamps[0] + 1_000 <= timed.now) stamps.shift()
      const over = stamps.length + cost - 400
      const decision = await limiter.consume('many', cost)
      assert.equal(decision.allowed, over <= 0)
      assert.equal(decision.retryAfterMs, over <= 0 ? 0 : stamps[over - 1] + 1_000 - timed.now)
      if (over <= 0) for (let unit = 0; unit < cost; unit++) stamps.push(timed.now)
    }
  })

  test('a clock that is set back stops nothing and frees nothing early', async t => {
    const timed = new RedisAtTime(server.port)
    t.after(() => timed.disconnect())
    let local = 0
    const limiter = await limiterWith({ client: timed, maxRequests: 2, windowSeconds: 1, clock: () => local })
    timed.now = 10_000_000
    assert.equal((await limiter.consume('k')).allowed, true)
    timed.now += 400
    assert.equal((await limiter.consume('k')).allowed, true)
    timed.now -= 3_600_000
    local += 1_000
    assert.equal((await limiter.consume('k')).retryAfterMs, 600)
    timed.now += 599
    local += 1_000
    assert.equal((await limiter.consume('k')).allowed, false)
    timed.now += 1
    local += 1_000
    assert.equal((await limiter.consume('k')).allowed, true)
  })

  test('ticks free no unit early and none more than a tick late, in fewer bytes', async t => {
    const timed = new RedisAtTime(server.port)
    t.after(() => timed.disconnect())
    const options = {
      client: timed,
      maxRequests: 1_000,
      windowSeconds: 1,
      resolutionMs: 100,
      clock: timed.clock
    }
    const limiter = await limiterWith({ ...options, name: 'ticks' })
    timed.now = 5_030
    for (let i = 0; i < 1_000; i++) assert.equal((await limiter.consume('k')).allowed, true)
    assert.equal((await limiter.consume('k')).retryAfterMs, 1_070)
    assert.ok((await client.strlen('ostiary:ticks:window:{k}')) < 100)
    timed.now = 6_099
    assert.equal((await limiter.consume('k')).allowed, false)
    timed.now = 6_100
    assert.equal((await limiter.consume('k')).allowed, true)
  })

  test('200 at once at a limit of 5: exactly 5', async () => {
    const limiter = await limiterWith()
    const decisions = await Promise.all(Array.from({ length: 200 }, () => limiter.consume('race')))
    assert.equal(decisions.filter(decision => decision.allowed).length, 5)
  })

  test('a blocked key is refused without asking', async () => {
    const limiter = await limiterWith({ maxRequests: 1 })
    await limiter.consume('k')
    await limiter.consume('k')
    const { sent } = limiter.stats
    for (let i = 0; i < 10; i++) {
      const decision = await limiter.consume('k')
      assert.equal(decision.allowed, false)
      assert.equal(decision.decidedBy, 'memory')
      assert.ok(decision.retryAfterMs! > 0 && decision.retryAfterMs! <= 60_000)
    }
    assert.equal(limiter.stats.sent, sent)
    assert.equal(limiter.stats.refusedLocally, 10)
    await limiter.reset('k')
    assert.equal(await limiter.isAllowed('k'), true)
  })

  test('costs and identifiers are checked before anything is sent', async () => {
    const limiter = await limiterWith()
    for (const cost of [Number.NaN, -1, 0.5, Number.POSITIVE_INFINITY, '3', 2 ** 53, null]) {
      await assert.rejects(limiter.consume('k', cost as number), {
        name: 'TypeError',
        message: /RedisRateLimiter: cost must be a non-negative integer, got /
      })
    }
    for (const identifier of [undefined, null, 7, {}]) {
      await assert.rejects(limiter.consume(identifier as string), /identifier must be a string/)
    }
    assert.equal(limiter.stats.sent, 0)
    assert.equal((await limiter.consume('k', 6)).retryAfterMs, undefined)
    assert.equal((await limiter.consume('k', 0)).allowed, true)
    assert.equal(
      await client.exists(...(await client.keys('*')), 'x').then(() => limiter.getRemaining('k')),
      5
    )
  })

  test('no two identifiers share a window, however odd they are', async () => {
    const limiter = await limiterWith({ maxRequests: 1 })
    const long = 'x'.repeat(16_384)
    const odd = [
      '',
      '}',
      '{',
      '{}',
      '}{',
      'a}b',
      'a',
      '{a}',
      '#',
      '#a',
      '*',
      '\ud800',
      '\ud801',
      '\ufffd',
      long,
      `${long}y`,
      '__proto__',
      'a\r\nb',
      'é'
    ]
    for (const identifier of odd)
      assert.equal(await limiter.isAllowed(identifier), true, JSON.stringify(identifier))
    for (const identifier of odd) assert.equal(await limiter.isAllowed(identifier), false)
  })

  test('a refusal leaves no trace, and dead keys vanish', async () => {
    const limiter = await limiterWith({ maxRequests: 2, name: 'dead' })
    await limiter.consume('k', 3)
    await limiter.peek('k')
    assert.deepEqual(await client.keys('ostiary:dead:*'), [])
    await limiter.consume('k')
    const [key] = await client.keys('ostiary:dead:*')
    const before = await client.dump(key)
    await limiter.consume('k', 2)
    assert.deepEqual(await client.dump(key), before)
    const ttl = await client.pttl(key)
    assert.ok(ttl > 0 && ttl <= 67_502, String(ttl))
  })

  test('reset forgets one key, clearAll all of this limiter and no other', async () => {
    const one = await limiterWith({ maxRequests: 1, name: 'cle[a]r*' })
    const other = await limiterWith({ maxRequests: 1 })
    for (const limiter of [one, other]) for (const key of ['a', 'b']) await limiter.consume(key)
    await one.reset('a')
    assert.equal(await one.isAllowed('a'), true)
    assert.equal(await one.isAllowed('b'), false)
    await one.clearAll()
    assert.equal(await one.isAllowed('a'), true)
    assert.equal(await one.isAllowed('b'), true)
    assert.equal(await other.isAllowed('a'), false)
  })

  test('loads its script again after SCRIPT FLUSH', async () => {
    const limiter = await limiterWith()
    await limiter.consume('k')
    await client.script('FLUSH')
    assert.equal((await limiter.consume('k')).remaining, 3)
    await client.script('FLUSH')
    const decisions = await Promise.all(Array.from({ length: 20 }, () => limiter.consume('k')))
    assert.equal(decisions.filter(decision => decision.allowed).length, 3)
  })

  test('ends with its client, and does not end it', async t => {
    const own = connectRedis(t, server)
    const limiter = await limiterWith({ client: own })
    await limiter.consume('k')
    await limiter.close()
    assert.equal(await own.ping(), 'PONG')
    const second = await limiterWith({ client: own })
    await second.consume('k')
    const ended = once(own, 'end')
    await own.quit()
    await ended
    await assert.rejects(second.consume('k'), { code: 'ERR_LIMITER_UNAVAILABLE' })
  })

  const bad: [Partial<Record<keyof RedisRateLimiterOptions, unknown>>, RegExp][] = [
    [{ client: undefined }, /client must be a client or a cluster of ioredis, got undefined/],
    [{ maxRequests: 0 }, /maxRequests must be a positive integer, got 0/],
    [{ maxRequests: 2 ** 31 }, /maxRequests must be a positive integer up to 2147483647, got 2147483648/],
    [{ maxRequests: '5' }, /maxRequests must be a positive integer, got "5"/],
    [{ windowSeconds: 0 }, /windowSeconds must be a number from /],
    [{ windowSeconds: Number.NaN }, /windowSeconds must be a number from .* got NaN/],
    [{ resolutionMs: -1 }, /resolutionMs must be a number from 0 to 60000, got -1/],
    [{ onOutage: 'maybe' }, /onOutage must be 'closed', 'open' or 'local', got "maybe"/],
    [{ timeoutMs: 0 }, /timeoutMs must be a number/],
    [{ retryMs: 'soon' }, /retryMs must be a number from 1 to 2147483647, got "soon"/],
    [{ lease: 6 }, /lease must be a positive integer up to 5, got 6/],
    [{ lease: 0 }, /lease must be a positive integer, got 0/],
    [{ leaseMs: 60_001 }, /leaseMs must be a number from 0.001 to 60000, got 60001/],
    [{ maxKeys: 1.5 }, /maxKeys must be a positive integer, got 1.5/],
    [{ clock: 5 }, /^RedisRateLimiter: clock must be a function, got 5$/],
    [{ prefix: 7 }, /prefix must be a string, got 7/],
    [{ name: '' }, /name must be a string, not empty, got ""/],
    [{ name: 'a{b}' }, /prefix and name must not hold braces/]
  ]
  for (const [options, message] of bad) {
    test(`is not made with ${Object.entries(options).map(([name, value]) => `${name}: ${value}`)}`, () => {
      const given = { client, maxRequests: 5, windowSeconds: 60, ...options } as RedisRateLimiterOptions
      assert.throws(() => new RedisRateLimiter(given), { name: 'TypeError', message })
    })
  }
})
