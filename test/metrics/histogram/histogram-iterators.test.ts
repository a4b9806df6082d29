import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as hdr from 'hdr-histogram-js'
import { Histogram } from '../../../lib/metrics/histogram/histogram.ts'
import type { HistogramStep } from '../../../lib/metrics/histogram/histogram-iterators.ts'
import { percentileOutput } from '../../../lib/metrics/histogram/percentile-output.ts'
import { fc } from '../../support/seeded.ts'

/** The data of the reference's own tests: 10 000 values of 1 ms and one of 100 s, raw and corrected for 10 ms. */
const raw = new Histogram()
const corrected = new Histogram()
raw.record(1_000, 10_000)
raw.record(100_000_000)
for (let i = 0; i < 10_000; i++) corrected.recordCorrected(1_000, 10_000)
corrected.recordCorrected(100_000_000, 10_000)

function added(steps: Iterable<HistogramStep>): number[] {
  return [...steps].map(step => step.countAddedInThisIterationStep)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

function plain(steps: Iterable<HistogramStep>): Omit<HistogramStep, 'totalValueToThisValue'>[] {
  return [...steps].map(step => ({
    valueIteratedFrom: step.valueIteratedFrom,
    valueIteratedTo: step.valueIteratedTo,
    countAtValueIteratedTo: step.countAtValueIteratedTo,
    countAddedInThisIterationStep: step.countAddedInThisIterationStep,
    totalCountToThisValue: step.totalCountToThisValue,
    percentile: step.percentile,
    percentileLevelIteratedTo: step.percentileLevelIteratedTo
  }))
}

/** The reference gives the same object again and again. */
function* drained(iterator: { hasNext(): boolean; next(): HistogramStep }): Generator<HistogramStep> {
  while (iterator.hasNext()) yield { ...iterator.next() }
}

describe('linearBucketValues', () => {
  it('takes 1000 steps of 100 ms to 100 s', () => {
    const counts = added(raw.linearBucketValues(100_000))
    assert.equal(counts.length, 1_000)
    assert.equal(counts[0], 10_000)
    assert.equal(counts[999], 1)
    assert.equal(sum(counts), 10_001)
  })

  it('takes 10 000 steps of 10 ms, and those of 1 ms go on to the end of the last bucket', () => {
    const counts = added(corrected.linearBucketValues(10_000))
    assert.equal(counts.length, 10_000)
    assert.equal(counts[0], 10_000)
    assert.equal(sum(counts), 20_000)
    assert.equal(added(corrected.linearBucketValues(1_000)).length, 100_007)
  })
})

describe('logarithmicBucketValues', () => {
  it('takes 15 doublings from 10 ms to 100 s', () => {
    const counts = added(raw.logarithmicBucketValues(10_000, 2))
    assert.deepEqual(counts, [10_000, ...new Array(13).fill(0), 1])
    const all = added(corrected.logarithmicBucketValues(10_000, 2))
    assert.equal(all.length, 15)
    assert.equal(sum(all), 20_000)
  })

  it('comes to an end beyond every range', () => {
    const histogram = new Histogram({ highest: Number.MAX_SAFE_INTEGER })
    histogram.record(Number.MAX_SAFE_INTEGER)
    assert.equal(sum(added(histogram.logarithmicBucketValues(1, 10))), 1)
    assert.equal(sum(added(histogram.logarithmicBucketValues(1, 1e300))), 1)
    assert.equal(sum(added(histogram.linearBucketValues(2 ** 52))), 1)
  })
})

describe('recordedValues', () => {
  it('has a step for each value apart, with running totals', () => {
    const histogram = new Histogram()
    for (const value of [5, 5, 0, 4_099]) histogram.record(value)
    assert.deepEqual(
      [...histogram.recordedValues()],
      [
        [0, 0, 1, 1, 0, 25],
        [0, 5, 2, 3, 10, 75],
        [5, 4_099, 1, 4, 4_109, 100]
      ].map(([from, to, count, total, value, percentile]) => ({
        valueIteratedFrom: from,
        valueIteratedTo: to,
        countAtValueIteratedTo: count,
        countAddedInThisIterationStep: count,
        totalCountToThisValue: total,
        totalValueToThisValue: value,
        percentile,
        percentileLevelIteratedTo: percentile
      }))
    )
  })

  it('shows the counts of the moment it was called', () => {
    const histogram = new Histogram()
    histogram.record(1)
    const steps = histogram.recordedValues()
    histogram.record(2)
    assert.equal([...steps].length, 1)
  })
})

describe('the iterators', () => {
  const anyValues = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 30 })

  it('take the same steps as those of hdr-histogram-js', () => {
    fc.assert(
      fc.property(anyValues, fc.integer({ min: 1, max: 10 }), (values, ticks) => {
        const ours = new Histogram()
        const theirs = hdr.build({ bitBucketSize: 32, highestTrackableValue: 3.6e9 }) as hdr.JsHistogram
        for (const value of values) {
          ours.record(value)
          theirs.recordValue(value)
        }
        theirs.recordedValuesIterator.reset()
        assert.deepEqual(plain(ours.recordedValues()), plain(drained(theirs.recordedValuesIterator)))
        theirs.percentileIterator.reset(ticks)
        assert.deepEqual(plain(ours.percentiles(ticks)), plain(drained(theirs.percentileIterator)))
      }),
      { numRuns: 50 }
    )
  })

  it('count in each step what is below its end and in no step before, whole counters at a time', () => {
    fc.assert(
      fc.property(anyValues, fc.integer({ min: 50, max: 5_000 }), (values, width) => {
        const histogram = new Histogram({ significantDigits: 2 })
        for (const value of values) histogram.record(value)
        const growing = histogram.logarithmicBucketValues(width, 1.5)
        for (const steps of [histogram.linearBucketValues(width), growing]) {
          let last = 0
          for (const { valueIteratedTo, totalCountToThisValue } of steps) {
            assert.equal(totalCountToThisValue, histogram.countAtOrBelow(valueIteratedTo))
            last = valueIteratedTo
          }
          assert.ok(last >= histogram.lowestEquivalentValue(Math.max(...values)))
        }
      }),
      { numRuns: 50 }
    )
  })

  it('come to an end though the count is beyond 2^53', () => {
    const histogram = new Histogram()
    for (const value of [1, 3, 5, 7, 1_000_000]) histogram.record(value, Number.MAX_SAFE_INTEGER - 2 * value)
    assert.equal([...histogram.recordedValues()].length, 5)
    assert.equal([...histogram.percentiles()].at(-1)?.percentileLevelIteratedTo, 100)
    assert.ok([...histogram.linearBucketValues(100_000)].length >= 10)
  })

  it('take no step through an empty histogram, but to the end of its first counter', () => {
    const histogram = new Histogram()
    assert.deepEqual([...histogram.recordedValues()], [])
    assert.deepEqual([...histogram.percentiles()], [])
    assert.deepEqual(added(histogram.linearBucketValues(10)), [])
    assert.deepEqual(added(histogram.linearBucketValues(1)), [0])
  })

  it('refuse steps that lead nowhere', () => {
    const histogram = new Histogram()
    for (const step of [0, -1, 0.5, Number.NaN, 2 ** 53]) {
      assert.throws(() => histogram.percentiles(step), /ticksPerHalfDistance must be a positive integer, got/)
      assert.throws(
        () => histogram.linearBucketValues(step),
        /valueUnitsPerBucket must be a positive integer, got/
      )
      assert.throws(() => histogram.logarithmicBucketValues(step, 2), /valueUnitsInFirstBucket must be/)
    }
    assert.throws(() => histogram.logarithmicBucketValues(1, 1), /logBase must be more than 1, got 1/)
  })
})

describe('percentileOutput', () => {
  const three = new Histogram()
  for (const value of [25, 50, 75]) three.record(value)

  it('is the text of the reference', () => {
    assert.equal(
      percentileOutput(three),
      `       Value     Percentile TotalCount 1/(1-Percentile)

      25.000 0.000000000000          1           1.00
      25.000 0.100000000000          1           1.11
      25.000 0.200000000000          1           1.25
      25.000 0.300000000000          1           1.43
      50.000 0.400000000000          2           1.67
      50.000 0.500000000000          2           2.00
      50.000 0.550000000000          2           2.22
      50.000 0.600000000000          2           2.50
      50.000 0.650000000000          2           2.86
      75.000 0.700000000000          3           3.33
      75.000 1.000000000000          3
#[Mean    =       50.000, StdDeviation   =       20.412]
#[Max     =       75.000, Total count    =            3]
#[Buckets =           22, SubBuckets     =         2048]
`
    )
  })

  it('is CSV on demand, scaled', () => {
    const csv = percentileOutput(three, { format: 'csv', ticksPerHalfDistance: 1, valueUnitRatio: 1_000 })
    assert.equal(
      csv,
      `"Value","Percentile","TotalCount","1/(1-Percentile)"
0.025,0.000000000000,1,1.00
0.050,0.500000000000,2,2.00
0.075,0.750000000000,3,4.00
0.075,1.000000000000,3,Infinity
`
    )
  })

  it('matches hdr-histogram-js on one value a millisecond for a second', () => {
    const ours = new Histogram({ highest: 36e9, significantDigits: 2 })
    const theirs = hdr.build({ highestTrackableValue: 36e9, numberOfSignificantValueDigits: 2 })
    for (let value = 1_000; value <= 1_000_000; value += 1_000) {
      ours.record(value)
      theirs.recordValue(value)
    }
    const text = percentileOutput(ours, { valueUnitRatio: 1_000, ticksPerHalfDistance: 10 })
    // That library prints the largest value as recorded, the reference the largest that shares its counter.
    assert.equal(text, theirs.outputPercentileDistribution(10, 1_000).replace('1000.00,', '1003.52,'))
  })

  it('rounds halves of the decimal up, as Java does', () => {
    const histogram = new Histogram({ significantDigits: 2 })
    histogram.record(1)
    const text = percentileOutput(histogram, { valueUnitRatio: 200 / 201 })
    // 1.005 is a little less in binary.
    assert.match(text, /^ {8}1\.01 1\.000000000000/m)
    const whole = new Histogram({ significantDigits: 0 })
    whole.record(1)
    assert.match(percentileOutput(whole, { valueUnitRatio: 0.4 }), /^ {11}3 1\.0{12}/m)
  })

  it('is a head and a foot when nothing was recorded', () => {
    assert.equal(percentileOutput(new Histogram(), { format: 'csv' }).split('\n').length, 2)
    assert.match(percentileOutput(new Histogram()), /Mean {4}= {8}0\.000/)
  })

  it('refuses bad options', () => {
    const bad = [
      { format: 'xml' },
      { valueUnitRatio: 0 },
      { valueUnitRatio: Number.NaN },
      { ticksPerHalfDistance: 0 }
    ]
    for (const options of bad) {
      assert.throws(() => percentileOutput(three, options as { valueUnitRatio: number }), RangeError)
    }
  })
})
