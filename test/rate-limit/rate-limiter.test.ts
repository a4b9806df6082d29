import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import {
  RateLimiter,
  type RateLimiterOptions,
  type RateLimiterState
} from '../../lib/rate-limit/rate-limiter.ts'

interface Trace {
  name: string
  maxRequests: number
  windowMs: number
  /** time, cost, allowed, remaining, retryAfterMs (null: never), resetMs */
  events: [number, number, boolean, number, number | null, number][]
}

const { traces } = JSON.parse(
  readFileSync(new URL('../vectors/rate-limit-traces.json', import.meta.url), 'utf8')
) as { traces: Trace[] }

for (const { name, maxRequests, windowMs, events } of traces) {
  test(`trace: ${name}`, () => {
    const limiter = new RateLimiter({ maxRequests, windowSeconds: windowMs / 1_000 })
    for (const [time, cost, allowed, remaining, retryAfterMs, resetMs] of events) {
      const decision = limiter.consume('k', cost, time)
      const expected = {
        allowed,
        limit: maxRequests,
        remaining,
        retryAfterMs: retryAfterMs ?? undefined,
        resetMs
      }
      assert.deepEqual(decision, expected, `at ${time}, cost ${cost}`)
    }
  })
}

const options = { maxRequests: 2, windowSeconds: 1 }

test('options are checked by name, with the value shown', () => {
  const bad: [object, RegExp][] = [
    [{}, /^RateLimiter: windowSeconds must be a positive number, got undefined$/],
    [undefined as never, /^RateLimiter: windowSeconds must be a positive number, got undefined$/],
    [{ ...options, windowSeconds: 1n }, /windowSeconds must be a positive number, got 1/],
    [{ ...options, maxRequests: Symbol('x') }, /maxRequests must be a positive integer, got Symbol\(x\)/],
    [{ ...options, maxRequests: 0 }, /^RateLimiter: maxRequests must be a positive integer, got 0$/],
    [{ ...options, maxRequests: -1 }, /maxRequests must be a positive integer, got -1/],
    [{ ...options, maxRequests: 1.5 }, /maxRequests must be a positive integer, got 1.5/],
    [{ ...options, maxRequests: Number.NaN }, /maxRequests must be a positive integer, got NaN/],
    [
      { ...options, maxRequests: Infinity },
      /maxRequests must be a positive integer up to 2147483647, got Infinity/
    ],
    [{ ...options, maxRequests: 2 ** 31 }, /maxRequests must be a positive integer up to 2147483647/],
    [{ ...options, maxRequests: '3' }, /maxRequests must be a positive integer, got "3"/],
    [{ ...options, maxRequests: null }, /maxRequests must be a positive integer, got null/],
    [{ ...options, windowSeconds: 0 }, /windowSeconds must be a positive number, got 0/],
    [{ ...options, windowSeconds: Number.NaN }, /windowSeconds must be a positive number, got NaN/],
    [{ ...options, windowSeconds: Infinity }, /windowSeconds must be a positive number, got Infinity/],
    [{ ...options, windowSeconds: '60' }, /windowSeconds must be a positive number, got "60"/],
    [{ ...options, maxKeys: 0 }, /maxKeys must be a positive integer, got 0/],
    [{ ...options, maxKeys: 17_000_000 }, /maxKeys must be a positive integer up to 16000000, got 17000000/],
    [{ ...options, resolutionMs: -1 }, /resolutionMs must be a number from 0 to the window's length, got -1/],
    [{ ...options, resolutionMs: 1_001 }, /resolutionMs must be .*, got 1001/],
    [{ ...options, resolutionMs: Number.NaN }, /resolutionMs must be .*, got NaN/],
    [{ ...options, clock: 5 }, /clock must be a function, got 5/]
  ]
  for (const [given, message] of bad) {
    assert.throws(() => new RateLimiter(given as RateLimiterOptions), { name: 'TypeError', message })
  }
})

test('decisions that are shared cannot be changed, and say the same as those that are not', () => {
  for (const maxRequests of [3, 1_025]) {
    const limiter = new RateLimiter({ maxRequests, windowSeconds: 1 })
    for (let used = 1; used <= 3; used++) {
      const decision = limiter.consume('k', 1, used)
      assert.deepEqual(decision, {
        allowed: true,
        limit: maxRequests,
        remaining: maxRequests - used,
        retryAfterMs: 0,
        resetMs: 1_000
      })
      assert.equal(limiter.consume('other', 1, used).remaining, maxRequests - used)
      // Its first unit was that of a fresh key.
      if (used > 1 && maxRequests === 3) {
        assert.throws(() => Object.assign(decision, { remaining: 9 }), TypeError)
      }
    }
  }
})

test('a bad cost, identifier or time throws and counts nothing', () => {
  const limiter = new RateLimiter(options)
  for (const cost of [Number.NaN, -1, 0.5, Infinity, '3', 2 ** 53, null, {}] as number[]) {
    assert.throws(
      () => limiter.consume('k', cost, 0),
      /^TypeError: RateLimiter: cost must be a non-negative integer, got /
    )
    assert.throws(() => limiter.peek('k', cost, 0), /cost must be/)
    assert.throws(() => limiter.reserve('k', cost, 0), /cost must be/)
  }
  for (const identifier of [undefined, null, 5, {}, Symbol('s')] as string[]) {
    assert.throws(() => limiter.consume(identifier, 1, 0), /RateLimiter: identifier must be a string, got /)
    assert.throws(() => limiter.peek(identifier), /identifier must be a string/)
    assert.throws(() => limiter.reset(identifier), /identifier must be a string/)
  }
  for (const now of [Number.NaN, Infinity, -Infinity, '5'] as number[]) {
    assert.throws(() => limiter.consume('k', 1, now), /RateLimiter: now must be a finite number, got /)
  }
  assert.deepEqual(limiter.stats.keys, 0)
})

test('the edges of a window: counted up to and not at t + W', () => {
  const limiter = new RateLimiter({ maxRequests: 1, windowSeconds: 1 })
  assert.equal(limiter.consume('k', 1, 0).allowed, true)
  assert.equal(limiter.consume('k', 1, 999.999).allowed, false)
  assert.equal(limiter.consume('k', 1, 1_000).allowed, true)
  // Not a sum that floating point has exactly.
  limiter.reset('k')
  limiter.consume('k', 1, 0.3)
  assert.equal(limiter.consume('k', 1, 0.3 + 1_000).allowed, true)
})

test('1 000 hits in one tick: exactly the limit', () => {
  const limiter = new RateLimiter({ maxRequests: 5, windowSeconds: 1 })
  let allowed = 0
  for (let i = 0; i < 1_000; i++) if (limiter.consume('k', 1, 10).allowed) allowed++
  assert.equal(allowed, 5)
})

test('refusals leave no trace: who asks at twice the rate gets all that the limit allows', () => {
  const limiter = new RateLimiter({ maxRequests: 5, windowSeconds: 1 })
  let allowed = 0
  for (let i = 0; i < 40; i++) if (limiter.consume('k', 1, i * 100).allowed) allowed++
  assert.equal(allowed, 20)
  const bytes = limiter.stats.bytes
  for (let i = 0; i < 10_000; i++) limiter.consume('k', 1, 3_999)
  assert.equal(limiter.stats.bytes, bytes)
})

test('a refused costly call burns nothing', () => {
  const limiter = new RateLimiter({ maxRequests: 10, windowSeconds: 1 })
  assert.equal(limiter.consume('k', 8, 0).remaining, 2)
  assert.equal(limiter.consume('k', 5, 0).allowed, false)
  const never = limiter.consume('k', 1_000_000, 0)
  assert.deepEqual([never.allowed, never.retryAfterMs, never.remaining], [false, undefined, 2])
  assert.equal(limiter.consume('k', 2, 0).allowed, true)
  assert.deepEqual(limiter.consume('fresh', 11, 0), {
    allowed: false,
    limit: 10,
    remaining: 10,
    retryAfterMs: undefined,
    resetMs: 0
  })
  assert.equal(limiter.stats.keys, 1)
})

test('peek, isAllowed, getRemaining, reset, clearAll', () => {
  let now = 0
  const limiter = new RateLimiter({ ...options, clock: () => now })
  assert.equal(limiter.getRemaining('k'), 2)
  assert.equal(limiter.isAllowed('k'), true)
  assert.equal(limiter.getRemaining('k'), 1)
  assert.equal(limiter.isAllowed('k'), true)
  assert.equal(limiter.isAllowed('k'), false)
  assert.deepEqual(limiter.peek('k'), {
    allowed: false,
    limit: 2,
    remaining: 0,
    retryAfterMs: 1_000,
    resetMs: 1_000
  })
  assert.deepEqual(limiter.consume('k', 0), {
    allowed: true,
    limit: 2,
    remaining: 0,
    retryAfterMs: 0,
    resetMs: 1_000
  })
  limiter.reset('k')
  limiter.reset('unknown')
  assert.equal(limiter.getRemaining('k'), 2)
  limiter.consume('k')
  limiter.consume('other')
  limiter.clearAll()
  assert.deepEqual([limiter.getRemaining('k'), limiter.stats.keys], [2, 0])
  now = 5
  assert.equal(limiter.consume('k').remaining, 1)
})

test('its own clock is monotonic: a wall clock that jumps changes nothing', t => {
  const limiter = new RateLimiter({ maxRequests: 1, windowSeconds: 60 })
  assert.equal(limiter.isAllowed('k'), true)
  const wall = Date.now()
  for (const jump of [3_600_000, -3_600_000]) {
    t.mock.method(Date, 'now', () => wall + jump)
    assert.equal(limiter.isAllowed('k'), false)
  }
})

test('time that goes back admits no more', () => {
  const limiter = new RateLimiter({ maxRequests: 2, windowSeconds: 1 })
  assert.equal(limiter.consume('k', 1, 5_000).allowed, true)
  assert.equal(limiter.consume('k', 1, 4_500).allowed, true)
  assert.equal(limiter.consume('k', 1, 4_000).allowed, false)
  assert.equal(limiter.consume('k', 1, 0).retryAfterMs, 6_000)
  assert.equal(limiter.consume('k', 1, 5_999).allowed, false)
  assert.deepEqual(
    [limiter.consume('k', 1, 6_000).allowed, limiter.consume('k', 1, 6_000).allowed],
    [true, true]
  )
  // Another key lives in its own time, unless something was forgotten since.
  assert.equal(limiter.consume('other', 2, 100).allowed, true)
  assert.equal(limiter.consume('other', 1, 1_100).allowed, true)
})

test('a key that was forgotten as dead does not come back to life in an older time', () => {
  const limiter = new RateLimiter({ maxRequests: 1, windowSeconds: 1 })
  limiter.consume('a', 1, 0)
  limiter.consume('b', 1, 1_000)
  assert.equal(limiter.stats.reclaimed, 1)
  assert.equal(limiter.consume('a', 1, 999).allowed, true)
  assert.equal(limiter.consume('a', 1, 1_999).allowed, false, 'it was admitted at 1 000 at the earliest')
  assert.equal(limiter.consume('a', 1, 2_000).allowed, true)
})

test('a long row of expired stamps is passed over once', () => {
  const limiter = new RateLimiter({ maxRequests: 100, windowSeconds: 1 })
  for (let i = 0; i < 99; i++) limiter.consume('k', 1, i)
  limiter.consume('k', 1, 1_050)
  // 47 are left, and the refusal forgets the 52 before them.
  assert.equal(limiter.consume('k', 60, 1_051).allowed, false)
  assert.equal(limiter.consume('k', 52, 1_051).allowed, true)
  assert.equal(limiter.consume('k', 1, 1_051).retryAfterMs, 1)
})

test('30 days are a window like any other', () => {
  const limiter = new RateLimiter({ maxRequests: 1, windowSeconds: 30 * 86_400 })
  assert.equal(limiter.consume('k', 1, 1).allowed, true)
  assert.equal(limiter.consume('k', 1, 2 ** 31).allowed, false)
  assert.equal(limiter.consume('k', 1, 30 * 86_400_000).allowed, false)
  assert.equal(limiter.consume('k', 1, 30 * 86_400_000 + 1).allowed, true)
})

test('hostile keys are keys: none throws, none is another', () => {
  const limiter = new RateLimiter({ maxRequests: 1, windowSeconds: 1 })
  const long = 'x'.repeat(16_384)
  const keys = [
    ...[
      '',
      '__proto__',
      'constructor',
      'toString',
      'hasOwnProperty',
      'a|b',
      'a',
      'b',
      '\0',
      '\ud800',
      '\ud801',
      '\u00e9',
      'e\u0301'
    ],
    ...[
      long,
      `${long}y`,
      `${long}\ud800`,
      `${long}\ud801`,
      '#',
      `#${'0'.repeat(128)}`,
      'x'.repeat(128),
      'x'.repeat(129)
    ]
  ]
  for (const key of keys)
    assert.equal(limiter.consume(key, 1, 0).allowed, true, JSON.stringify(key.slice(0, 20)))
  for (const key of keys) {
    assert.equal(limiter.consume(key, 1, 0).allowed, false)
    assert.equal(limiter.peek(key, 1, 0).remaining, 0)
  }
  assert.equal(limiter.stats.keys, keys.length)
  limiter.reset(long)
  assert.equal(limiter.consume(long, 1, 0).allowed, true)
})

test('a long key and the digest that stands for it are two keys', () => {
  const limiter = new RateLimiter({ maxRequests: 1, windowSeconds: 1 })
  const long = 'x'.repeat(1_000)
  const digest = `#${createHash('sha512').update(long, 'utf16le').digest('hex')}`
  assert.equal(limiter.consume(long, 1, 0).allowed, true)
  assert.equal(limiter.consume(digest, 1, 0).allowed, true)
  assert.equal(limiter.consume(digest, 1, 0).allowed, false)
})

test('100 000 keys: each has its own window, and dead ones make room', () => {
  const keys = 100_000
  const limiter = new RateLimiter({ maxRequests: 3, windowSeconds: 60, maxKeys: keys })
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < keys; i++) {
      const { allowed, remaining } = limiter.consume(`user:${i}`, 1, round)
      if (allowed !== round < 3 || remaining !== Math.max(0, 2 - round))
        assert.fail(`user:${i}, round ${round}`)
    }
  }
  assert.equal(limiter.consume('user:late', 1, 60_001.5).remaining, 2)
  assert.equal(limiter.stats.overflowed, 1)
  for (let i = 0; i < keys; i++) {
    if (limiter.consume(`fresh:${i}`, 1, 60_002).remaining !== 2) assert.fail(`fresh:${i}`)
  }
  const { reclaimed, overflowed } = limiter.stats
  assert.deepEqual([reclaimed >= keys, overflowed], [true, 1])
})

test('a flood of keys: a blocked key stays blocked, memory is bounded, overflow is shared and counted', () => {
  const limiter = new RateLimiter({ maxRequests: 5, windowSeconds: 60, maxKeys: 1_000 })
  for (let i = 0; i < 5; i++) limiter.consume('victim', 1, 0)
  for (let i = 0; i < 50_000; i++) {
    limiter.consume(`fresh-${i}`, 1, 1 + i / 1_000)
    if (i % 500 === 0) assert.equal(limiter.consume('victim', 1, 1 + i / 1_000).allowed, false)
  }
  const { keys, overflowed, reclaimed, bytes } = limiter.stats
  assert.deepEqual([keys, overflowed, reclaimed], [1_000, 50_000 - 999, 0])
  assert.ok(bytes < 200_000, `${bytes} bytes`)
  // A known key is as it was; a fresh one shares what is left of the overflow window: nothing.
  assert.equal(limiter.consume('fresh-0', 1, 100).remaining, 3)
  assert.equal(limiter.peek('one-more', 1, 100).allowed, false)
  assert.equal(limiter.consume('one-more', 1, 100).allowed, false)
  assert.equal(limiter.consume('one-more', 1, 100).retryAfterMs, 60_000 + 1 + 0.999 - 100)
  // When the others are dead there is room again, in order of their last stamps.
  assert.equal(limiter.consume('late', 1, 60_001).allowed, true)
  assert.equal(limiter.stats.reclaimed, 1)
  assert.equal(limiter.peek('fresh-0', 1, 60_001).remaining, 4, 'still live: it came back at 100')
})

test('who was admitted by the overflow window has not twice as much when there is room again', () => {
  const limiter = new RateLimiter({ maxRequests: 2, windowSeconds: 1, maxKeys: 1 })
  limiter.consume('only', 1, 0)
  assert.equal(limiter.consume('k', 1, 500).remaining, 1)
  assert.equal(limiter.consume('k', 1, 600).remaining, 0)
  // At 1 000 'only' is dead, and k could have its own window: with nothing in it.
  assert.equal(limiter.consume('k', 1, 1_000).allowed, false)
  assert.equal(limiter.peek('k', 1, 1_000).retryAfterMs, 500)
  assert.equal(limiter.consume('k', 1, 1_500).allowed, true)
  assert.equal(limiter.consume('k', 1, 1_599).allowed, false)
  assert.equal(limiter.consume('k', 1, 2_600).remaining, 1, 'its own window')
  assert.equal(limiter.stats.keys, 1)
})

test('dead keys make room in order of their last stamp, not of their first', () => {
  const limiter = new RateLimiter({ maxRequests: 5, windowSeconds: 1, maxKeys: 2 })
  limiter.consume('a', 1, 0)
  limiter.consume('b', 1, 1)
  limiter.consume('a', 1, 2)
  assert.equal(limiter.consume('c', 1, 1_001).remaining, 4)
  assert.deepEqual([limiter.stats.reclaimed, limiter.stats.overflowed], [1, 0])
  assert.equal(limiter.peek('a', 1, 1_001).remaining, 4)
})

test('rings shrink again, and cut-up rings are used again', () => {
  const limiter = new RateLimiter({ maxRequests: 50_000, windowSeconds: 1 })
  for (let i = 0; i < 50_000; i++) limiter.consume('burst', 1, 0)
  const { bytes } = limiter.stats
  limiter.consume('burst', 1, 1_000)
  for (let i = 0; i < 5_000; i++) for (let j = 0; j < 4; j++) limiter.consume(`k${i}`, 1, 1_000)
  assert.ok(limiter.stats.bytes < bytes + 5_000 * 64, `${limiter.stats.bytes} bytes after ${bytes}`)
  assert.equal(limiter.peek('burst', 1, 1_000).remaining, 49_999)
  for (let i = 0; i < 5_000; i++) assert.equal(limiter.peek(`k${i}`, 1, 1_001).remaining, 49_996)
})

test('rings larger than a page have pages of their own', () => {
  const limiter = new RateLimiter({ maxRequests: 200_000, windowSeconds: 1 })
  for (let round = 0; round < 2; round++) {
    let allowed = 0
    for (let i = 0; i < 200_000; i++)
      if (limiter.consume('k', 1, round * 1_000 + i / 1_000).allowed) allowed++
    assert.equal(allowed, 200_000)
    assert.equal(limiter.consume('k', 1, round * 1_000 + 200).allowed, false)
  }
  limiter.reset('k')
  assert.equal(limiter.consume('k', 3, 9_000).remaining, 199_997)
})

test('a million an hour in kilobytes, with a resolution', () => {
  const limiter = new RateLimiter({ maxRequests: 1_000_000, windowSeconds: 3_600, resolutionMs: 10_000 })
  for (let i = 0; i < 100_000; i++) limiter.consume('k', 10, i * 36)
  assert.deepEqual(
    [limiter.peek('k', 1, 3_600_000 - 36).remaining, limiter.consume('k', 1, 3_599_999).allowed],
    [0, false]
  )
  assert.ok(limiter.stats.bytes < 20_000, `${limiter.stats.bytes} bytes`)
  assert.equal(limiter.consume('k', 1, 3_610_000).allowed, true, 'at most a tick late')
})

test('costs come after single units: both count', () => {
  const limiter = new RateLimiter({ maxRequests: 10, windowSeconds: 1 })
  for (let i = 0; i < 3; i++) limiter.consume('k', 1, i)
  limiter.consume('other', 1, 3)
  assert.equal(limiter.consume('k', 4, 10).remaining, 3)
  assert.equal(limiter.consume('k', 5, 20).retryAfterMs, 981)
  assert.equal(limiter.consume('other', 9, 20).remaining, 0)
  for (let i = 0; i < 100; i++) limiter.consume(`more-${i}`, 2, 30)
  assert.equal(limiter.consume('k', 5, 1_001).remaining, 0)
})

test('a reservation gives back its own stamp, once', () => {
  const limiter = new RateLimiter({ maxRequests: 3, windowSeconds: 1 })
  limiter.consume('k', 1, 0)
  const second = limiter.reserve('k', 1, 100)
  limiter.consume('k', 1, 200)
  second.refund()
  second.refund()
  assert.equal(limiter.peek('k', 1, 300).remaining, 1)
  assert.equal(limiter.consume('k', 2, 300).retryAfterMs, 700, 'the first is still the oldest')
  assert.equal(limiter.reserve('k', 3, 300).decision.allowed, false)
  limiter.reserve('k', 3, 300).refund()
  assert.equal(limiter.peek('k', 1, 300).remaining, 1)
  limiter.reserve('gone', 1, 300).refund()
  assert.equal(limiter.stats.keys, 1)
})

test('a reservation of several units leaves those that others took at the same instant', () => {
  const limiter = new RateLimiter({ maxRequests: 10, windowSeconds: 1 })
  limiter.consume('k', 2, 0)
  const reservation = limiter.reserve('k', 3, 0)
  limiter.consume('k', 4, 0)
  reservation.refund()
  assert.equal(limiter.peek('k', 1, 0).remaining, 4)
})

test('a refund too late, after a reset, or after its slot went to another key gives nothing', () => {
  const limiter = new RateLimiter({ maxRequests: 2, windowSeconds: 1 })
  const expired = limiter.reserve('k', 1, 0)
  limiter.consume('k', 2, 1_000)
  expired.refund()
  assert.equal(limiter.peek('k', 1, 1_000).remaining, 0)

  const reset = limiter.reserve('r', 1, 2_000)
  limiter.reset('r')
  limiter.consume('r', 2, 2_000)
  reset.refund()
  assert.equal(limiter.peek('r', 1, 2_000).remaining, 0)

  const cleared = limiter.reserve('c', 1, 2_000)
  limiter.clearAll()
  limiter.consume('c', 2, 2_000)
  cleared.refund()
  assert.equal(limiter.peek('c', 1, 2_000).remaining, 0)
})

test('a refund of the very first charge after everything was cleared gives nothing', () => {
  const limiter = new RateLimiter({ maxRequests: 2, windowSeconds: 1 })
  const first = limiter.reserve('k', 1, 0)
  limiter.clearAll()
  limiter.consume('k', 2, 0)
  first.refund()
  assert.equal(limiter.peek('k', 1, 0).remaining, 0)
})

test('a refund in the overflow window', () => {
  const limiter = new RateLimiter({ maxRequests: 2, windowSeconds: 1, maxKeys: 1 })
  limiter.consume('only', 1, 0)
  const reservation = limiter.reserve('k', 1, 0)
  limiter.consume('l', 1, 0)
  reservation.refund()
  assert.equal(limiter.consume('m', 1, 0).allowed, true)
  assert.equal(limiter.consume('n', 1, 0).allowed, false)
  limiter.reset('n')
  assert.equal(limiter.consume('n', 1, 0).allowed, false)
})

test('state goes from one process to the next, with the time that passed between', t => {
  const wall = Date.now()
  const clock = t.mock.method(Date, 'now', () => wall)
  const first = new RateLimiter({ maxRequests: 10, windowSeconds: 60 })
  for (let i = 0; i < 10; i++) first.consume('unit', 1, 1_000 + i)
  first.consume('cost', 7, 2_000)
  first.consume('x'.repeat(500), 10, 3_000)
  first.consume('dead', 1, -50_000)
  const state = JSON.parse(JSON.stringify(first.export(31_000)))
  assert.equal(state.keys.length, 3)

  clock.mock.mockImplementation(() => wall + 5_000)
  const second = new RateLimiter({ maxRequests: 10, windowSeconds: 60 })
  second.import(state, 50)
  assert.equal(second.consume('unit', 1, 50).retryAfterMs, 25_000)
  assert.equal(second.consume('unit', 2, 50).retryAfterMs, 25_001)
  assert.deepEqual(
    [second.consume('cost', 4, 50).allowed, second.consume('cost', 3, 50).allowed],
    [false, true]
  )
  assert.equal(second.consume('x'.repeat(500), 1, 50).allowed, false)
  assert.equal(second.consume('unit', 10, 25_059).allowed, true)
  assert.throws(() => second.import(state), /import comes before the first request/)

  clock.mock.mockImplementation(() => wall - 3_600_000)
  const lower = new RateLimiter({ maxRequests: 3, windowSeconds: 60 })
  lower.import(state, 0)
  assert.equal(lower.peek('unit', 1, 30_000).remaining, 0, 'no time has passed for a clock that was set back')
  assert.equal(lower.consume('unit', 1, 30_006).allowed, false)
  assert.equal(
    lower.consume('unit', 1, 30_007).allowed,
    true,
    'ten were live, and now two of the three newest'
  )

  const small = new RateLimiter({ maxRequests: 10, windowSeconds: 60, maxKeys: 2 })
  assert.throws(() => small.import(state), /state has 3 keys, more than maxKeys 2/)
  const other = new RateLimiter({ maxRequests: 10, windowSeconds: 61 })
  assert.throws(() => other.import(state), /state is of a window of 60000 ms, not 61000 ms/)
})

test('limiters with a clock of their own go by it, to the instant', () => {
  let now = 500
  const make = () => new RateLimiter({ maxRequests: 1, windowSeconds: 1, clock: () => now })
  const first = make()
  first.consume('k')
  now = 900
  const state = first.export()
  now = 1_100
  const second = make()
  second.import(state)
  assert.equal(second.consume('k').retryAfterMs, 400)
  now = 1_500
  assert.equal(second.isAllowed('k'), true)
})

test('what keys share at the cap goes along, and who shares it', () => {
  const clock = () => 0
  const first = new RateLimiter({ maxRequests: 3, windowSeconds: 1, maxKeys: 2, clock })
  first.consume('early', 1, 0)
  first.consume('late', 1, 10)
  first.consume('x', 1, 20)
  first.consume('y', 1, 30)
  first.consume('late', 1, 40)
  const state = JSON.parse(JSON.stringify(first.export(100)))
  assert.deepEqual(state.overflow, {
    stamps: [
      [920, 1],
      [930, 1]
    ],
    keys: [
      ['x', 920],
      ['y', 930]
    ]
  })
  for (const maxKeys of [2, 100]) {
    const second = new RateLimiter({ maxRequests: 3, windowSeconds: 1, maxKeys, clock })
    second.import(state, 150)
    assert.equal(second.stats.keys, 2)
    // Nobody takes more than the window has, on either side of the deploy.
    assert.equal(second.peek('x', 1, 150).remaining, 1)
    assert.equal(second.consume('y', 1, 150).remaining, 0)
    assert.equal(second.consume('x', 1, 150).allowed, false)
    assert.equal(second.consume('fresh', 1, 150).allowed, maxKeys === 100)
    // Then the first key makes room, and later the second: what they share is between them, and behind them now.
    assert.equal(second.consume('another', 3, 1_030).allowed, true)
    assert.equal(second.consume('x', 3, 1_100).allowed, true)
    assert.equal(second.consume('y', 3, 1_149.5).allowed, false)
  }
  const empty = new RateLimiter({ maxRequests: 3, windowSeconds: 1, maxKeys: 2, clock })
  empty.import(state, 5_000)
  assert.equal(empty.consume('x', 3, 5_000).allowed, true)
  assert.equal(empty.export(5_000).overflow, undefined)
})

test('a state in any order: who is dead first makes room first', () => {
  const limiter = new RateLimiter({ maxRequests: 3, windowSeconds: 1, maxKeys: 2, clock: () => 0 })
  limiter.import({
    version: 1,
    windowMs: 1_000,
    exportedAt: 0,
    clockAt: 0,
    keys: [
      ['late', [[900, 1]]],
      ['early', [[100, 1]]]
    ],
    overflow: { stamps: [[500, 1]], keys: [['x', 500]] }
  })
  assert.equal(limiter.consume('fresh', 3, 99).allowed, false)
  assert.equal(limiter.consume('fresh', 3, 100).allowed, true)
  assert.deepEqual([limiter.peek('late', 1, 100).remaining, limiter.stats.reclaimed], [2, 1])
})

test('what is no state is not imported', () => {
  const good = { version: 1, windowMs: 1_000, exportedAt: 1, clockAt: null, keys: [['k', [[5, 1]]]] }
  const bad: unknown[] = [
    ...[
      null,
      undefined,
      5,
      {},
      { ...good, version: 2 },
      { ...good, exportedAt: 'now' },
      { ...good, clockAt: 'now' },
      { ...good, keys: {} }
    ],
    ...[
      ['k'],
      [5, []],
      ['k', [5]],
      ['k', [[5]]],
      ['k', [[5, 0]]],
      ['k', [[5, -1]]],
      ['k', [[Number.NaN, 1]]]
    ].map(entry => ({ ...good, keys: [entry] })),
    {
      ...good,
      keys: [
        [
          'k',
          [
            [5, 1],
            [4, 1]
          ]
        ]
      ]
    },
    {
      ...good,
      keys: [
        ['k', [[5, 1]]],
        ['k', [[6, 1]]]
      ]
    },
    // Further off than a window and a tick: no export has that, and it would count for ever.
    { ...good, keys: [['k', [[2_001, 1]]]] },
    ...[
      null,
      {},
      { stamps: [[1e300, 1]], keys: [] },
      { stamps: [[5, 1]], keys: [['k', 1e300]] },
      { stamps: [[5, 1]] },
      { stamps: [[5, 0]], keys: [] },
      { stamps: [], keys: [['k', null]] }
    ].map(overflow => ({ ...good, overflow }))
  ]
  for (const state of bad) {
    const limiter = new RateLimiter(options)
    assert.throws(
      () => limiter.import(state as RateLimiterState),
      /RateLimiter: import needs what export gave/
    )
    assert.equal(limiter.stats.keys, 0)
  }
})
