import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DurationRecord } from '../../../lib/metrics/series/duration-record.ts'
import { TimeSlots } from '../../../lib/metrics/series/time-slots.ts'
import { Windows } from '../../../lib/metrics/series/windows.ts'
import { fc } from '../../support/seeded.ts'

/** Gaps between two records in ms: mostly short, sometimes past a window. */
const gap = fc.oneof(
  fc.integer({ min: 0, max: 9_000 }),
  fc.integer({ min: 0, max: 200_000 }),
  fc.constant(5_000_000)
)
const records = fc.array(fc.tuple(gap, fc.integer({ min: 0, max: 10_000_000 })), {
  minLength: 1,
  maxLength: 80
})

test('windows hold what is in them, and percentiles stay within their promise', () => {
  fc.assert(
    fc.property(records, fc.integer({ min: 0, max: 100_000 }), (steps, later) => {
      const windows = new Windows(
        () => new DurationRecord(2),
        () => new DurationRecord(3)
      )
      const all: { at: number; us: number }[] = []
      let now = 1e6
      for (const [wait, us] of steps) {
        now += wait
        windows.total.record(us / 1000)
        windows.current(now).record(us / 1000)
        // What is read meanwhile must not change what is read later.
        if (us % 3 === 0) windows.read('hour', now)
        all.push({ at: now, us })
      }
      now += later
      const since = { total: -Infinity, minute: slotStart(now, 5_000), hour: slotStart(now, 300_000) }
      for (const [window, start] of Object.entries(since) as ['total' | 'minute' | 'hour', number][]) {
        const seen = all
          .filter(({ at }) => at >= start)
          .map(({ us }) => us)
          .sort((a, b) => a - b)
        const summary = windows.read(window, now).summary()
        assert.equal(summary.count, seen.length)
        assert.equal(summary.maxMs, (seen.at(-1) ?? 0) / 1000)
        const sum = seen.reduce((a, b) => a + b, 0)
        assert.ok(Math.abs(summary.averageMs - (seen.length === 0 ? 0 : sum / seen.length / 1000)) < 1e-6)
        const promise = window === 'total' ? 1 / 1024 : 1 / 128
        for (const [percentile, ms] of [
          [50, summary.p50Ms],
          [90, summary.p90Ms],
          [95, summary.p95Ms],
          [99, summary.p99Ms],
          [99.9, summary.p999Ms]
        ]) {
          const exact =
            (seen[Math.max(Math.ceil((percentile / 100) * seen.length - 1e-9), 1) - 1] ?? 0) / 1000
          assert.ok(ms >= exact && ms <= exact * (1 + promise) + 0.001, `p${percentile}: ${ms} for ${exact}`)
        }
      }
    })
  )

  /** The start of the twelfth slot before the current one. */
  function slotStart(now: number, slotMs: number): number {
    return (Math.floor(now / slotMs) - 12) * slotMs
  }
})

test('time that steps back is in the hour of the latest slot', () => {
  const windows = new Windows(() => new DurationRecord(2))
  const counts = (now: number): number[] =>
    (['minute', 'hour'] as const).map(window => windows.read(window, now).summary().count)
  windows.current(7_200_100).record(1)
  windows.current(7_199_900).record(1)
  assert.deepEqual(counts(7_199_900), [2, 2])
  assert.deepEqual(counts(7_200_100 + 12 * 300_000), [0, 2])
  assert.deepEqual(counts(7_200_100 + 13 * 300_000), [0, 0])
  windows.reset()
  assert.deepEqual(counts(7_200_100), [0, 0])
  windows.current(7_200_100).record(1)
  windows.current(7_206_000).record(1)
  assert.deepEqual(counts(7_206_000), [2, 2])
})

test('slots are used again: there are never more than a window needs', () => {
  let made = 0
  const slots = new TimeSlots({
    slotMs: 10,
    slots: 3,
    make: () => ({ number: ++made, count: 0 }),
    clear: slot => {
      slot.count = 0
    }
  })
  for (let now = -500; now < 500; now++) slots.at(now).count++
  assert.equal(made, 4)
  assert.equal(
    slots.within(499).reduce((sum, slot) => sum + slot.count, 0),
    40
  )
  assert.equal(
    slots.within(505).reduce((sum, slot) => sum + slot.count, 0),
    30
  )
  assert.equal(slots.within(600).length, 0)
})

test('time that steps back is counted in the latest slot', () => {
  const slots = new TimeSlots({
    slotMs: 10,
    slots: 1,
    make: () => [] as number[],
    clear: slot => slot.splice(0)
  })
  slots.at(100).push(1)
  slots.at(55).push(2)
  assert.deepEqual(slots.within(100), [[1, 2]])
  assert.deepEqual(slots.within(0), [[1, 2]])
  slots.clear()
  assert.deepEqual(slots.within(100), [])
  slots.at(100).push(3)
  assert.deepEqual(slots.within(100), [[3]])
})
