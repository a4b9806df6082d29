import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import protobuf from 'protobufjs'
import { expose } from '../../../lib/metrics/exposition/exposition.ts'
import { PrometheusProtobuf } from '../../../lib/metrics/exposition/prometheus-protobuf.ts'
import { type HistogramPoint, LabelSet } from '../../../lib/metrics/metric.ts'
import { MetricRegistry } from '../../../lib/metrics/metric-registry.ts'
import { DurationBuckets } from '../../../lib/metrics/series/duration-buckets.ts'
import { fc } from '../../support/seeded.ts'

interface Family {
  name: string
  help: string
  type: string
  unit?: string
  metric: {
    label?: { name: string; value: string }[]
    counter?: { value: number }
    gauge?: { value: number }
    histogram?: Histogram
  }[]
}
interface Histogram {
  sampleCount: number
  sampleSum: number
  bucket: { cumulativeCount: number; upperBound: number; exemplar?: unknown }[]
  schema: number
  zeroThreshold: number
  zeroCount: number
  positiveSpan: { offset?: number; length?: number }[]
  positiveDelta: number[]
  createdTimestamp: { seconds: number; nanos: number }
}

const schema = protobuf.loadSync(fileURLToPath(new URL('metrics.proto', import.meta.url)))
const familyType = schema.lookupType('io.prometheus.client.MetricFamily')

/** Every delimited family of an answer; protobufjs refuses what it cannot read. */
function families(registry: MetricRegistry): Map<string, Family> {
  const reader = protobuf.Reader.create(expose(registry, new PrometheusProtobuf(16)))
  const found = new Map<string, Family>()
  while (reader.pos < reader.len) {
    const decoded = familyType.toObject(familyType.decodeDelimited(reader), { longs: Number, enums: String })
    found.set(decoded['name'], decoded as Family)
  }
  return found
}

function histogramOf(point: HistogramPoint, bounds: readonly number[]): Histogram {
  const registry = new MetricRegistry()
  registry.add({
    metrics: [
      {
        name: 'h_seconds',
        type: 'histogram',
        unit: 'seconds',
        help: 'H.',
        bounds,
        points: () => [point],
        onObservation: () => () => {}
      }
    ]
  })
  return families(registry).get('h_seconds')!.metric[0].histogram!
}

/** The counts of native buckets by index, as a reader of the format adds them up. */
function nativeCounts({ positiveSpan, positiveDelta }: Histogram): Map<number, number> {
  const counts = new Map<number, number>()
  let index = 0
  let count = 0
  let next = 0
  for (const { offset = 0, length = 0 } of positiveSpan) {
    index += offset
    for (let i = 0; i < length; i++) {
      count += positiveDelta[next++]
      if (count !== 0) counts.set(index, count)
      index++
    }
  }
  return counts
}

test('counters and gauges, with labels of any text', () => {
  const registry = new MetricRegistry()
  registry.source(
    () => [['é "\n\u{1f512}', -1.5] as const, ['plain', 2 ** 53] as const],
    [
      {
        name: 'g_bytes',
        type: 'gauge',
        unit: 'bytes',
        help: 'Über alles.',
        labels: ['l'],
        value: values => values.map(([label, value]) => [[label], value] as const)
      },
      { name: 'c_total', type: 'counter', help: 'C.', value: () => 7 }
    ]
  )
  const found = families(registry)
  assert.deepEqual(found.get('g_bytes'), {
    name: 'g_bytes',
    help: 'Über alles.',
    type: 'GAUGE',
    unit: 'bytes',
    metric: [
      { label: [{ name: 'l', value: 'é "\n\u{1f512}' }], gauge: { value: -1.5 } },
      { label: [{ name: 'l', value: 'plain' }], gauge: { value: 2 ** 53 } }
    ]
  })
  assert.deepEqual(found.get('c_total')?.metric, [{ counter: { value: 7 } }])
  assert.equal(found.get('ostiary_metrics_read_errors_total')?.type, 'COUNTER')
})

test('a metric that cannot be read leaves nothing behind', t => {
  t.mock.method(process, 'emitWarning', () => {})
  const registry = new MetricRegistry()
  registry.source(
    (): number => JSON.parse('{'),
    [{ name: 'broken', type: 'gauge', help: 'B.', value: v => v }]
  )
  registry.source(() => 3, [{ name: 'whole', type: 'gauge', help: 'W.', value: v => v }])
  const found = families(registry)
  assert.equal(found.has('broken'), false)
  assert.deepEqual(found.get('whole')?.metric, [{ gauge: { value: 3 } }])
})

test('classic buckets are cumulative and carry their exemplars', () => {
  const bounds = [0.1, 1]
  const point = new DurationBuckets(bounds, new LabelSet([['a', 'b']]))
  for (const seconds of [0.05, 0.1, 0.5, 7]) point.observe(seconds)
  point.keepExemplar(2, {
    traceId: 'a'.repeat(32),
    spanId: 'b'.repeat(16),
    value: 7,
    timestamp: 1_700_000_000.5
  })
  const { bucket, sampleCount, sampleSum, createdTimestamp, positiveSpan } = histogramOf(point, bounds)
  assert.equal(sampleCount, 4)
  assert.equal(sampleSum, 7.65)
  assert.deepEqual(bucket, [
    { cumulativeCount: 2, upperBound: 0.1 },
    { cumulativeCount: 3, upperBound: 1 },
    {
      cumulativeCount: 4,
      upperBound: Infinity,
      exemplar: {
        label: [
          { name: 'trace_id', value: 'a'.repeat(32) },
          { name: 'span_id', value: 'b'.repeat(16) }
        ],
        value: 7,
        timestamp: { seconds: 1_700_000_000, nanos: 500_000_000 }
      }
    }
  ])
  const created = createdTimestamp.seconds + createdTimestamp.nanos / 1e9
  assert.ok(Math.abs(created - point.createdAt) < 1e-6)
  assert.equal(positiveSpan, undefined)
})

test('spans and deltas of native buckets add up to what was counted', () => {
  const values = fc.array(
    fc.tuple(fc.double({ min: 1e-6, max: 1e4, noNaN: true }), fc.integer({ min: 1, max: 9 }))
  )
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5 }), values, (schemaNumber, observed) => {
      const point = new DurationBuckets([1], LabelSet.empty, schemaNumber)
      for (const [seconds, times] of observed) for (let i = 0; i < times; i++) point.observe(seconds)
      const histogram = histogramOf(point, [1])
      const expected = new Map<number, number>()
      for (const [i, count] of point.native!.counts.entries()) {
        if (count > 0) expected.set(point.native!.firstIndex + i, count)
      }
      assert.deepEqual(nativeCounts(histogram), expected)
      assert.equal(histogram.schema, schemaNumber)
      assert.equal(histogram.zeroCount, 0)
      assert.ok(histogram.zeroThreshold > 0 && histogram.positiveSpan.length > 0)
    })
  )
})

test('counts above 32 bits and falls between neighbours survive', () => {
  const point = new DurationBuckets([1], LabelSet.empty, 0)
  point.observe(1)
  point.observe(2)
  point.native!.counts[0] = 2 ** 45 + 1
  point.counts[0] = 2 ** 45 + 1
  const histogram = histogramOf(point, [1])
  assert.deepEqual(
    [...nativeCounts(histogram)],
    [
      [0, 2 ** 45 + 1],
      [1, 1]
    ]
  )
  assert.equal(histogram.bucket[0].cumulativeCount, 2 ** 45 + 1)
})
