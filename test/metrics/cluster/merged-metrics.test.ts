import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  ReportedMetric,
  type ReportPiece,
  reportPieces
} from '../../../lib/metrics/cluster/cluster-report.ts'
import { mergedMetrics } from '../../../lib/metrics/cluster/merged-metrics.ts'
import {
  type HistogramMetric,
  type HistogramPoint,
  LabelSet,
  type Metric,
  type ScalarMetric
} from '../../../lib/metrics/metric.ts'
import { NativeCounts } from '../../../lib/metrics/series/native-counts.ts'
import { fc } from '../../support/seeded.ts'

const bounds = [0.1, 1, 10]
const get = new LabelSet([['method', 'GET']])
const post = new LabelSet([['method', 'POST']])

function scalar(type: 'counter' | 'gauge', values: [LabelSet, number][]): ScalarMetric {
  return {
    name: 'x_total',
    help: 'X.',
    type,
    unit: 'total',
    points: () => values.map(([labels, value]) => ({ labels, value }))
  }
}

function histogram(points: HistogramPoint[], ownBounds = bounds): HistogramMetric {
  return {
    name: 'seconds',
    help: 'Time.',
    type: 'histogram',
    bounds: ownBounds,
    points: () => points,
    onObservation: () => () => undefined
  }
}

function point(values: readonly number[], { labels = get, schema = 3, at = 1 } = {}): HistogramPoint {
  const native = new NativeCounts(schema)
  const counts = [0, 0, 0, 0]
  const exemplars: HistogramPoint['exemplars'] & unknown[] = [undefined, undefined, undefined, undefined]
  for (const value of values) {
    native.observe(value)
    const bucket = bounds.filter(bound => value > bound).length
    counts[bucket]!++
    exemplars[bucket] = { traceId: 'a', spanId: 'b', value, timestamp: at }
  }
  const sum = values.reduce((total, value) => total + value, 0)
  return { labels, counts, count: values.length, sum, createdAt: at, exemplars, native }
}

function fail(metric: Metric, error: unknown): never {
  throw new Error(metric.name, { cause: error })
}

/** Out of the process and back, through JSON. */
function travelled(metric: Metric): Metric {
  let reported: ReportedMetric | undefined
  for (const piece of reportPieces(0, [metric], {}, fail)) {
    const arrived = JSON.parse(JSON.stringify(piece)) as ReportPiece
    if (!('metric' in arrived)) continue
    reported ??= new ReportedMetric(arrived.metric)
    reported.add(arrived.metric)
  }
  return reported!.metric
}

function merged(...metrics: Metric[]): Metric[] {
  return mergedMetrics(
    metrics.map((metric, i) => ({ process: String(i), metrics: [metric] })),
    fail
  )
}

function pointsOf(metric: Metric | undefined): HistogramPoint[] {
  return [...(metric as HistogramMetric).points()]
}

/** Without the zeros around what was counted. */
function nativeContent({ native }: HistogramPoint): [number, number][] {
  const counts = Array.from(native!.counts, (count, i): [number, number] => [native!.firstIndex + i, count])
  return counts.filter(([, count]) => count > 0)
}

describe('mergedMetrics', () => {
  it('adds counters up by their labels', () => {
    const [sum] = merged(
      scalar('counter', [
        [get, 1],
        [post, 2]
      ]),
      scalar('counter', [[post, 5]])
    )
    assert.deepEqual(
      [...(sum as ScalarMetric).points()],
      [
        { labels: get, value: 1 },
        { labels: post, value: 7 }
      ]
    )
    assert.equal(sum!.unit, 'total')
  })

  it('tells gauges apart by their process, and leaves those of gone processes out', () => {
    const gauge = scalar('gauge', [[get, 1]])
    const sets = [
      { process: '1', metrics: [gauge] },
      { process: '2', metrics: [gauge] },
      { process: undefined, metrics: [gauge] }
    ]
    const [apart] = mergedMetrics(sets, fail)
    assert.deepEqual(
      [...(apart as ScalarMetric).points()].map(({ labels }) => labels.text),
      ['method="GET",cluster_worker="1"', 'method="GET",cluster_worker="2"']
    )
    assert.deepEqual(mergedMetrics(sets.slice(2), fail), [])
  })

  it('adds histograms up as if one process had observed it all, native buckets too, after any travel', () => {
    const seconds = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { maxLength: 30 })
    fc.assert(
      fc.property(seconds, seconds, (left, right) => {
        const [sum] = merged(travelled(histogram([point(left)])), travelled(histogram([point(right)])))
        const [both] = pointsOf(sum)
        const alone = point([...left, ...right])
        assert.deepEqual(both!.counts, alone.counts)
        assert.equal(both!.count, alone.count)
        assert.ok(Math.abs(both!.sum - alone.sum) <= 1e-9 * alone.sum)
        assert.equal(both!.native!.zeroCount, alone.native!.zeroCount)
        assert.deepEqual(nativeContent(both!), nativeContent(alone))
      })
    )
  })

  it('keeps the latest exemplar of each bucket and the earliest start', () => {
    const early = point([0.05, 5], { at: 10 })
    const late = point([0.06, 0.5], { at: 20 })
    for (const order of [
      [early, late],
      [late, early]
    ] as const) {
      const [sum] = pointsOf(merged(histogram([order[0]]), travelled(histogram([order[1]])))[0])
      assert.deepEqual(
        sum!.exemplars!.map(exemplar => exemplar?.value),
        [0.06, 0.5, 5, undefined]
      )
      assert.equal(sum!.createdAt, 10)
    }
    const without: HistogramPoint = { ...early, exemplars: undefined, native: undefined }
    const [sum] = pointsOf(merged(histogram([without]), histogram([late]))[0])
    assert.deepEqual(sum!.exemplars, late.exemplars)
    assert.equal(sum!.native, undefined)
    assert.equal(pointsOf(merged(histogram([without]), histogram([without]))[0])[0]!.exemplars, undefined)
  })

  it('gives no native buckets where resolutions differ', () => {
    const [sum] = pointsOf(merged(histogram([point([1])]), histogram([point([1], { schema: 5 })]))[0])
    assert.equal(sum!.native, undefined)
    assert.equal(sum!.count, 2)
  })

  it('leaves the sources as they are', () => {
    const first = point([1])
    const [sum] = merged(histogram([first, point([2], { labels: post })]), histogram([point([1])]))
    assert.deepEqual(
      pointsOf(sum).map(({ count }) => count),
      [2, 1]
    )
    assert.equal(first.count, 1)
    assert.equal((sum as HistogramMetric).onObservation(() => undefined)(), undefined)
  })

  it('leaves out, and tells of, what does not fit or cannot be read', () => {
    const broken: ScalarMetric = {
      ...scalar('counter', []),
      name: 'broken_total',
      points: () => {
        throw new Error('no')
      }
    }
    const told: unknown[] = []
    const sets = [
      { process: '1', metrics: [scalar('counter', [[get, 1]]), histogram([point([1])]), broken] },
      {
        process: '2',
        metrics: [scalar('gauge', [[get, 1]]), histogram([point([1])], [1]), histogram([point([2])])]
      },
      { process: '3', metrics: [{ ...scalar('counter', [[get, 9]]), name: 'seconds' }] }
    ]
    const all = mergedMetrics(sets, (metric, error) =>
      told.push(`${metric.name}: ${(error as Error).message}`)
    )
    assert.deepEqual(
      told,
      [
        'broken_total: no',
        'x_total has another type or other bounds in another process',
        'seconds has another type or other bounds in another process',
        'seconds has another type or other bounds in another process'
      ].map((text, i) => (i === 0 ? text : `${text.split(' ')[0]}: ${text}`))
    )
    assert.equal(pointsOf(all[1])[0]!.count, 2)
  })
})

describe('reportPieces', () => {
  it('carries numbers that JSON has none for', () => {
    const values: [LabelSet, number][] = [
      [get, Number.NaN],
      [post, Number.POSITIVE_INFINITY]
    ]
    const arrived = travelled(scalar('gauge', values)) as ScalarMetric
    assert.deepEqual(
      [...arrived.points()].map(({ value }) => value),
      [Number.NaN, Number.POSITIVE_INFINITY]
    )
    const infinite = { ...point([1]), sum: Number.POSITIVE_INFINITY }
    const travelledHistogram = travelled(histogram([infinite])) as HistogramMetric
    assert.equal(pointsOf(travelledHistogram)[0]!.sum, Number.POSITIVE_INFINITY)
    assert.equal(travelledHistogram.onObservation(() => undefined)(), undefined)
  })

  it('tells of a metric that cannot be read', () => {
    const told: string[] = []
    const broken = {
      ...scalar('counter', []),
      points: () => [{ labels: undefined as unknown as LabelSet, value: 1 }]
    }
    const pieces = [...reportPieces(3, [broken], {}, metric => told.push(metric.name))]
    assert.deepEqual(told, ['x_total'])
    assert.deepEqual(pieces, [
      { ostiary: 'metrics_report', begin: true },
      { ostiary: 'metrics_report', complete: true, request: 3 }
    ])
  })
})
