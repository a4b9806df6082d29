import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { Cluster } from 'ioredis'
import { Reporter } from '../../../lib/http/reporter.ts'
import {
  LimiterUnavailableError,
  RedisRateLimiter,
  type RedisRateLimiterOptions
} from '../../../lib/redis.ts'
import { missing } from '../../support/program.ts'
import { connectRedis, startRedis } from '../../support/redis-server.ts'
import { eventually } from './eventually.ts'

describe('RedisRateLimiter without Redis', { skip: missing('redis-server') }, () => {
  async function prepare(t: TestContext, options: Partial<RedisRateLimiterOptions> = {}) {
    const server = await startRedis(t)
    const reporter = new Reporter({ onReport: () => undefined })
    const client = connectRedis(t, server)
    const limiter = new RedisRateLimiter({
      client,
      maxRequests: 50,
      windowSeconds: 60,
      retryMs: 100,
      timeoutMs: 30_000,
      reporter,
      ...options
    })
    t.after(() => limiter.close())
    await eventually(() => limiter.consume('warm'))
    return { server, client, limiter, reporter }
  }

  test('a server that hangs: 503 in time, nothing sent twice, on again by itself', async t => {
    let now = 0
    const timeoutMs = 60_000
    const { server, client, limiter, reporter } = await prepare(t, { clock: () => now, timeoutMs })
    const remaining = await limiter.getRemaining('k')
    const { timeouts, rejected, outages } = limiter.stats
    const reported = reporter.counts.get('rate_limit_store') ?? 0
    server.pause()
    const unavailable = (error: unknown) =>
      error instanceof LimiterUnavailableError &&
      error.retryAfterMs > 0 &&
      error.code === 'ERR_LIMITER_UNAVAILABLE'
    t.mock.timers.enable({ apis: ['setTimeout'] })
    /** A request that is given up when its time is over, and not before. */
    const givenUp = async () => {
      const { timeouts } = limiter.stats
      const rejected = assert.rejects(limiter.consume('k'), unavailable)
      t.mock.timers.tick(timeoutMs - 1)
      assert.equal(limiter.stats.timeouts, timeouts)
      t.mock.timers.tick(1)
      await rejected
    }
    for (let i = 0; i < 3; i++) await givenUp()
    assert.equal(limiter.stats.open, true)
    const { sent } = limiter.stats
    await assert.rejects(limiter.consume('k'), unavailable)
    assert.equal(limiter.stats.sent, sent, 'an open circuit sends nothing')
    assert.equal(limiter.stats.rejected, rejected + 1)
    assert.equal(limiter.stats.timeouts, timeouts + 3)
    assert.equal(limiter.stats.outages, outages + 4)
    assert.equal(reporter.counts.get('rate_limit_store'), reported + 3)
    now += 100
    await givenUp()
    assert.equal(limiter.stats.sent, sent + 1, 'one command asks whether it is back')
    t.mock.timers.reset()
    server.resume()
    now += 100
    const decision = await eventually(() => limiter.consume('k'))
    assert.equal(decision.decidedBy, 'redis')
    assert.equal(limiter.stats.open, false)
    // The server may have run each command that was sent, once.
    const after = await eventually(() => limiter.getRemaining('k'))
    assert.ok(after >= remaining - (limiter.stats.sent - sent) - 3, `${after} of ${remaining}`)
    assert.equal(await client.ping(), 'PONG')
  })

  test('a server that is killed and started again', async t => {
    const { server, limiter } = await prepare(t)
    assert.equal((await limiter.consume('k')).remaining, 49)
    await server.stop()
    for (let i = 0; i < 5; i++)
      await assert.rejects(limiter.consume('k'), { code: 'ERR_LIMITER_UNAVAILABLE' })
    await assert.rejects(limiter.peek('k'), { code: 'ERR_LIMITER_UNAVAILABLE' })
    await assert.rejects(limiter.reset('k'), { code: 'ERR_LIMITER_UNAVAILABLE' })
    await assert.rejects(limiter.clearAll(), { code: 'ERR_LIMITER_UNAVAILABLE' })
    await server.start()
    const decision = await eventually(() => limiter.consume('k'))
    assert.equal(decision.remaining, 49, 'this server keeps nothing over a restart')
  })

  test('killed with commands under way: each is decided, none is sent again', async t => {
    const { server, limiter, client } = await prepare(t, { maxRequests: 1_000 })
    server.pause()
    const decisions = Promise.allSettled(Array.from({ length: 100 }, () => limiter.consume('k')))
    await server.stop()
    assert.ok((await decisions).every(({ status }) => status === 'rejected'))
    await server.start()
    await eventually(() => limiter.consume('other'))
    assert.equal(await client.exists('ostiary:1000/60s:window:{k}'), 0)
  })

  test("onOutage 'open' admits and says so", async t => {
    const { server, limiter } = await prepare(t, { onOutage: 'open', maxRequests: 1 })
    await server.stop()
    for (let i = 0; i < 5; i++) {
      const decision = await limiter.consume('k')
      assert.equal(decision.allowed, true)
      assert.deepEqual([decision.decidedBy, decision.uncounted, decision.remaining], ['outage', true, 1])
      assert.equal((await limiter.peek('k')).decidedBy, 'outage')
    }
    const reservation = await limiter.reserve('k')
    await reservation.refund()
    await server.start()
    await eventually(async () => assert.equal((await limiter.consume('k')).decidedBy, 'redis'))
    assert.equal((await limiter.consume('k')).allowed, false)
  })

  test("onOutage 'local' limits in this process", async t => {
    const { server, limiter } = await prepare(t, { onOutage: 'local', maxRequests: 3 })
    await server.stop()
    const reservation = await limiter.reserve('k')
    assert.equal(reservation.decision.decidedBy, 'outage')
    await reservation.refund()
    const allowed: boolean[] = []
    for (let i = 0; i < 5; i++) allowed.push(await limiter.isAllowed('k'))
    assert.deepEqual(allowed, [true, true, true, false, false])
    assert.equal(await limiter.getRemaining('k'), 0)
    assert.ok((await limiter.peek('k')).retryAfterMs! > 0)
    await assert.rejects(limiter.consume('k', -1), /cost must be/)
    await server.start()
    await eventually(async () => assert.equal((await limiter.consume('k')).decidedBy, 'redis'))
  })

  test('several windows at once in an outage: as each is told, and none keeps what another refused', async t => {
    for (const onOutage of ['closed', 'open', 'local'] as const) {
      const { server, client, limiter, reporter } = await prepare(t, {
        onOutage,
        maxRequests: 3,
        name: 'wide'
      })
      const options = { client, maxRequests: 1, windowSeconds: 60, timeoutMs: 400, retryMs: 100, reporter }
      const narrow = new RedisRateLimiter({ ...options, onOutage, name: 'narrow' })
      t.after(() => narrow.close())
      await server.stop()
      const reserve = () => limiter.reserveWith([narrow], ['k', 'k'], 1)!
      if (onOutage === 'closed') await assert.rejects(reserve(), LimiterUnavailableError)
      else {
        const [[wide, tight], again] = [await reserve(), await reserve()]
        assert.deepEqual([wide.decision.decidedBy, tight.decision.decidedBy], ['outage', 'outage'])
        assert.deepEqual(
          again.map(({ decision }) => [decision.allowed, decision.uncounted]),
          onOutage === 'open'
            ? [
                [true, true],
                [true, true]
              ]
            : [
                [true, undefined],
                [false, undefined]
              ]
        )
        for (const reservation of again) await reservation.refund()
        assert.equal(await limiter.getRemaining('k'), onOutage === 'open' ? 3 : 2)
      }
    }
  })

  test('a limiter made while Redis is down works once it is up', async t => {
    const server = await startRedis(t)
    await server.stop()
    const client = connectRedis(t, server)
    const reporter = new Reporter({ onReport: () => undefined })
    const limiter = new RedisRateLimiter({ client, maxRequests: 5, windowSeconds: 60, retryMs: 20, reporter })
    t.after(() => limiter.close())
    await assert.rejects(limiter.consume('k'), { code: 'ERR_LIMITER_UNAVAILABLE' })
    await server.start()
    await eventually(() => limiter.consume('k'))
  })

  test('a limiter is asked as soon as it is made', async t => {
    const server = await startRedis(t)
    const client = connectRedis(t, server)
    server.pause()
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const limiter = new RedisRateLimiter({ client, maxRequests: 5, windowSeconds: 60, timeoutMs: 400 })
    t.after(() => limiter.close())
    const decision = limiter.consume('k')
    t.mock.timers.tick(999)
    server.resume()
    assert.equal((await decision).decidedBy, 'redis')
  })

  test('errors of the server are an outage', async t => {
    const { client, limiter, reporter } = await prepare(t)
    const { failures } = limiter.stats
    const reported = reporter.counts.get('rate_limit_store') ?? 0
    await client.lpush('ostiary:50/60s:window:{k}', 'of another type')
    await assert.rejects(limiter.consume('k'), (error: Error) => /WRONGTYPE/.test(error.message))
    assert.equal(limiter.stats.failures, failures + 1)
    assert.equal(reporter.counts.get('rate_limit_store'), reported + 1)
    assert.equal(await limiter.isAllowed('other'), true)
  })

  test('keys of one identifier are in one slot of a cluster', async t => {
    const server = await startRedis(t, '--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1')
    const admin = connectRedis(t, server)
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', 0, 16383)
    await eventually(async () =>
      assert.match((await admin.call('CLUSTER', 'INFO')) as string, /cluster_state:ok/)
    )
    const cluster = new Cluster([{ host: '127.0.0.1', port: server.port }])
    cluster.on('error', () => undefined)
    t.after(() => cluster.disconnect())
    const options = { client: cluster, maxRequests: 5, windowSeconds: 60, timeoutMs: 30_000 }
    const limiter = new RedisRateLimiter({ ...options, lease: 2, leaseMs: 60_000 })
    t.after(() => limiter.close())
    // A node that has just been given its slots may turn the first connections away.
    await eventually(() => limiter.getRemaining('a'))
    for (const key of ['a', '}', 'x{y}z', '']) {
      const decisions = []
      for (let i = 0; i < 6; i++) decisions.push((await limiter.consume(key)).allowed)
      assert.deepEqual(decisions, [true, true, true, true, true, false], key)
    }
    await limiter.clearAll()
    assert.equal(await limiter.getRemaining('a'), 5)
  })
})
