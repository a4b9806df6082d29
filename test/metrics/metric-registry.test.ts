import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Reporter } from '../../lib/http/reporter.ts'
import { MetricRegistry, type StatMetric } from '../../lib/metrics/metric-registry.ts'
import { sampleOf, samples } from './samples.ts'

function textOf(registry: MetricRegistry): string {
  return registry.toPrometheus()
}

const gauge = { type: 'gauge', help: 'A gauge.', value: () => 1 } as const
const counter = { type: 'counter', help: 'A counter.', value: () => 1 } as const

test('a source is read when it is asked, and gives one number or many', () => {
  const registry = new MetricRegistry()
  const stats = { keys: 3, hits: new Map([['a', 1]]), age: undefined as number | undefined }
  registry.source(
    () => stats,
    [
      { name: 'keys', type: 'gauge', help: 'Keys.', value: s => s.keys },
      { name: 'age_seconds', type: 'gauge', unit: 'seconds', help: 'Age.', value: s => s.age },
      {
        name: 'hits_total',
        type: 'counter',
        help: 'Hits.',
        labels: ['cache', 'empty'],
        value: s => [...s.hits].map(([name, count]) => [[name, ''], count] as const)
      }
    ]
  )
  assert.equal(sampleOf(textOf(registry), 'keys'), 3)
  assert.equal(sampleOf(textOf(registry), 'age_seconds'), undefined)
  stats.keys = 4
  stats.age = 1.5
  stats.hits.set('b', 2)
  const text = textOf(registry)
  assert.equal(sampleOf(text, 'keys'), 4)
  assert.equal(sampleOf(text, 'age_seconds'), 1.5)
  assert.match(text, /^hits_total\{cache="b"\} 2$/m)
})

test('names, labels and units are checked when they come', () => {
  const table: [object, RegExp][] = [
    [{ ...gauge, name: '' }, /name must be a Prometheus metric name, got ""/],
    [{ ...gauge, name: '1a' }, /got "1a"/],
    [{ ...gauge, name: 'a-b' }, /got "a-b"/],
    [{ ...gauge, name: 'a\nb' }, /got "a\\nb"/],
    [{ ...gauge, name: undefined }, /got undefined/],
    [{ ...gauge, name: 'a', help: '' }, /help of a must say what it is, got ""/],
    [{ ...gauge, name: 'a', type: 'summary' }, /type of a must be counter, gauge or histogram, got summary/],
    [{ ...counter, name: 'a' }, /counter must end in _total, got a/],
    [{ ...counter, name: '_total' }, /counter must end in _total, got _total/],
    [{ ...gauge, name: 'a_total' }, /must not end like a sample of another type, got a_total/],
    [{ ...gauge, name: 'a_bucket' }, /got a_bucket/],
    [{ ...counter, name: 'a_created_total' }, /got a_created_total/],
    [{ ...gauge, name: 'a_ms', unit: 'seconds' }, /unit of a_ms must be the end of its name, got "seconds"/],
    [{ ...gauge, name: 'seconds', unit: 'seconds' }, /unit/],
    [{ ...gauge, name: 'a', labels: ['le'] }, /labels of a must be .* not reserved, got "le"/],
    [{ ...gauge, name: 'a', labels: ['quantile'] }, /"quantile"/],
    [{ ...gauge, name: 'a', labels: ['__a'] }, /"__a"/],
    [{ ...gauge, name: 'a', labels: ['a-b'] }, /"a-b"/],
    [{ ...gauge, name: 'a', labels: ['b', 'b'] }, /labels of a must differ, got \["b","b"\]/],
    [{ ...gauge, name: 'a', labels: [7] }, /got 7/],
    [{ ...gauge, name: 'a', value: 7 }, /value of a must be a function, got 7/]
  ]
  for (const [metric, message] of table) {
    const registry = new MetricRegistry()
    assert.throws(() => registry.source(() => 0, [metric as StatMetric<number>]), message)
  }
  assert.throws(() => new MetricRegistry().source(7 as never, []), /source must be read by a function, got 7/)
  assert.throws(() => new MetricRegistry({ maxSamples: 0 }), /MetricRegistry: maxSamples must be .* got 0/)
})

test('no two metrics have a sample name in common', () => {
  const registry = new MetricRegistry()
  registry.source(() => 0, [{ ...counter, name: 'x_total' }])
  assert.throws(() => registry.source(() => 0, [{ ...counter, name: 'x_total' }]), /the name x is taken/)
  assert.throws(() => registry.source(() => 0, [{ ...gauge, name: 'x' }]), /the name x is taken/)
  registry.source(() => 0, [{ ...gauge, name: 'y' }])
  assert.throws(() => registry.source(() => 0, [{ ...counter, name: 'y_total' }]), /the name y is taken/)
})

test('a metric with too many samples is cut, and the rest is counted', () => {
  const registry = new MetricRegistry({ maxSamples: 2 })
  registry.source(
    () => ['a', 'b', 'c', 'd'],
    [{ ...gauge, name: 'many', labels: ['l'], value: names => names.map(name => [[name], 1] as const) }]
  )
  assert.equal(samples(textOf(registry)).filter(sample => sample.name === 'many').length, 2)
  assert.deepEqual(registry.stats, { readErrors: 0, droppedSamples: 2 })
})

test('a source that gives anything else is left out, counted and told', () => {
  const told: string[] = []
  const reporter = new Reporter({
    onReport: ({ what, error }) => told.push(`${what}: ${(error as Error).message}`)
  })
  const registry = new MetricRegistry({ reporter })
  const values: unknown[] = [
    null,
    'five',
    {},
    [[['a', 'b'], 1]],
    [[['a'], 'x']],
    [1],
    1n,
    [
      [['a'], 1],
      [['a'], 2]
    ]
  ]
  values.forEach((value, i) => {
    registry.source(() => value, [{ ...gauge, name: `bad${i}`, labels: ['l'], value: v => v as number }])
  })
  registry.source(() => JSON.parse('{'), [{ ...gauge, name: 'thrown' }])
  const names = samples(textOf(registry)).map(sample => sample.name)
  assert.deepEqual(names, ['ostiary_metrics_read_errors_total', 'ostiary_metrics_dropped_samples_total'])
  assert.equal(registry.stats.readErrors, values.length + 1)
  assert.deepEqual(told, ['metrics_read: bad0 cannot be read'])
})

test('a counter that is no number from 0 up is left out: a strict reader would refuse the whole answer', () => {
  const registry = new MetricRegistry({ reporter: new Reporter({ onReport: () => undefined }) })
  const values = [-1, Number.NaN, [[['a'], -0.5]], 0, Number.POSITIVE_INFINITY]
  values.forEach((value, i) => {
    registry.source(
      () => value,
      [{ name: `made_${i}_total`, type: 'counter', help: 'Made.', labels: ['l'], value: v => v as number }]
    )
  })
  const made = samples(textOf(registry)).filter(({ name }) => name.startsWith('made_'))
  assert.deepEqual(
    made.map(({ name }) => name),
    ['made_3_total', 'made_4_total']
  )
  assert.equal(registry.stats.readErrors, 3)
})

test('label values that are the same in UTF-8 are given twice', () => {
  const registry = new MetricRegistry({ reporter: new Reporter({ onReport: () => undefined }) })
  const twice = [
    [['\ud800'], 1],
    [['\ud801'], 2]
  ]
  registry.source(() => twice, [{ ...gauge, name: 'twice', labels: ['l'], value: v => v as never }])
  assert.ok(!textOf(registry).includes('twice'))
  assert.equal(registry.stats.readErrors, 1)
})

test('a listener hears of every metric, those that were there and those that come', () => {
  const registry = new MetricRegistry()
  const heard: string[] = []
  const stop = registry.onMetric(metric => heard.push(metric.name))
  registry.source(() => 0, [{ ...gauge, name: 'late' }])
  stop()
  registry.source(() => 0, [{ ...gauge, name: 'later' }])
  assert.deepEqual(heard, [
    'ostiary_metrics_read_errors_total',
    'ostiary_metrics_dropped_samples_total',
    'late'
  ])
})
