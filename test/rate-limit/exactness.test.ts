import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RateLimiter } from '../../lib/rate-limit/rate-limiter.ts'
import { fc } from '../support/seeded.ts'
import { type Consume, type Scenario, type Step, violation, WindowOracle } from './window-oracle.ts'

/** Times are quarters of a ms, so that sums and differences are exact. */
const quarter = 0.25
const day = 86_400_000

/** How a step follows the one before: at the same instant, when an earlier one expires or just before, or after a gap. */
type Move = { kind: 'tie' } | { kind: 'edge'; back: number; early: boolean } | { kind: 'gap'; share: number }

const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ kind: 'tie' } as const) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('edge' as const), back: fc.nat(12), early: fc.boolean() })
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('gap' as const),
      share: fc.constantFrom(0.001, 0.01, 0.1, 0.25, 0.5, 0.9, 1, 1.1, 3)
    })
  }
)

function stepsOf(moves: readonly [Move, number][], windowMs: number, limit: number): Step[] {
  const steps: Step[] = []
  let now = 1_000
  for (const [step, weight] of moves) {
    if (step.kind === 'gap') now += Math.ceil((step.share * windowMs) / quarter) * quarter
    const earlier = step.kind === 'edge' ? steps.at(-1 - step.back) : undefined
    if (step.kind === 'edge' && earlier !== undefined) {
      now = Math.max(now, earlier.at + windowMs - (step.early ? quarter : 0))
    }
    steps.push({ at: now, cost: weight === 1 ? 1 : Math.min(limit + 1, Math.floor((weight * limit) / 10)) })
  }
  return steps
}

function scenarios(unitCosts: boolean, length: number): fc.Arbitrary<Scenario> {
  const limit = fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constantFrom(100, 1_000, 10_000))
  const windowMs = fc.oneof(
    fc.integer({ min: 1, max: 5_000 }),
    fc.constantFrom(60_000, day, 2 ** 31, 30 * day)
  )
  const cost = unitCosts ? fc.constant(1) : fc.integer({ min: 0, max: 11 })
  const moves = fc.array(fc.tuple(move, cost), { minLength: 1, maxLength: length, size: 'max' })
  return fc
    .tuple(limit, windowMs, moves)
    .map(([limit, windowMs, moves]) => ({ limit, windowMs, steps: stepsOf(moves, windowMs, limit) }))
}

const limiterOf = ({ limit, windowMs }: Scenario) =>
  new RateLimiter({ maxRequests: limit, windowSeconds: windowMs / 1_000 })

for (const unitCosts of [true, false]) {
  const costs = unitCosts ? 'one unit each' : 'any cost'

  test(`every field is what brute force says, ${costs}`, () => {
    fc.assert(
      fc.property(scenarios(unitCosts, 150), scenario => {
        const limiter = limiterOf(scenario)
        const oracle = new WindowOracle(scenario.limit, scenario.windowMs)
        for (const { at, cost } of scenario.steps) {
          const peeked = limiter.peek('k', cost, at)
          const decision = limiter.consume('k', cost, at)
          assert.equal(peeked.allowed, decision.allowed)
          assert.equal(peeked.retryAfterMs, decision.retryAfterMs)
          assert.deepEqual(decision, oracle.consume(cost, at))
        }
      }),
      { numRuns: 250 }
    )
  })
}

test('retryAfterMs is true and tight', () => {
  fc.assert(
    fc.property(scenarios(false, 60), scenario => {
      const limiter = limiterOf(scenario)
      for (const { at, cost } of scenario.steps) {
        const { allowed, retryAfterMs } = limiter.consume('k', cost, at)
        if (allowed || retryAfterMs === undefined) continue
        assert.ok(retryAfterMs > 0)
        assert.equal(limiter.peek('k', cost, at + retryAfterMs).allowed, true, 'admitted then')
        assert.equal(limiter.peek('k', cost, at + retryAfterMs - quarter).allowed, false, 'and not before')
      }
    }),
    { numRuns: 200 }
  )
})

test('any instant will do: at now + retryAfterMs, as floating point has it, the request fits', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1e10, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 1e-3, max: 1e10, noNaN: true }),
      (first, share, windowMs) => {
        const limiter = new RateLimiter({ maxRequests: 1, windowSeconds: windowMs / 1_000 })
        limiter.consume('k', 1, first)
        const second = first + share * limiter.windowMs
        const { allowed, retryAfterMs } = limiter.consume('k', 1, second)
        assert.equal(allowed, second >= first + limiter.windowMs)
        if (!allowed) assert.ok(limiter.peek('k', 1, second + (retryAfterMs as number)).allowed)
        assert.equal(limiter.peek('k', 1, first + limiter.windowMs).allowed, !allowed)
      }
    ),
    { numRuns: 2_000 }
  )
})

test('time that goes back: a key lives on at its newest stamp', () => {
  fc.assert(
    fc.property(
      scenarios(false, 12),
      fc.array(fc.nat(5_000), { minLength: 12, maxLength: 12 }),
      (scenario, backs) => {
        const limiter = limiterOf(scenario)
        const oracle = new WindowOracle(scenario.limit, scenario.windowMs)
        let newest = -Infinity
        scenario.steps.forEach(({ at, cost }, i) => {
          const now = at - backs[i] * quarter
          const then = Math.max(now, newest)
          const expected = oracle.consume(cost, then)
          const { allowed, remaining, retryAfterMs } = limiter.consume('k', cost, now)
          assert.deepEqual([allowed, remaining], [expected.allowed, expected.remaining])
          if (!allowed && retryAfterMs !== undefined) {
            assert.equal(retryAfterMs, (expected.retryAfterMs as number) + then - now)
          }
          if (allowed && cost > 0) newest = then
        })
      }
    ),
    { numRuns: 500 }
  )
})

test('100 000 steps on many keys of one limiter, with refunds and resets', () => {
  let seed = 7
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return Math.floor((seed / 2 ** 32) * below)
  }
  for (const [maxRequests, windowMs, mostCost] of [
    [3, 50, 1],
    [10, 400, 4],
    [100, 1_000, 1]
  ]) {
    // Never more than 40 keys are live, so that the cap is met, and dead keys make room.
    const limiter = new RateLimiter({ maxRequests, windowSeconds: windowMs / 1_000, maxKeys: 40 })
    const oracles = new Map<string, WindowOracle>()
    let now = 0
    for (let i = 0; i < 33_334; i++) {
      now += random(3) * quarter
      const key = `k${Math.floor(now / windowMs) * 13 + random(13)}`
      let oracle = oracles.get(key)
      if (oracle === undefined) {
        oracle = new WindowOracle(maxRequests, windowMs)
        oracles.set(key, oracle)
      }
      const cost = 1 + random(mostCost)
      if (random(40) === 0) {
        limiter.reset(key)
        oracle.reset()
      } else if (random(10) === 0) {
        const reservation = limiter.reserve(key, cost, now)
        assert.deepEqual(reservation.decision, oracle.consume(cost, now), `step ${i}`)
        reservation.refund()
        reservation.refund()
        if (reservation.decision.allowed) oracle.refund(now, cost)
      } else {
        assert.deepEqual(limiter.consume(key, cost, now), oracle.consume(cost, now), `step ${i}`)
      }
    }
    assert.equal(limiter.stats.overflowed, 0)
    assert.ok(limiter.stats.reclaimed > 20)
  }
})

/** Limiters that are known to be wrong. The test above must find each of them out. */
const controls: [string, string[], (limit: number, windowMs: number) => Consume][] = [
  [
    'a fixed window from the first hit',
    ['admitted too many'],
    (limit, windowMs) => {
      let start = -Infinity
      let used = 0
      return (cost, now) => {
        if (now >= start + windowMs) {
          start = now
          used = 0
        }
        const allowed = used + cost <= limit
        if (allowed) used += cost
        return { allowed }
      }
    }
  ],
  [
    'a weighted two-bucket counter',
    ['admitted too many', 'refused what fits'],
    (limit, windowMs) => {
      const buckets = new Map<number, number>()
      return (cost, now) => {
        const bucket = Math.floor(now / windowMs)
        const before = buckets.get(bucket - 1) ?? 0
        const used = buckets.get(bucket) ?? 0
        const allowed = before * (1 - (now / windowMs - bucket)) + used + cost <= limit
        if (allowed) buckets.set(bucket, used + cost)
        return { allowed }
      }
    }
  ],
  [
    'GCRA',
    ['admitted too many'],
    (limit, windowMs) => {
      let arrival = -Infinity
      return (cost, now) => {
        const next = Math.max(arrival, now) + cost * (windowMs / limit)
        const allowed = next - now <= windowMs
        if (allowed) arrival = next
        return { allowed }
      }
    }
  ],
  [
    'a log that also keeps what it refused',
    ['refused what fits'],
    (limit, windowMs) => {
      const oracle = new WindowOracle(Infinity, windowMs)
      return (cost, now) => {
        oracle.consume(cost, now)
        return { allowed: oracle.used(now) <= limit }
      }
    }
  ],
  [
    'a window that is closed at both ends',
    ['refused what fits'],
    (limit, windowMs) => {
      const oracle = new WindowOracle(limit, windowMs + quarter / 2)
      return (cost, now) => oracle.consume(cost, now)
    }
  ]
]

test('no window admits too many, and nothing that fits is refused', () => {
  const property = fc.property(scenarios(false, 400), scenario => {
    const limiter = limiterOf(scenario)
    assert.equal(
      violation(scenario, (cost, now) => limiter.consume('k', cost, now)),
      undefined
    )
  })
  fc.assert(property, { numRuns: 300 })
})

for (const [name, kinds, make] of controls) {
  for (const kind of kinds) {
    test(`negative control: ${name} is found to have ${kind}`, () => {
      const found = fc.check(
        fc.property(
          scenarios(true, 60),
          scenario => violation(scenario, make(scenario.limit, scenario.windowMs)) !== kind
        ),
        { numRuns: 2_000, endOnFailure: true }
      )
      assert.equal(found.failed, true)
    })
  }
}

test('with a resolution: never too many, and a unit is free less than a tick late', () => {
  fc.assert(
    fc.property(scenarios(false, 200), fc.constantFrom(0.01, 0.1, 0.37, 1), (scenario, share) => {
      const resolutionMs = scenario.windowMs * share
      const windowSeconds = scenario.windowMs / 1_000
      const limiter = new RateLimiter({ maxRequests: scenario.limit, windowSeconds, resolutionMs })
      const admitted: Step[] = []
      for (const { at, cost } of scenario.steps) {
        const usedSince = (ms: number) =>
          admitted.reduce((sum, step) => sum + (step.at + ms > at ? step.cost : 0), 0)
        const { allowed, retryAfterMs } = limiter.consume('k', cost, at)
        if (allowed) assert.ok(usedSince(scenario.windowMs) + cost <= scenario.limit, 'too many')
        else {
          assert.ok(usedSince(scenario.windowMs + resolutionMs * 1.0001) + cost > scenario.limit, 'late')
          if (retryAfterMs !== undefined && retryAfterMs > 1e-3) {
            assert.ok(limiter.peek('k', cost, at + retryAfterMs).allowed)
            assert.equal(limiter.peek('k', cost, at + retryAfterMs * 0.999).allowed, false)
          }
        }
        if (allowed) admitted.push({ at, cost })
      }
    }),
    { numRuns: 200 }
  )
})
