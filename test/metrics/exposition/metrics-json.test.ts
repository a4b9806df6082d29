import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expose } from '../../../lib/metrics/exposition/exposition.ts'
import { MetricsJson } from '../../../lib/metrics/exposition/metrics-json.ts'
import { LabelSet } from '../../../lib/metrics/metric.ts'
import { MetricRegistry } from '../../../lib/metrics/metric-registry.ts'
import { DurationBuckets } from '../../../lib/metrics/series/duration-buckets.ts'

test('every metric is a member, also beside one that cannot be read', t => {
  t.mock.method(process, 'emitWarning', () => {})
  const registry = new MetricRegistry()
  registry.source(
    (): number => JSON.parse('{'),
    [{ name: 'broken', type: 'gauge', help: 'Broken.', value: v => v }]
  )
  registry.source(
    () => [['a "b"\n\u2028é', 1] as const, ['c', Number.NaN] as const],
    [
      {
        name: 'level_bytes',
        type: 'gauge',
        unit: 'bytes',
        help: 'The "level".',
        labels: ['l'],
        value: rows => rows.map(([label, value]) => [[label], value] as const)
      }
    ]
  )
  const point = new DurationBuckets([0.5, 1], new LabelSet([['a', 'b']]))
  for (const seconds of [0.5, 0.75, 3]) point.observe(seconds)
  registry.add({
    metrics: [
      {
        name: 'wait_seconds',
        type: 'histogram',
        help: 'Wait.',
        bounds: [0.5, 1],
        points: () => [point],
        onObservation: () => () => {}
      }
    ]
  })
  const { ostiary_metrics_dropped_samples_total: dropped, ...rest } = JSON.parse(
    expose(registry, new MetricsJson(1)).toString()
  )
  assert.deepEqual(dropped.samples, [{ labels: {}, value: 0 }])
  delete rest.ostiary_metrics_read_errors_total
  assert.deepEqual(rest, {
    level_bytes: {
      type: 'gauge',
      help: 'The "level".',
      unit: 'bytes',
      samples: [
        { labels: { l: 'a "b"\n\u2028é' }, value: 1 },
        { labels: { l: 'c' }, value: null }
      ]
    },
    wait_seconds: {
      type: 'histogram',
      help: 'Wait.',
      samples: [
        {
          labels: { a: 'b' },
          count: 3,
          sum: 4.25,
          buckets: [
            [0.5, 1],
            [1, 2]
          ]
        }
      ]
    }
  })
})
