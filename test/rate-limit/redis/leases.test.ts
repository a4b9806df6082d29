import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { Reporter } from '../../../lib/http/reporter.ts'
import { RedisRateLimiter, type RedisRateLimiterOptions } from '../../../lib/redis.ts'
import { missing } from '../../support/program.ts'
import { RedisAtTime } from '../../support/redis-at-time.ts'
import { connectRedis, type RedisServer, startRedis } from '../../support/redis-server.ts'
import { fc } from '../../support/seeded.ts'

describe('RedisRateLimiter with leases', { skip: missing('redis-server') }, () => {
  let server: RedisServer
  let client: Redis
  const cleanups: (() => Promise<void> | void)[] = []
  const cleanup = { after: (fn: () => Promise<void> | void) => cleanups.unshift(fn) }

  before(async () => {
    server = await startRedis(cleanup)
    client = connectRedis(cleanup, server)
  })

  after(async () => {
    for (const fn of cleanups) await fn()
  })

  let made = 0
  function limiterWith(options: Partial<RedisRateLimiterOptions> = {}): RedisRateLimiter {
    const limiter = new RedisRateLimiter({
      client,
      maxRequests: 100,
      windowSeconds: 60,
      lease: 10,
      name: `lease-${++made}`,
      timeoutMs: 60_000,
      reporter: new Reporter({ onReport: () => undefined }),
      ...options
    })
    cleanups.unshift(() => limiter.close())
    return limiter
  }

  test('a hot key costs one round trip for n requests', async () => {
    const limiter = limiterWith({ leaseMs: 60_000 })
    for (let i = 1; i <= 100; i++) {
      const decision = await limiter.consume('hot')
      assert.equal(decision.allowed, true)
      assert.equal(decision.remaining, 100 - i)
      assert.equal(decision.resetMs >= 60_000, true)
      assert.equal(decision.decidedBy, i === 1 ? 'redis' : 'lease')
    }
    assert.equal(limiter.stats.leases, 10)
    // The first is counted by itself, the peek of nothing is not asked for; one more when the script was not loaded.
    assert.ok(limiter.stats.sent <= 12, String(limiter.stats.sent))
    assert.equal((await limiter.consume('hot')).allowed, false)
  })

  test('512 at once at a limit of 100: exactly 100, in a few round trips', async () => {
    const limiter = limiterWith({ leaseMs: 60_000 })
    await limiter.consume('race')
    const decisions = await Promise.all(Array.from({ length: 512 }, () => limiter.consume('race')))
    assert.equal(decisions.filter(decision => decision.allowed).length, 99)
    assert.ok(limiter.stats.sent < 10, String(limiter.stats.sent))
  })

  test('two processes take the whole limit between them', async () => {
    const name = 'shared'
    const limiters = [limiterWith({ name }), limiterWith({ name })]
    let allowed = 0
    for (let i = 0; i < 150; i++) if (await limiters[i % 2].isAllowed('k')) allowed++
    assert.ok(allowed <= 100)
    assert.ok(allowed >= 90, `${allowed}: no more than a lease is held back`)
    await Promise.all(limiters.map(limiter => limiter.close()))
    const third = limiterWith({ name })
    assert.equal(await third.getRemaining('k'), 100 - allowed)
  })

  test('what is unused goes back when the lease ends', async () => {
    const name = 'returned'
    let now = 0
    const limiter = limiterWith({ name, leaseMs: 20, clock: () => now })
    const other = limiterWith({ name })
    for (let i = 0; i < 2; i++) await limiter.consume('k')
    assert.equal(limiter.stats.leases, 1)
    assert.equal(await limiter.getRemaining('k'), 98)
    assert.equal(await other.getRemaining('k'), 89)
    now += 20
    while ((await other.getRemaining('k')) < 98) await sleep(5)
    assert.equal(await other.getRemaining('k'), 98)
    assert.equal(await client.exists(`ostiary:${name}:leases:{k}`), 0)
  })

  test('units of a process that died count until a window after the end of their lease', async t => {
    const timed = new RedisAtTime(server.port)
    t.after(() => timed.disconnect())
    timed.now = 1_000_000
    const options = { client: timed, clock: timed.clock, name: 'dead', windowSeconds: 1, leaseMs: 100 }
    // Its clock stands still: it never comes to give its lease back.
    const dead = limiterWith({ ...options, maxRequests: 10, clock: () => 1_000_000 })
    for (let i = 0; i < 2; i++) await dead.consume('k')
    const other = limiterWith({ ...options, maxRequests: 10, lease: 1 })
    const refused = await other.consume('k')
    assert.equal(refused.allowed, false)
    assert.equal(refused.retryAfterMs, 1_000)
    timed.now += 1_000
    assert.equal((await other.peek('k', 0)).remaining, 1)
    timed.now += 99
    assert.equal((await other.peek('k', 0)).remaining, 1)
    timed.now += 1
    assert.equal((await other.peek('k', 0)).remaining, 10)
  })

  test('a lease is not used after its end', async t => {
    const timed = new RedisAtTime(server.port)
    t.after(() => timed.disconnect())
    const limiter = limiterWith({ client: timed, clock: timed.clock, name: 'ended', leaseMs: 30_000 })
    for (let i = 0; i < 3; i++) await limiter.consume('k')
    assert.equal(limiter.stats.leases, 1)
    timed.now += 29_999
    await limiter.consume('k')
    assert.equal(limiter.stats.leases, 1)
    timed.now += 1
    assert.equal((await limiter.consume('k')).remaining, 100 - 5)
    assert.equal(limiter.stats.leases, 2)
  })

  test('reset keeps what others have leased, and gives up the own lease', async () => {
    const name = 'reset'
    const one = limiterWith({ name, maxRequests: 20, leaseMs: 60_000 })
    const other = limiterWith({ name, maxRequests: 20, leaseMs: 60_000 })
    for (let i = 0; i < 2; i++) await one.consume('k')
    await other.consume('k')
    await one.reset('k')
    assert.equal(await other.getRemaining('k'), 20)
    for (let i = 0; i < 2; i++) await one.consume('k')
    await other.reset('k')
    assert.equal(await other.getRemaining('k'), 20 - 10)
    await other.clearAll()
    assert.equal(await other.getRemaining('k'), 20 - 10)
  })

  test('a refund goes back to the lease, or to the stamp that the lease was settled with', async () => {
    const limiter = limiterWith({ maxRequests: 10, lease: 5, leaseMs: 60_000 })
    await limiter.consume('k')
    const early = await limiter.reserve('k')
    const { sent } = limiter.stats
    await early.refund()
    await early.refund()
    assert.equal(limiter.stats.sent, sent)
    assert.equal(await limiter.getRemaining('k'), 9)
    const reservations = []
    for (let i = 0; i < 7; i++) reservations.push(await limiter.reserve('k'))
    await reservations[0].refund()
    assert.equal(await limiter.getRemaining('k'), 3)
  })

  test('a lease that comes too late is given back', async t => {
    const own = await startRedis(t)
    const hung = connectRedis(t, own)
    const limiter = limiterWith({ client: hung, name: 'late', leaseMs: 60_000 })
    await limiter.consume('k')
    const { sent } = limiter.stats
    own.pause()
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const rejected = assert.rejects(limiter.consume('k'), { code: 'ERR_LIMITER_UNAVAILABLE' })
    t.mock.timers.tick(60_000)
    await rejected
    t.mock.timers.reset()
    own.resume()
    while ((await hung.exists('ostiary:late:leases:{k}')) !== 0 || limiter.stats.sent < sent + 2)
      await sleep(5)
    assert.equal(await limiter.getRemaining('k'), 99)
  })

  test('never too many, whatever several processes do', async t => {
    const timed = new RedisAtTime(server.port)
    t.after(() => timed.disconnect())
    const step = fc.record({
      who: fc.nat(2),
      gap: fc.oneof(fc.constant(0), fc.nat(30), fc.constantFrom(100, 899, 999, 1_000, 1_100)),
      cost: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 4 })),
      times: fc.integer({ min: 1, max: 6 }),
      refund: fc.boolean()
    })
    const run = fc.asyncProperty(
      fc.integer({ min: 4, max: 20 }),
      fc.array(step, { minLength: 1, maxLength: 80 }),
      async (maxRequests, steps) => {
        const name = `any-${++made}`
        const options = {
          client: timed,
          clock: timed.clock,
          name,
          maxRequests,
          windowSeconds: 1,
          leaseMs: 100
        }
        const limiters = [4, 3, 1].map(lease => limiterWith({ ...options, lease }))
        const admitted: { at: number; cost: number }[] = []
        for (const { who, gap, cost, times, refund } of steps) {
          timed.now += gap
          for (let i = 0; i < times; i++) {
            const reservation = await limiters[who].reserve('key', cost)
            if (!reservation.decision.allowed) continue
            if (refund && i === 0) await reservation.refund()
            else admitted.push({ at: timed.now, cost })
            const counted = admitted.filter(({ at }) => at + 1_000 > timed.now)
            const used = counted.reduce((sum, entry) => sum + entry.cost, 0)
            assert.ok(used <= maxRequests, `${used} of ${maxRequests} at ${timed.now}`)
          }
        }
        await Promise.all(limiters.map(limiter => limiter.close()))
      }
    )
    await fc.assert(run, { numRuns: 40 })
  })

  test('four processes never admit more than the limit between them', async t => {
    const [limit, windowMs] = [60, 400]
    // Each goes on until it has had its share, however busy the machine is.
    const share = limit / 4 + 1
    const args = [server.port, 'four', limit, windowMs / 1_000, 8, 40, 1_500, share].map(String)
    const file = new URL('lease-process.ts', import.meta.url)
    const children = Array.from({ length: 4 }, () => fork(file, args, { execArgv: ['--import', 'tsx'] }))
    t.after(() => {
      for (const child of children) child.kill('SIGKILL')
    })
    await Promise.all(children.map(child => message(child)))
    for (const child of children) child.send('go')
    const results = await Promise.all(children.map(child => message<Result>(child)))
    for (const key of [0, 1, 2]) {
      const admitted = results.flatMap(result => result.admitted.filter(entry => entry[2] === key))
      assert.ok(admitted.length > limit, 'windows go on')
      assert.ok(mostWithin(admitted, windowMs) <= limit, `${mostWithin(admitted, windowMs)} of ${limit}`)
    }
    assert.ok(results.every(result => result.stats.leases > 0))
  })
})

interface Result {
  admitted: [before: number, after: number, key: number][]
  stats: { leases: number }
}

async function message<T>(child: ChildProcess): Promise<T> {
  const ended = once(child, 'exit').then(([code]) => Promise.reject(new Error(`it ended with ${code}`)))
  const [received] = await Promise.race([once(child, 'message'), ended])
  return received as T
}

/** The most requests that were certainly admitted within less than a window. */
function mostWithin(admitted: Result['admitted'], windowMs: number): number {
  const byStart = admitted.toSorted((a, b) => a[0] - b[0])
  let most = 0
  for (let first = 0; first < byStart.length; first++) {
    const end = byStart[first][0] + windowMs
    let count = 0
    for (let i = first; i < byStart.length && byStart[i][0] < end; i++) if (byStart[i][1] < end) count++
    most = Math.max(most, count)
  }
  return most
}
