import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as hdr from 'hdr-histogram-js'
import { Histogram, type HistogramOptions } from '../../../lib/metrics/histogram/histogram.ts'
import { fc } from '../../support/seeded.ts'

const largest = Number.MAX_SAFE_INTEGER

function recorded(values: readonly number[], options?: HistogramOptions): Histogram {
  const histogram = new Histogram(options)
  for (const value of values) histogram.record(value)
  return histogram
}

/** Counts by value, from the outside. */
function contents(histogram: Histogram): [number, number][] {
  const found: [number, number][] = []
  const { max } = histogram
  for (let value = 0; value <= max; value = histogram.nextNonEquivalentValue(value)) {
    const count = histogram.countAt(value)
    if (count > 0) found.push([value, count])
  }
  return found
}

/** Within what is added in 32 bits, around it, and beyond. */
const anyCount = fc.oneof(
  fc.nat(9),
  fc.integer({ min: 2 ** 28 - 1, max: 2 ** 32 - 1 }),
  fc.integer({ min: 2 ** 32, max: 2 ** 40 })
)

/** The reference's rule, one counter after the other. */
function byWalking(histogram: Histogram, percentile: number): number {
  const { count } = histogram
  let reached = 0
  for (const { valueIteratedTo, countAddedInThisIterationStep } of histogram.recordedValues()) {
    reached += countAddedInThisIterationStep
    const below = percentile <= 0 ? 0 : Math.min(percentile * (1 - 2 ** -53), 100)
    if (reached < Math.max(Math.ceil((below * count) / 100), 1)) continue
    return percentile <= 0 ? histogram.lowestEquivalentValue(valueIteratedTo) : valueIteratedTo
  }
  return 0
}

const anyOptions = fc
  .tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 1, max: 53 }), fc.integer({ min: 0, max: 3 }))
  .chain(([low, high, significantDigits]) =>
    fc.record({
      lowest: fc.integer({ min: 2 ** low, max: Math.min(2 ** (low + 1), (largest - 1) / 2) }),
      highest: fc.constant(Math.min(2 ** Math.max(high, low + 2) + 1, largest)),
      significantDigits: fc.constant(significantDigits)
    })
  )
  .filter(({ lowest, highest }) => highest >= 2 * lowest)

/** Integers of every magnitude. */
const anyValue = fc
  .tuple(fc.integer({ min: 0, max: 53 }), fc.maxSafeNat())
  .map(([magnitude, bits]) => bits % 2 ** magnitude)

describe('Histogram configuration', () => {
  const bad: [HistogramOptions, RegExp][] = [
    [{ lowest: 0 }, /lowest must be a positive integer, got 0/],
    [{ lowest: 1.5 }, /lowest .* got 1.5/],
    [{ lowest: Number.NaN }, /lowest .* got NaN/],
    [{ lowest: '1' as unknown as number }, /lowest/],
    [{ lowest: 10, highest: 19 }, /highest must be an integer from 2 \* lowest to 2\^53 - 1, got 19/],
    [{ highest: 2 ** 53 }, /highest .* got 9007199254740992/],
    [{ highest: Number.POSITIVE_INFINITY }, /highest .* got Infinity/],
    [{ significantDigits: 6 }, /significantDigits must be an integer from 0 to 5, got 6/],
    [{ significantDigits: -1 }, /significantDigits/],
    [{ significantDigits: 2.5 }, /significantDigits/],
    [
      { lowest: 2 ** 45, highest: largest, significantDigits: 5 },
      /lowest must be less than 35184372088832 with 5 digits, got 35184372088832/
    ],
    [
      { lowest: 2 ** 52 - 1, highest: largest, significantDigits: 4 },
      /lowest must be less than 281474976710656 with 4 digits/
    ]
  ]
  for (const [options, message] of bad) {
    it(`refuses ${JSON.stringify(options)}`, () =>
      assert.throws(() => new Histogram(options), { name: 'RangeError', message }))
  }

  // [lowest, highest, digits, buckets, counters]
  const sizes: [number, number, number, number, number][] = [
    [1, 3.6e9, 3, 22, 23_552],
    [1, 3.6e9, 2, 25, 3_328],
    [1, 60e6, 3, 16, 17_408],
    [1, 60e6, 2, 19, 2_560],
    [1, 3.6e9, 1, 28, 464],
    [1, largest, 3, 43, 45_056],
    [20_000, 3.6e12, 2, 21, 2_816]
  ]
  for (const [lowest, highest, significantDigits, buckets, counters] of sizes) {
    it(`(${lowest}, ${highest}, ${significantDigits}) has ${buckets} buckets and ${counters} counters`, () => {
      const { layout } = new Histogram({ lowest, highest, significantDigits })
      assert.equal(layout.bucketCount, buckets)
      assert.equal(layout.length, counters)
    })
  }
})

describe('Histogram buckets', () => {
  it('keep the promised precision around every power of two', () => {
    for (const significantDigits of [0, 1, 2, 3, 4, 5]) {
      const histogram = new Histogram({ highest: largest, significantDigits })
      for (let k = 1; k <= 53; k++) {
        for (const value of [2 ** k - 1, 2 ** k, 2 ** k + 1]) {
          if (value > largest) continue
          const from = histogram.lowestEquivalentValue(value)
          const to = histogram.highestEquivalentValue(value)
          assert.ok(from <= value && value <= to, `${value} in ${from}..${to}`)
          const width = histogram.sizeOfEquivalentValueRange(value)
          assert.equal(to - from + 1, width)
          assert.ok(width === 1 || width <= from / 10 ** significantDigits, `${width} wide at ${value}`)
          assert.equal(histogram.medianEquivalentValue(value), from + Math.floor(width / 2))
        }
      }
    }
  })

  it('are told apart exactly where one ends and the next begins', () => {
    fc.assert(
      fc.property(anyOptions, anyValue, (options, value) => {
        const histogram = new Histogram(options)
        const next = histogram.nextNonEquivalentValue(value)
        const to = histogram.highestEquivalentValue(value)
        assert.equal(next, to + 1)
        assert.ok(histogram.valuesAreEquivalent(value, to))
        if (next <= largest) {
          assert.ok(!histogram.valuesAreEquivalent(value, next))
          assert.equal(histogram.lowestEquivalentValue(next), next)
        }
      })
    )
  })

  it('are those of the samples made by the C port', () => {
    const histogram = new Histogram()
    const pairs = [
      [8180, 8183],
      [8191, 8191],
      [8193, 8199],
      [9995, 9999],
      [10007, 10007],
      [10008, 10015]
    ] as const
    for (const [value, highest] of pairs) assert.equal(histogram.highestEquivalentValue(value), highest)
  })

  it('refuse to tell about what is no value', () => {
    const histogram = new Histogram()
    for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      assert.throws(() => histogram.countAt(value), { name: 'RangeError', message: /value must be .* got/ })
    }
  })
})

describe('Histogram.record', () => {
  it('counts what was recorded where it belongs, at every magnitude and configuration', () => {
    fc.assert(
      fc.property(
        anyOptions,
        fc.array(fc.tuple(anyValue, fc.integer({ min: 0, max: 3 }))),
        (options, pairs) => {
          const histogram = new Histogram(options)
          const oracle = new Map<number, number>()
          let above = 0
          for (const [value, count] of pairs) {
            histogram.record(value, count)
            if (count === 0) continue
            const kept = Math.min(value, options.highest)
            if (kept < value) above += count
            const key = histogram.lowestEquivalentValue(kept)
            oracle.set(key, (oracle.get(key) ?? 0) + count)
          }
          assert.equal(histogram.overflowCount, above)
          for (const [key, count] of oracle) assert.equal(histogram.countAt(key), count)
          const counts = [...oracle.values()]
          assert.equal(
            histogram.count,
            counts.reduce((sum, count) => sum + count, 0)
          )
        }
      )
    )
  })

  it('agrees with hdr-histogram-js', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 3_600_000_000 }), { minLength: 1 }),
        fc.integer({ min: 1, max: 3 }),
        fc.array(fc.double({ min: 0, max: 100, noNaN: true })),
        (values, significantDigits, percentiles) => {
          const ours = recorded(values, { significantDigits })
          const theirs = hdr.build({
            bitBucketSize: 64,
            highestTrackableValue: 3.6e9,
            numberOfSignificantValueDigits: significantDigits as 1 | 2 | 3
          })
          for (const value of values) theirs.recordValue(value)
          for (const p of [0, 25, 50, 75, 90, 99, 99.9, 100, ...percentiles]) {
            if (p > 0) assert.equal(ours.percentile(p), theirs.getValueAtPercentile(p), `p${p}`)
          }
          assert.equal(ours.count, theirs.totalCount)
          assert.equal(ours.max, ours.highestEquivalentValue(theirs.maxValue))
          if (values.every(value => value > 0)) {
            assert.equal(ours.min, ours.lowestEquivalentValue(theirs.minNonZeroValue))
          }
          assert.ok(Math.abs(ours.mean - theirs.mean) <= 1e-9 * ours.mean)
          assert.ok(Math.abs(ours.stddev - theirs.stdDeviation) <= 1e-6 * ours.mean)
        }
      ),
      { numRuns: 40 }
    )
  })

  it('takes fractions as the integer below', () => {
    const histogram = recorded([0.9, 2_000.99, 2 ** 33 + 0.5], { highest: 2 ** 34 })
    assert.deepEqual(contents(histogram), [
      [0, 1],
      [2_000, 1],
      [2 ** 33, 1]
    ])
    assert.equal(recorded([1_000.5], { highest: 1_000 }).overflowCount, 0)
  })

  it('counts what is above the highest as the highest', () => {
    for (const highest of [1_000, 3.6e9, 2 ** 40]) {
      const histogram = recorded([7, highest, highest + 1, 1e300], { highest })
      assert.equal(histogram.count, 4)
      assert.equal(histogram.overflowCount, 2)
      assert.equal(histogram.max, histogram.highestEquivalentValue(highest))
      assert.equal(histogram.countAt(highest), 3)
    }
  })

  it('refuses and counts what is no value, and changes nothing else', () => {
    const histogram = recorded([10, 20])
    const before = contents(histogram)
    const bad = [
      Number.NaN,
      -1,
      -0.001,
      Number.NEGATIVE_INFINITY,
      Number.POSITIVE_INFINITY,
      '5',
      null,
      undefined,
      5n,
      {},
      true
    ]
    for (const value of bad) histogram.record(value as number)
    assert.equal(histogram.invalidCount, bad.length)
    assert.deepEqual(contents(histogram), before)
    for (const count of [-1, 0.5, Number.NaN, 2 ** 53, '2']) histogram.record(10, count as number)
    assert.equal(histogram.invalidCount, bad.length + 5)
    assert.equal(histogram.count, 2)
    histogram.record(-0)
    assert.equal(histogram.countAt(0), 1)
  })

  it('never wraps a counter', () => {
    const histogram = new Histogram()
    histogram.record(42, 2 ** 32 - 1)
    histogram.record(42)
    histogram.record(42)
    assert.equal(histogram.countAt(42), 2 ** 32 + 1)
    histogram.record(42, 2 ** 40)
    histogram.record(3e9)
    assert.equal(histogram.count, 2 ** 40 + 2 ** 32 + 2)
    assert.equal(histogram.percentile(50), 42)
    assert.equal(histogram.max, histogram.highestEquivalentValue(3e9))
    histogram.record(42, largest)
    histogram.record(42)
    assert.equal(histogram.countAt(42), largest)
  })
})

describe('Histogram.percentile', () => {
  it('is within the promised precision of the exact value, whatever was recorded', () => {
    fc.assert(
      fc.property(
        anyOptions,
        fc.array(anyValue, { minLength: 1 }),
        fc.double({ min: 0, max: 100, noNaN: true }),
        (options, values, percentile) => {
          const kept = values.map(value => Math.min(value, options.highest)).sort((a, b) => a - b)
          const histogram = recorded(values, options)
          // Exact below 2^53: no rank here is within rounding of an integer but those that are integers.
          const rank = Math.max(Math.ceil(Number(((percentile * kept.length) / 100).toPrecision(14))), 1)
          const exact = kept[rank - 1]!
          const told = histogram.percentile(percentile)
          const unit = 2 ** Math.floor(Math.log2(options.lowest) + 1e-9)
          const width = Math.max(exact / 10 ** options.significantDigits, 2 * unit)
          if (percentile > 0) assert.ok(told >= exact, `p${percentile}: ${told} for ${exact}`)
          assert.ok(Math.abs(told - exact) < width, `p${percentile}: ${told} for ${exact}`)
        }
      )
    )
  })

  // [values, percentile, expected]
  const pins: [number[], number, number][] = [
    [[1, 2], 50, 1],
    [[1, 2], 50.00000000000001, 1],
    [[1, 2], 50.0000000000001, 2],
    [[1, 2, 2, 2, 2], 25, 2],
    [[1, 2, 2, 2, 2], 30, 2],
    [[1, 2, 2, 2, 2], 20, 1],
    [[1, 2], -5, 1],
    [[100_000], -5, 99_968],
    [[1, 2], 105, 2],
    [[1, 2], Number.POSITIVE_INFINITY, 2],
    [[100_000], 0, 99_968],
    [[100_000], 1e-300, 100_031],
    [[], 99, 0]
  ]
  for (const [values, percentile, expected] of pins) {
    it(`p${percentile} of ${JSON.stringify(values)} is ${expected}`, () =>
      assert.equal(recorded(values).percentile(percentile), expected))
  }

  it('refuses what is no number', () => {
    for (const p of [Number.NaN, '50', undefined]) {
      assert.throws(
        () => new Histogram().percentile(p as number),
        /percentile must be a number from 0 to 100/
      )
    }
  })

  it('gives several at once, each as if it had been asked alone, however large the counts and wherever they are', () => {
    fc.assert(
      fc.property(
        anyOptions,
        fc.array(fc.tuple(anyValue, anyCount)),
        fc.array(fc.double({ min: -1, max: 101, noNaN: true })),
        (options, pairs, percentiles) => {
          const histogram = new Histogram(options)
          const shared = new Histogram({ buffer: Histogram.sharedBuffer(options) })
          for (const [value, count] of pairs) {
            histogram.record(value, count)
            shared.record(value, count)
          }
          const told = histogram.percentilesAt(percentiles)
          assert.deepEqual(
            told,
            percentiles.map(p => byWalking(histogram, p))
          )
          assert.deepEqual(
            told,
            percentiles.map(p => histogram.percentile(p))
          )
          assert.deepEqual(shared.percentilesAt(percentiles), told)
          assert.equal(histogram.max, histogram.percentile(100))
          assert.equal(histogram.min, histogram.percentile(0))
        }
      ),
      { numRuns: 30 }
    )
    const neighbours = new Histogram()
    for (let value = 0; value < 16; value++) neighbours.record(value, 2 ** 28 - 1 + value * 2 ** 27)
    assert.equal(neighbours.count, 16 * (2 ** 28 - 1) + 120 * 2 ** 27)
    assert.deepEqual(neighbours.percentilesAt([50, 25]), [10, 7])
    assert.deepEqual(new Histogram().percentilesAt([]), [])
    assert.throws(() => new Histogram().percentilesAt([50, Number.NaN]), /percentile must be a number/)
  })

  it('has percentileRank as its inverse', () => {
    const histogram = recorded([10, 20, 30, 40])
    assert.equal(histogram.percentileRank(20), 50)
    assert.equal(histogram.percentileRank(9), 0)
    assert.equal(histogram.percentileRank(largest), 100)
    assert.equal(histogram.countAtOrBelow(30), 3)
    assert.equal(new Histogram().percentileRank(5), 100)
  })
})

describe('Histogram statistics', () => {
  it('are all 0 when nothing was recorded', () => {
    const { count, sum, min, max, mean, stddev, p50, p999 } = new Histogram().snapshot()
    assert.deepEqual([count, sum, min, max, mean, stddev, p50, p999], [0, 0, 0, 0, 0, 0, 0, 0])
  })

  it('are those of the middle of each bucket', () => {
    const histogram = recorded([1, 1, 2_047, 2_048, 2_049, 100_000])
    assert.equal(histogram.mean, 17_691.166666666668)
    assert.equal(histogram.min, 1)
    assert.equal(histogram.max, 100_031)
    const { count, p50, p99 } = histogram.snapshot()
    assert.deepEqual([count, p50, p99], [6, 2_047, 100_031])
    const small = recorded([2, 4, 4, 4, 5, 5, 7, 9])
    assert.equal(small.sum, 40)
    assert.equal(small.stddev, 2)
  })

  it('tell the range as wide as its buckets are', () => {
    const histogram = recorded([1_000, 5_000], { lowest: 1_024, highest: 2 ** 30, significantDigits: 2 })
    assert.equal(histogram.min, 0)
    assert.equal(histogram.max, 5_119)
    assert.equal(recorded([100_000]).min, 99_968)
  })
})

describe('Histogram.recordCorrected', () => {
  it('records what the naive loop records', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 8_000 }), fc.integer({ min: 0, max: 500 }))),
        pairs => {
          const ours = new Histogram({ highest: 6_000 })
          const naive = new Histogram({ highest: 6_000 })
          for (const [value, interval] of pairs) {
            ours.recordCorrected(value, interval, 2)
            naive.record(value, 2)
            if (interval === 0) continue
            for (let missing = value - interval; missing >= interval; missing -= interval)
              naive.record(missing, 2)
          }
          assert.deepEqual(contents(ours), contents(naive))
          assert.equal(ours.overflowCount, naive.overflowCount)
        }
      )
    )
  })

  it('does not take long though the value is huge and the interval tiny', () => {
    const histogram = new Histogram({ highest: largest })
    histogram.recordCorrected(largest, 1)
    assert.equal(histogram.countAt(1), 1)
    assert.equal(histogram.countAt(2 ** 40), histogram.sizeOfEquivalentValueRange(2 ** 40))
    const short = new Histogram({ highest: 1_000 })
    short.recordCorrected(1e300, 1)
    assert.equal(short.countAtOrBelow(999), 999)
  })

  it('refuses and counts what is no interval', () => {
    const histogram = new Histogram()
    for (const interval of [Number.NaN, '1', null]) histogram.recordCorrected(5, interval as number)
    histogram.recordCorrected(Number.NaN, 1)
    histogram.recordCorrected(10, 1, -1)
    assert.equal(histogram.invalidCount, 5)
    assert.equal(histogram.count, 0)
  })

  it('corrects nothing where no value is missing', () => {
    const histogram = new Histogram()
    for (const interval of [
      0,
      0.9,
      -1,
      Number.NEGATIVE_INFINITY,
      1_000,
      501,
      2_000,
      Number.POSITIVE_INFINITY
    ]) {
      histogram.recordCorrected(1_000, interval)
    }
    assert.equal(histogram.countAt(1_000), 8)
    assert.equal(histogram.count, 8)
    histogram.recordCorrected(1_000, 500)
    assert.deepEqual([histogram.countAt(1_000), histogram.countAt(500), histogram.count], [9, 1, 10])
  })
})

describe('Histogram arithmetic', () => {
  it('adds and subtracts as if all had been recorded in one', () => {
    fc.assert(
      fc.property(anyOptions, fc.array(anyValue), fc.array(anyValue), (options, left, right) => {
        const sum = recorded(left, options)
        sum.add(recorded(right, options))
        const both = recorded([...left, ...right], options)
        assert.deepEqual(sum.snapshot(), both.snapshot())
        sum.subtract(recorded(left, options))
        assert.deepEqual(sum.snapshot(), recorded(right, options).snapshot())
      })
    )
  })

  it('adds a finer histogram to a coarser one exactly', () => {
    const values = [0, 3, 999, 12_345, 1_999_999]
    const sum = new Histogram({ significantDigits: 1 })
    sum.add(recorded(values, { significantDigits: 4 }))
    assert.deepEqual(sum.snapshot(), recorded(values, { significantDigits: 1 }).snapshot())
  })

  it('counts what it has no room for as the highest', () => {
    const sum = new Histogram({ highest: 1_000 })
    sum.add(recorded([5, 2_047, 2_048, 1e6, 1e12], { highest: 1e9 }))
    // 1e12 was above the other's highest already. 2047 still has a counter here.
    assert.equal(sum.overflowCount, 4)
    assert.equal(sum.count, 5)
    assert.equal(sum.countAt(1_000), 3)
    assert.equal(sum.countAt(2_047), 1)
  })

  it('adds itself, and carries', () => {
    const histogram = recorded([1, 2])
    histogram.record(1, 2 ** 31)
    histogram.add(histogram)
    histogram.record(1)
    assert.equal(histogram.countAt(1), 2 ** 32 + 3)
  })

  it('subtracts all or nothing', () => {
    const histogram = recorded([1, 2, 3])
    const before = histogram.snapshot()
    assert.throws(() => histogram.subtract(recorded([1, 3, 3])), {
      name: 'HistogramError',
      code: 'ERR_HISTOGRAM_SUBTRACT',
      message: 'Histogram: cannot subtract 2 values at 3, there are 1'
    })
    assert.deepEqual(histogram.snapshot(), before)
  })

  it('copies and resets', () => {
    const histogram = recorded([1, 5e9, Number.NaN])
    histogram.record(1, 2 ** 33)
    const copy = histogram.copy()
    histogram.reset()
    assert.deepEqual(histogram.snapshot(), new Histogram().snapshot())
    assert.deepEqual(
      [copy.count, copy.overflowCount, copy.invalidCount, copy.max],
      [2 ** 33 + 2, 1, 1, 3_600_809_983]
    )
    histogram.record(1)
    assert.equal(histogram.count, 1)
  })
})
