import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DurationBuckets, standardBounds } from '../../../lib/metrics/series/duration-buckets.ts'
import { NativeCounts } from '../../../lib/metrics/series/native-counts.ts'
import { fc } from '../../support/seeded.ts'

/** Any duration, and often one at a bound or right beside it. */
const duration = fc.oneof(
  fc.double({ min: 0, max: 100, noNaN: true }),
  fc.constantFrom(...standardBounds.flatMap(bound => [bound, bound * (1 + 2 ** -52), bound * (1 - 2 ** -52)]))
)

test('every bound has exactly the durations up to it, however close they are', () => {
  fc.assert(
    fc.property(fc.array(duration, { maxLength: 200 }), durations => {
      const buckets = new DurationBuckets(standardBounds)
      for (const seconds of durations) buckets.observe(seconds)
      let cumulative = 0
      for (const [i, bound] of [...standardBounds, Infinity].entries()) {
        cumulative += buckets.counts[i]
        assert.equal(cumulative, durations.filter(seconds => seconds <= bound).length)
      }
      assert.equal(buckets.count, durations.length)
    })
  )
})

test('a duration of a whole bound in ms is in the bucket of that bound', () => {
  for (const [i, bound] of standardBounds.entries()) {
    const buckets = new DurationBuckets(standardBounds)
    const ms = Math.round(bound * 1000)
    assert.equal(buckets.observe(ms / 1000), i)
    assert.equal(buckets.observe((ms + 0.001) / 1000), i + 1)
  }
})

test('native buckets hold what lies between their bounds, at any order of arrival', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 5 }),
      fc.array(fc.double({ min: 1e-8, max: 1e5, noNaN: true }), { maxLength: 100 }),
      (schema, values) => {
        const native = new NativeCounts(schema)
        for (const value of values) native.observe(value)
        const base = 2 ** (2 ** -schema)
        const expected = new Map<number, number>()
        for (const value of values) {
          const index = Math.ceil(Math.log(value) / Math.log(base) - 1e-9)
          expected.set(index, (expected.get(index) ?? 0) + 1)
        }
        const counted = new Map<number, number>()
        for (const [i, count] of native.counts.entries()) {
          if (count > 0) counted.set(native.firstIndex + i, count)
        }
        assert.deepEqual(
          [...counted].sort(([a], [b]) => a - b),
          [...expected].sort(([a], [b]) => a - b)
        )
        assert.ok(native.counts.length <= 55 * 2 ** schema)
      }
    )
  )
})

test('powers of two are the upper ends of their native buckets', () => {
  for (let schema = 0; schema <= 5; schema++) {
    for (let exponent = -20; exponent <= 10; exponent++) {
      const at = new NativeCounts(schema)
      at.observe(2 ** exponent)
      assert.equal(at.firstIndex, exponent * 2 ** schema)
      const above = new NativeCounts(schema)
      above.observe(2 ** exponent * (1 + 2 ** -52))
      assert.equal(above.firstIndex, exponent * 2 ** schema + 1)
    }
  }
})

test('what no clock should give is counted at the ends', () => {
  const native = new NativeCounts(3)
  for (const value of [0, -1, 1e-300, 1e300, 2 ** 20]) native.observe(value)
  assert.equal(native.zeroCount, 3)
  assert.equal(native.firstIndex, 160)
  assert.deepEqual([...native.counts], [2])
})
