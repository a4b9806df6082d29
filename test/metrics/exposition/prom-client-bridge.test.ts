import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AggregatorRegistry, Counter, Registry } from 'prom-client'
import { bridgeToPromClient } from '../../../lib/metrics/exposition/prom-client-bridge.ts'
import { LabelSet, type Metric } from '../../../lib/metrics/metric.ts'
import { MetricRegistry } from '../../../lib/metrics/metric-registry.ts'
import { DurationBuckets } from '../../../lib/metrics/series/duration-buckets.ts'
import { samples } from '../samples.ts'

function filledRegistry(): MetricRegistry {
  const registry = new MetricRegistry()
  const point = new DurationBuckets([0.5, 1], new LabelSet([['route', '/a "b"\\\n']]))
  for (const seconds of [0.5, 0.6, 3]) point.observe(seconds)
  point.keepExemplar(1, {
    traceId: 'a'.repeat(32),
    spanId: 'b'.repeat(16),
    value: 0.6,
    timestamp: 1_700_000_000.25
  })
  const histogram: Metric = {
    name: 'wait_seconds',
    type: 'histogram',
    unit: 'seconds',
    help: 'Wait.',
    bounds: [0.5, 1],
    points: () => [point],
    onObservation: () => () => {}
  }
  registry.add({ metrics: [histogram] })
  registry.source(
    () => 7,
    [
      { name: 'things_total', type: 'counter', help: 'Things.', value: value => value },
      { name: 'level', type: 'gauge', help: 'Level.', labels: ['l'], value: value => [[['x'], value]] }
    ]
  )
  return registry
}

test('a prom-client registry serves the same samples beside its own', async () => {
  const prom = new Registry()
  new Counter({ name: 'own_total', help: 'Own.', registers: [prom] }).inc(3)
  const registry = filledRegistry()
  bridgeToPromClient(registry, prom)
  const served = samples(await prom.metrics())
  const ours = samples(registry.toPrometheus())
  assert.deepEqual(sorted(served), sorted([{ name: 'own_total', labels: {}, value: 3 }, ...ours]))

  function sorted(list: { name: string; labels: Record<string, string>; value: number }[]): string[] {
    return list
      .map(({ name, labels, value }) => JSON.stringify([name, Object.entries(labels).sort(), value]))
      .sort()
  }
})

test('as OpenMetrics, counters keep their _total and buckets their exemplars', async () => {
  const prom = new Registry()
  prom.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
  bridgeToPromClient(filledRegistry(), prom)
  for (let scrape = 0; scrape < 2; scrape++) {
    const text = await prom.metrics()
    assert.match(text, /^# TYPE things counter\nthings_total 7$/m)
    assert.match(
      text,
      new RegExp(
        `le="1".*\\} 2 # \\{trace_id="${'a'.repeat(32)}",span_id="${'b'.repeat(16)}"\\} 0.6 1700000000.25$`,
        'm'
      )
    )
    assert.match(text, /# EOF\n$/)
  }
})

test('what is added later comes too, and all of it goes again', async () => {
  const prom = new Registry()
  const registry = filledRegistry()
  const stop = bridgeToPromClient(registry, prom)
  registry.source(() => 1, [{ name: 'late', type: 'gauge', help: 'Late.', value: value => value }])
  assert.match(await prom.metrics(), /^late 1$/m)
  prom.resetMetrics()
  assert.match(await prom.metrics(), /^things_total 7$/m)
  stop()
  registry.source(() => 1, [{ name: 'later', type: 'gauge', help: 'Later.', value: value => value }])
  assert.equal((await prom.metrics()).trim(), '')
})

test('a cluster adds counts and leaves out what cannot be added', async () => {
  const workers = [new Registry(), new Registry()]
  for (const prom of workers) bridgeToPromClient(filledRegistry(), prom)
  const all = await Promise.all(workers.map(prom => prom.getMetricsAsJSON()))
  const text = await AggregatorRegistry.aggregate(all as never).metrics()
  assert.match(text, /^things_total 14$/m)
  assert.match(text, /^wait_seconds_count\{.*\} 6$/m)
  assert.ok(!text.includes('level'))
})

test('a metric that cannot be read is left out and counted', async t => {
  t.mock.method(process, 'emitWarning', () => {})
  const prom = new Registry()
  const registry = new MetricRegistry()
  registry.source((): number => {
    throw new Error('gone')
  }, [{ name: 'gone', type: 'gauge', help: 'Gone.', value: v => v }])
  bridgeToPromClient(registry, prom)
  assert.ok(!/^gone /m.test(await prom.metrics()))
  assert.equal(registry.stats.readErrors, 1)
})

test('a name that prom-client has already, and a target that is none', () => {
  const prom = new Registry()
  new Counter({ name: 'things_total', help: 'Things.', registers: [prom] })
  assert.throws(() => bridgeToPromClient(filledRegistry(), prom), /things_total has already been registered/)
  assert.throws(
    () => bridgeToPromClient(filledRegistry(), {} as never),
    /target must be a prom-client Registry/
  )
  assert.throws(() => bridgeToPromClient(filledRegistry(), undefined as never), /got undefined/)
})
