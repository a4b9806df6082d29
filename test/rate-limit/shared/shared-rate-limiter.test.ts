import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { buildSync } from 'esbuild'
import { rateLimit } from '../../../lib/rate-limit/rate-limit.ts'
import { LimiterUnavailableError } from '../../../lib/rate-limit/rate-limit-decision.ts'
import {
  SharedRateLimiter,
  type SharedRateLimiterOptions
} from '../../../lib/rate-limit/shared/shared-rate-limiter.ts'
import { fc } from '../../support/seeded.ts'
import { converse, listen } from '../../support/server.ts'
import type { Task } from './shared-rate-limiter-worker.ts'

interface Trace {
  name: string
  maxRequests: number
  windowMs: number
  events: [number, number, boolean, number, number | null, number][]
}

const vectors = new URL('../../vectors/rate-limit-traces.json', import.meta.url)
const traces: Trace[] = JSON.parse(readFileSync(vectors, 'utf8')).traces

describe('SharedRateLimiter', () => {
  for (const { name, maxRequests, windowMs, events } of traces) {
    test(`answers as the oracle does: ${name}`, () => {
      const limiter = new SharedRateLimiter({ maxRequests, windowSeconds: windowMs / 1_000 })
      for (const [now, cost, allowed, remaining, retryAfterMs, resetMs] of events) {
        assert.deepEqual(
          limiter.consume('key', cost, now),
          { allowed, limit: maxRequests, remaining, retryAfterMs: retryAfterMs ?? undefined, resetMs },
          `at ${now}`
        )
      }
    })
  }

  test('is exact both ways for any keys, costs, refunds, resets and gaps, on two views of one memory', () => {
    const step = fc.record({
      key: fc.nat(4),
      view: fc.nat(1),
      gap: fc.oneof(fc.constant(0), fc.nat(40), fc.constantFrom(499, 500, 999, 1_000, 1_001)),
      cost: fc.oneof(fc.constant(1), fc.integer({ min: 0, max: 14 })),
      next: fc.constantFrom('', '', '', 'refund', 'reset', 'peek', 'refund later')
    })
    const run = fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.array(step, { minLength: 1, maxLength: 300 }),
      (maxRequests, steps) => {
        const first = new SharedRateLimiter({ maxRequests, windowSeconds: 1, maxKeys: 5 })
        const views = [first, SharedRateLimiter.attach(first.handle)]
        const counted = new Map<number, { at: number; cost: number }[]>()
        const later: (() => void)[] = []
        let now = 5_000
        for (const { key, view, gap, cost, next } of steps) {
          now += gap
          let entries = (counted.get(key) ?? []).filter(({ at }) => at + 1_000 > now)
          const used = entries.reduce((sum, entry) => sum + entry.cost, 0)
          const allowed = used + cost <= maxRequests
          const reservation = views[view].reserve(`key ${key}`, cost, now)
          assert.equal(reservation.decision.allowed, allowed)
          assert.equal(reservation.decision.remaining, maxRequests - used - (allowed ? cost : 0))
          assert.equal(
            reservation.decision.retryAfterMs,
            allowed ? 0 : waitFor(entries, used + cost - maxRequests)
          )
          const entry = { at: now, cost }
          if (allowed) entries.push(entry)
          const giveBack = () => {
            const all = counted.get(key)!
            if (all.includes(entry))
              counted.set(
                key,
                all.filter(other => other !== entry)
              )
            reservation.refund()
            reservation.refund()
          }
          counted.set(key, entries)
          if (next === 'refund') giveBack()
          if (next === 'refund later') later.push(giveBack)
          if (next === 'reset') {
            views[1 - view].reset(`key ${key}`)
            counted.set(key, [])
            while (later.length > 0) later.pop()!()
          }
          entries = counted.get(key)!
          const left = maxRequests - entries.reduce((sum, other) => sum + other.cost, 0)
          assert.equal(views[1 - view].peek(`key ${key}`, 1, now).remaining, left)

          function waitFor(entries: { at: number; cost: number }[], units: number): number | undefined {
            if (cost > maxRequests) return undefined
            for (const entry of entries) {
              units -= entry.cost
              if (units <= 0) return entry.at + 1_000 - now
            }
            return Number.NaN
          }
        }
        assert.equal(first.stats.overflowed, 0)
      }
    )
    fc.assert(run, { numRuns: 150 })
  })

  test('a window is as long as it is in other limiters: floating point takes nothing off', () => {
    const limiter = new SharedRateLimiter({ maxRequests: 1, windowSeconds: 2.006 })
    assert.equal(limiter.windowMs, 2_006)
    assert.equal(limiter.consume('k', 1, 0).resetMs, 2_006)
  })

  test('state goes from one process to the next, with the time that passed between', t => {
    const wall = Date.now()
    const clock = t.mock.method(Date, 'now', () => wall)
    const first = new SharedRateLimiter({ maxRequests: 10, windowSeconds: 60, maxKeys: 4 })
    for (let i = 0; i < 10; i++) first.consume('unit', 1, 1_000 + i)
    first.consume('cost', 7, 2_000)
    first.consume('dead', 1, -50_000)
    first.consume('third', 1, 3_000)
    first.consume('one too many', 6, 4_000)
    const state = JSON.parse(JSON.stringify(first.export(31_000)))
    assert.equal(state.keys.length, 3)
    assert.deepEqual(state.overflow, [[33_000, 6]])
    assert.doesNotMatch(JSON.stringify(state), /unit|cost|third/)

    clock.mock.mockImplementation(() => wall + 5_000)
    const options = { maxRequests: 10, windowSeconds: 60, maxKeys: 3 }
    const second = new SharedRateLimiter(options)
    second.import(state, 50)
    const worker = SharedRateLimiter.attach(second.handle)
    for (const limiter of [second, worker]) {
      assert.equal(limiter.peek('unit', 1, 50).retryAfterMs, 25_000)
      assert.equal(limiter.peek('unit', 2, 50).retryAfterMs, 25_001)
      assert.equal(limiter.peek('cost', 4, 50).allowed, false)
      assert.equal(limiter.peek('cost', 3, 50).allowed, true)
      assert.deepEqual(
        [limiter.peek('one too many', 5, 50).allowed, limiter.peek('one too many', 4, 50).allowed],
        [false, true]
      )
    }
    assert.equal(worker.consume('unit', 10, 25_059).allowed, true)
    // The first that is dead now makes room, and not before it is.
    worker.consume('fresh', 1, 26_049.5)
    assert.deepEqual([second.stats.overflowed, second.stats.reclaimed], [1, 0])
    worker.consume('newer', 1, 26_050)
    assert.deepEqual([second.stats.overflowed, second.stats.reclaimed], [1, 1])
    assert.throws(
      () => second.import(state),
      /import comes before the first request and before workers attach/
    )
    const attached = new SharedRateLimiter(options)
    SharedRateLimiter.attach(attached.handle)
    assert.throws(() => attached.import(state), /before workers attach/)

    const lower = new SharedRateLimiter({ ...options, maxRequests: 3 })
    lower.import(state, 0)
    assert.deepEqual(lower.peek('unit', 1, 24_999 + 8), {
      allowed: true,
      limit: 3,
      remaining: 1,
      retryAfterMs: 0,
      resetMs: 2
    })
    assert.throws(
      () => new SharedRateLimiter({ ...options, maxKeys: 2 }).import(state),
      /SharedRateLimiter: state has 3 keys, more than maxKeys 2/
    )
    assert.throws(
      () => new SharedRateLimiter({ ...options, windowSeconds: 61 }).import(state),
      /SharedRateLimiter: state is of a window of 60000 ms, not 61000 ms/
    )
    for (const damage of [
      { secret: 'short' },
      { secret: undefined },
      { keys: [['unit', [[5, 1]]]] },
      { keys: {} },
      { overflow: [[5, 0]] }
    ]) {
      const limiter = new SharedRateLimiter(options)
      assert.throws(
        () => limiter.import({ ...state, ...damage }),
        /SharedRateLimiter: import needs what export gave/
      )
      assert.equal(limiter.stats.keys, 0)
    }
  })

  test('a state in any order: who is dead first makes room first', () => {
    const limiter = new SharedRateLimiter({ maxRequests: 3, windowSeconds: 1, maxKeys: 2, clock: () => 0 })
    // Two keys under one lock.
    const keys = [
      [`${'0'.repeat(31)}1`, [[900, 1]]],
      [`${'0'.repeat(31)}2`, [[100, 1]]]
    ] as const
    const secret = 'A'.repeat(22)
    limiter.import({ version: 1, windowMs: 1_000, exportedAt: 0, clockAt: 0, secret, keys })
    limiter.consume('fresh', 1, 100)
    assert.deepEqual([limiter.stats.reclaimed, limiter.stats.overflowed], [1, 0])
  })

  test('a state for which there is no memory is not taken over in part', () => {
    const first = new SharedRateLimiter({ maxRequests: 1, windowSeconds: 60, maxKeys: 100 })
    for (let i = 0; i < 100; i++) first.consume(`k${i}`, 1, 0)
    const second = new SharedRateLimiter({ maxRequests: 1, windowSeconds: 60, maxKeys: 100, maxBytes: 1_024 })
    assert.throws(() => second.import(first.export(0), 0), /maxBytes has no room for the state/)
    assert.equal(second.stats.keys, 0)
    assert.equal(second.consume('k1', 1, 0).allowed, true)
  })

  test('a limit of 10 000, filled, refused and emptied', () => {
    const limiter = new SharedRateLimiter({ maxRequests: 10_000, windowSeconds: 60 })
    for (let i = 0; i < 10_000; i++) assert.equal(limiter.consume('k', 1, i).allowed, true)
    assert.equal(limiter.consume('k', 5_000, 10_000).retryAfterMs, 4_999 + 60_000 - 10_000)
    assert.equal(limiter.consume('k', 5_000, 4_999 + 60_000).allowed, true)
    assert.equal(limiter.stats.pressed, 0)
  })

  test('time does not run backwards for a key', () => {
    const limiter = new SharedRateLimiter({ maxRequests: 2, windowSeconds: 1 })
    limiter.consume('k', 1, 5_000)
    limiter.consume('k', 1, 4_000)
    assert.equal(limiter.consume('k', 1, 5_999).allowed, false)
    assert.equal(limiter.consume('k', 1, 6_000).remaining, 1)
  })

  test('any instant will do: at now + retryAfterMs, as floating point has it, the request fits', () => {
    const limiter = new SharedRateLimiter({ maxRequests: 1, windowSeconds: 60 })
    for (let i = 0; i < 2_000; i++) {
      const taken = i * 0.123_456_7
      const asked = taken + i / 7
      assert.equal(limiter.consume(`k${i}`, 1, taken).resetMs, 60_000)
      const { retryAfterMs } = limiter.consume(`k${i}`, 1, asked)
      assert.equal(limiter.consume(`k${i}`, 1, asked + (retryAfterMs as number)).allowed, true, `at ${asked}`)
    }
  })

  test('a look at a time that is yet to come changes nothing', () => {
    const limiter = new SharedRateLimiter({ maxRequests: 2, windowSeconds: 1 })
    for (const now of [5_000, 5_100]) limiter.consume('k', 1, now)
    assert.deepEqual(limiter.peek('k', 2, 5_500), {
      ...{ allowed: false, limit: 2, remaining: 0 },
      ...{ retryAfterMs: 600, resetMs: 600 }
    })
    assert.equal(limiter.peek('k', 1, 6_050).remaining, 1)
    assert.equal(limiter.peek('k', 2, 6_050).retryAfterMs, 50)
    assert.equal(limiter.consume('k', 0, 9_000).remaining, 2)
    assert.equal(limiter.consume('k', 1, 5_200).allowed, false)
    assert.equal(limiter.consume('k', 1, 6_000).allowed, true)
  })

  test('ticks free no unit early and none more than a tick late', () => {
    const limiter = new SharedRateLimiter({ maxRequests: 1_000, windowSeconds: 1, resolutionMs: 100 })
    const { bytes } = limiter.stats
    for (let i = 0; i < 1_000; i++) assert.equal(limiter.consume('k', 1, 5_030 + i / 100).allowed, true)
    assert.equal(limiter.stats.bytes, bytes)
    assert.equal(limiter.consume('k', 1, 5_040).retryAfterMs, 1_060)
    assert.equal(limiter.consume('k', 1, 6_099).allowed, false)
    assert.equal(limiter.consume('k', 1, 6_100).allowed, true)
  })

  test('at the cap live keys stay, fresh ones share a window, and dead ones make room', () => {
    const limiter = new SharedRateLimiter({ maxRequests: 2, windowSeconds: 1, maxKeys: 100 })
    for (let i = 0; i < 100; i++) for (let hit = 0; hit < 2; hit++) limiter.consume(`old ${i}`, 1, 1_000 + i)
    assert.equal(limiter.consume('fresh', 1, 1_500).allowed, true)
    assert.equal(limiter.consume('fresher', 1, 1_500).allowed, true)
    for (let i = 0; i < 1_000; i++) assert.equal(limiter.consume(`flood ${i}`, 1, 1_500).allowed, false)
    for (let i = 0; i < 100; i++) assert.equal(limiter.consume(`old ${i}`, 1, 1_600).allowed, false)
    assert.equal(limiter.stats.keys, 100)
    assert.equal(limiter.stats.overflowed, 1_002)
    // One key is dead now; a fresh one gets its place, with what it may have taken before.
    assert.equal(limiter.consume('fresh', 1, 2_000).allowed, false)
    assert.equal(limiter.consume('fresh', 1, 2_500).remaining, 1)
    assert.ok(limiter.stats.reclaimed >= 1)
    assert.ok(limiter.stats.keys <= 100)
  })

  test('with no memory left it admits too few, never too many', () => {
    const limiter = new SharedRateLimiter({
      maxRequests: 100,
      windowSeconds: 1,
      maxKeys: 10,
      maxBytes: 1_024
    })
    const admitted: number[] = []
    for (let now = 0; now < 4_000; now += 11) {
      if (limiter.consume('a', 1, now).allowed) admitted.push(now)
      for (let i = 0; i < 60; i++) limiter.consume(`b${i}`, 1, now)
      assert.ok(admitted.filter(at => at > now - 1_000).length <= 100)
    }
    assert.ok(limiter.stats.pressed > 0)
    assert.ok(admitted.length > 10)
    assert.ok(limiter.stats.overflowed > 0)
  })

  test('methods beside consume', () => {
    let now = 0
    const limiter = new SharedRateLimiter({ maxRequests: 2, windowSeconds: 1, clock: () => now })
    assert.equal(limiter.isAllowed('k'), true)
    assert.equal(limiter.getRemaining('k'), 1)
    assert.deepEqual(limiter.peek('k'), {
      allowed: true,
      limit: 2,
      remaining: 1,
      retryAfterMs: 0,
      resetMs: 1_000
    })
    assert.equal(limiter.consume('k', 0).allowed, true)
    assert.equal(limiter.reserve('k', 0).decision.remaining, 1)
    assert.equal(limiter.consume('k', 3).retryAfterMs, undefined)
    assert.equal(limiter.consume('never seen', 3).remaining, 2)
    assert.equal(limiter.stats.keys, 1)
    limiter.reset('k')
    limiter.reset('never seen')
    assert.equal(limiter.getRemaining('k'), 2)
    for (const key of ['a', 'b']) limiter.consume(key, 2)
    limiter.clearAll()
    for (const key of ['a', 'b']) assert.equal(limiter.getRemaining(key), 2)
    assert.equal(limiter.stats.keys, 0)
    now = 1
    assert.equal(limiter.consume('a').resetMs, 1_000)
  })

  test('serves the middleware', async t => {
    const limiter = new SharedRateLimiter({ maxRequests: 2, windowSeconds: 60 })
    const guarded = rateLimit({ limiter, identifier: () => 'k' }).wrap((_req, res) => res.end('served'))
    const port = await listen(t, createServer(guarded))
    const ask = () => converse(port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    for (const status of [200, 200, 429, 429]) assert.match(await ask(), new RegExp(`^HTTP/1.1 ${status} `))
    assert.equal(limiter.getRemaining('k'), 0)
  })

  test('no two identifiers share a window', () => {
    const limiter = new SharedRateLimiter({ maxRequests: 1, windowSeconds: 60 })
    const long = 'x'.repeat(16_384)
    const odd = ['', '\ud800', '\ud801', '\ufffd', long, `${long}y`, '__proto__', 'a\u0000', 'a']
    for (const identifier of odd) assert.equal(limiter.isAllowed(identifier), true)
    for (const identifier of odd) assert.equal(limiter.isAllowed(identifier), false)
  })

  const bad: [Partial<Record<keyof SharedRateLimiterOptions, unknown>>, RegExp][] = [
    [{ maxRequests: 0 }, /SharedRateLimiter: maxRequests must be a positive integer, got 0/],
    [{ windowSeconds: -1 }, /SharedRateLimiter: windowSeconds must be a positive number, got -1/],
    [{ maxKeys: 0.5 }, /maxKeys must be a positive integer, got 0.5/],
    [{ resolutionMs: 1e9 }, /resolutionMs must be a number from 0 to the window's length, got 1000000000/],
    [{ clock: 7 }, /clock must be a function, got 7/],
    [{ maxBytes: 2 ** 31 }, /maxBytes must be an integer from 1024 to 1073741824, got 2147483648/],
    [{ lockTimeoutMs: -1 }, /lockTimeoutMs must be a number from 0, got -1/]
  ]
  for (const [options, message] of bad) {
    test(`is not made with ${Object.entries(options)}`, () => {
      const given = { maxRequests: 1, windowSeconds: 1, ...options } as SharedRateLimiterOptions
      assert.throws(() => new SharedRateLimiter(given), { name: 'TypeError', message })
    })
  }

  test('arguments that are not what they must be', () => {
    const limiter = new SharedRateLimiter({ maxRequests: 5, windowSeconds: 1 })
    for (const cost of [Number.NaN, -1, 0.5, Number.POSITIVE_INFINITY, '3', 2 ** 53, null]) {
      assert.throws(() => limiter.consume('k', cost as number), /cost must be a non-negative integer, got /)
    }
    assert.throws(
      () => limiter.consume(undefined as unknown as string),
      /identifier must be a string, got undefined/
    )
    assert.throws(() => limiter.consume('k', 1, Number.NaN), /now must be a finite number, got NaN/)
    assert.equal(limiter.getRemaining('k'), 5)
    assert.throws(() => SharedRateLimiter.attach({} as never), /handle must be the handle of a limiter/)
    for (const bytes of [0, 8, 65_536]) {
      const buffer = new SharedArrayBuffer(bytes)
      assert.throws(() => SharedRateLimiter.attach({ buffer }), /handle must be the handle of a limiter/)
    }
    assert.throws(
      () => SharedRateLimiter.attach(limiter.handle, { clock: 1 as never }),
      /clock must be a function/
    )
  })

  test('four threads together admit the limit in each window, of one key and of many', async t => {
    const limiter = new SharedRateLimiter({ maxRequests: 100, windowSeconds: 1, maxKeys: 150 })
    const keys = ['hot', ...Array.from({ length: 99 }, (_, i) => `key ${i}`)]
    const { handle } = limiter
    for (const now of [0, 1_000]) {
      const results = await inThreads<Record<string, number>>(t, 4, {
        handle,
        kind: 'count',
        keys,
        times: [now]
      })
      for (const key of keys) {
        assert.equal(
          results.reduce((sum, result) => sum + (result[key] ?? 0), 0),
          100,
          `${key} at ${now}`
        )
      }
      for (const key of keys) assert.equal(limiter.consume(key, 1, now + 999).allowed, false)
      assert.equal(limiter.stats.keys, 100)
    }
    assert.equal(limiter.stats.overflowed, 0)
  })

  test('four threads on a clock that runs: never too many, nothing refused that fits', async t => {
    const limiter = new SharedRateLimiter({ maxRequests: 50, windowSeconds: 0.02 })
    const results = await inThreads<[bigint, bigint, boolean][][]>(t, 4, {
      handle: limiter.handle,
      kind: 'time',
      keys: ['hot', 'warm'],
      times: [250],
      share: 13
    })
    for (const key of [0, 1])
      checkOnRealClock(
        results.flatMap(result => result[key]),
        50,
        20_000_000n
      )
  })

  test('a thread that ends with locks in hand', async t => {
    const limiter = new SharedRateLimiter({
      maxRequests: 2,
      windowSeconds: 60,
      lockTimeoutMs: 20,
      maxKeys: 1_000,
      clock: () => 0
    })
    for (let i = 0; i < 100; i++) limiter.consume(`key ${i}`)
    const start = new SharedArrayBuffer(4)
    const worker = startWorker(t, { handle: limiter.handle, start, kind: 'hold', keys: [], times: [] })
    await once(worker, 'message')
    limiter.watch(worker)
    const held = once(worker, 'message')
    Atomics.store(new Int32Array(start), 0, 1)
    Atomics.notify(new Int32Array(start), 0)
    await held
    for (let i = 0; i < 3; i++) {
      assert.throws(
        () => limiter.consume('key 1'),
        (error: unknown) => error instanceof LimiterUnavailableError
      )
    }
    await worker.terminate()
    for (let i = 0; i < 100; i++) {
      assert.equal(limiter.consume(`key ${i}`, 2).allowed, false)
      assert.equal(limiter.consume(`key ${i}`).allowed, true)
      assert.equal(limiter.consume(`key ${i}`).allowed, false)
    }
    limiter.clearAll()
    assert.equal(limiter.stats.keys, 0)
  })

  test('threads that are terminated at any moment', async t => {
    const limiter = new SharedRateLimiter({
      maxRequests: 20,
      windowSeconds: 0.005,
      maxKeys: 50,
      lockTimeoutMs: 600_000
    })
    const keys = Array.from({ length: 80 }, (_, i) => `key ${i}`)
    for (let round = 0; round < 3; round++) {
      const start = new SharedArrayBuffer(4)
      const worker = startWorker(t, { handle: limiter.handle, start, kind: 'time', keys, times: [60_000] })
      limiter.watch(worker)
      await once(worker, 'message')
      Atomics.store(new Int32Array(start), 0, 1)
      Atomics.notify(new Int32Array(start), 0)
      for (let i = 0; i < 5_000 + round * 1_000; i++) limiter.consume(keys[i % 80])
      await worker.terminate()
    }
    const decisions = keys.map(key => {
      limiter.reset(key)
      return Array.from({ length: 30 }, () => limiter.consume(key, 1, 1e12)).filter(({ allowed }) => allowed)
        .length
    })
    assert.ok(decisions.every(admitted => admitted <= 20))
  })
})

/** Plain JavaScript, made once: sixteen threads that each load a compiler would take longer than their work. */
const workerCode = buildSync({
  entryPoints: [fileURLToPath(new URL('shared-rate-limiter-worker.ts', import.meta.url))],
  bundle: true,
  platform: 'node',
  format: 'cjs',
  write: false
}).outputFiles[0].text

function startWorker(t: TestContext, task: Task): Worker {
  const worker = new Worker(workerCode, { eval: true, workerData: task })
  t.after(() => worker.terminate())
  return worker
}

/** Runs one task in several threads that start at the same moment. */
async function inThreads<T>(t: TestContext, threads: number, task: Omit<Task, 'start'>): Promise<T[]> {
  const start = new SharedArrayBuffer(4)
  const workers = Array.from({ length: threads }, () => startWorker(t, { ...task, start }))
  await Promise.all(workers.map(worker => once(worker, 'message')))
  const results = workers.map(worker => once(worker, 'message'))
  Atomics.store(new Int32Array(start), 0, 1)
  Atomics.notify(new Int32Array(start), 0)
  return (await Promise.all(results)).map(([result]) => result as T)
}

/** A decision was made at some moment between before and after: what must hold whichever moment that was. */
function checkOnRealClock(decisions: [bigint, bigint, boolean][], limit: number, window: bigint): void {
  const admitted = decisions.filter(([, , allowed]) => allowed).toSorted((a, b) => (a[0] < b[0] ? -1 : 1))
  assert.ok(admitted.length > limit)
  for (let first = 0; first < admitted.length; first++) {
    const end = admitted[first][0] + window
    let certain = 0
    for (let i = first; i < admitted.length && admitted[i][0] < end; i++) if (admitted[i][1] < end) certain++
    assert.ok(certain <= limit, `${certain} in one window`)
  }
  let from = 0
  for (const [before, after] of decisions
    .filter(([, , allowed]) => !allowed)
    .toSorted((a, b) => (a[0] < b[0] ? -1 : 1))) {
    while (from < admitted.length && admitted[from][1] <= before - window) from++
    let possible = 0
    for (let i = from; i < admitted.length && admitted[i][0] <= after && possible < limit; i++) {
      if (admitted[i][1] > before - window) possible++
    }
    assert.ok(possible >= limit, `refused with ${possible} in the window`)
  }
}
