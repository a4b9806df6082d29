import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { metrics } from '../../../lib/metrics/http-metrics.ts'
import { LabelSet, type Metric } from '../../../lib/metrics/metric.ts'
import { MetricRegistry } from '../../../lib/metrics/metric-registry.ts'
import { MetricsCollector } from '../../../lib/metrics/metrics-collector.ts'
import { ProcessMetrics } from '../../../lib/metrics/process-metrics.ts'
import { DurationBuckets } from '../../../lib/metrics/series/duration-buckets.ts'
import { missing } from '../../support/program.ts'
import { fc } from '../../support/seeded.ts'
import { samples } from '../samples.ts'

const skip = missing('promtool')

function textOf(registry: MetricRegistry, options = {}): string {
  return registry.toPrometheus(options)
}

function histogramOf(name: string, point: DurationBuckets): Metric {
  return {
    name,
    type: 'histogram',
    unit: 'seconds',
    help: 'Time\nthat "was" \\ lost.',
    bounds: [0.5, 1],
    points: () => [point],
    onObservation: () => () => {}
  }
}

function histogramRegistry(): MetricRegistry {
  const registry = new MetricRegistry()
  const point = new DurationBuckets([0.5, 1], new LabelSet([['zone', 'a']]))
  for (const seconds of [0.5, 0.6, 3]) point.observe(seconds)
  point.keepExemplar(1, {
    traceId: 'a'.repeat(32),
    spanId: 'b'.repeat(16),
    value: 0.6,
    timestamp: 1_700_000_000.25
  })
  Object.defineProperty(point, 'createdAt', { value: 1_600_000_000.5 })
  registry.add({ metrics: [histogramOf('wait_seconds', point)] })
  registry.source(
    () => 7,
    [{ name: 'things_total', type: 'counter', help: 'Things.', value: value => value }]
  )
  return registry
}

const own = /# HELP ostiary_metrics_[\s\S]*?(?=# HELP wait)/

test('the text format, letter for letter', () => {
  assert.equal(
    textOf(histogramRegistry()).replace(own, ''),
    `# HELP wait_seconds Time\\nthat "was" \\\\ lost.
# TYPE wait_seconds histogram
wait_seconds_bucket{zone="a",le="0.5"} 1
wait_seconds_bucket{zone="a",le="1"} 2
wait_seconds_bucket{zone="a",le="+Inf"} 3
wait_seconds_sum{zone="a"} 4.1
wait_seconds_count{zone="a"} 3
# HELP things_total Things.
# TYPE things_total counter
things_total 7
`
  )
})

test('OpenMetrics, letter for letter', () => {
  assert.equal(
    textOf(histogramRegistry(), { openMetrics: true, created: true }).replace(own, ''),
    `# HELP wait_seconds Time\\nthat \\"was\\" \\\\ lost.
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
wait_seconds_bucket{zone="a",le="0.5"} 1
wait_seconds_bucket{zone="a",le="1.0"} 2 # {trace_id="${'a'.repeat(32)}",span_id="${'b'.repeat(16)}"} 0.6 1700000000.25
wait_seconds_bucket{zone="a",le="+Inf"} 3
wait_seconds_sum{zone="a"} 4.1
wait_seconds_count{zone="a"} 3
wait_seconds_created{zone="a"} 1600000000.5
# HELP things Things.
# TYPE things counter
things_total 7
# EOF
`
  )
})

/** Any character, and often one that means something to the format. */
const text = fc
  .array(fc.oneof(fc.string({ unit: 'binary', maxLength: 3 }), fc.constantFrom(...'"\\\n\r{}=, #né')), {
    maxLength: 6
  })
  .map(parts => parts.join(''))

test('any label value comes back as it went in, and never starts a line', () => {
  fc.assert(
    fc.property(fc.uniqueArray(text, { maxLength: 5 }), values => {
      const registry = new MetricRegistry()
      registry.source(
        () => values,
        [
          {
            name: 'said',
            type: 'gauge',
            help: 'What was said.',
            labels: ['text'],
            value: texts => texts.map((text, i) => [[text], i] as const)
          }
        ]
      )
      const said = samples(textOf(registry)).filter(sample => sample.name === 'said')
      assert.deepEqual(
        said.map(sample => sample.labels['text'] ?? ''),
        values
      )
    })
  )
})

test('numbers that are none have names', () => {
  const registry = new MetricRegistry()
  const values = [Number.NaN, Infinity, -Infinity, -0, 1e21, 5e-324, 2 ** 53]
  values.forEach((value, i) => {
    registry.source(() => value, [{ name: `n${i}`, type: 'gauge', help: 'A number.', value: v => v }])
  })
  const lines = textOf(registry)
    .split('\n')
    .filter(line => /^n\d/.test(line))
  assert.deepEqual(lines, [
    'n0 NaN',
    'n1 +Inf',
    'n2 -Inf',
    'n3 0',
    'n4 1e+21',
    'n5 5e-324',
    'n6 9007199254740992'
  ])
})

test('counts of any size have all their digits', () => {
  const registry = new MetricRegistry()
  const point = new DurationBuckets([0.5, 1])
  const values = [0, 9, 10, 99, 100, 2_147_483_647, 2_147_483_648, 2 ** 53 - 1]
  registry.add({ metrics: [histogramOf('size_seconds', point)] })
  for (const value of values) {
    point.counts[0] = value
    assert.match(registry.toPrometheus(), new RegExp(`^size_seconds_count ${value}$`, 'm'))
  }
})

test('a metric that cannot be read leaves no half of itself, and is counted and told', t => {
  const told: string[] = []
  t.mock.method(process, 'emitWarning', (message: string) => told.push(message))
  const registry = new MetricRegistry()
  const point = new DurationBuckets([1])
  registry.add({
    metrics: [
      {
        name: 'broken_seconds',
        type: 'histogram',
        help: 'Broken.',
        bounds: [1],
        *points() {
          yield point
          throw new Error('no more')
        },
        onObservation: () => () => {}
      }
    ]
  })
  registry.source(() => 1, [{ name: 'whole', type: 'gauge', help: 'Whole.', value: value => value }])
  const text = textOf(registry)
  assert.ok(!text.includes('broken_seconds'))
  assert.match(text, /^whole 1$/m)
  assert.match(textOf(registry), /^ostiary_metrics_read_errors_total 1$/m)
  assert.equal(registry.stats.readErrors, 2)
})

test('promtool reads everything that Ostiary measures', { skip }, t => {
  const measured = metrics()
  measured.registry.add(new MetricsCollector())
  const processMetrics = new ProcessMetrics()
  t.after(() => processMetrics.close())
  measured.registry.add(processMetrics)
  const { status, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: textOf(measured.registry) })
  const complaints = stderr
    .toString()
    .trim()
    .split('\n')
    .filter(line => !line.startsWith('auth_validation_duration_avg_ms'))
  assert.deepEqual(complaints, [], 'nothing but the unit of an inherited name')
  assert.equal(status, 3)
})
