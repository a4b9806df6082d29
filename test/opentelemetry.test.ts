import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request } from 'node:http'
import { type TestContext, test } from 'node:test'
import { metrics as globalMetrics } from '@opentelemetry/api'
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader
} from '@opentelemetry/sdk-metrics'
import { metrics } from '../lib/metrics/http-metrics.ts'
import { MetricRegistry } from '../lib/metrics/metric-registry.ts'
import { MetricsCollector } from '../lib/metrics/metrics-collector.ts'
import { ProcessMetrics } from '../lib/metrics/process-metrics.ts'
import { bridgeToOpenTelemetry } from '../lib/opentelemetry.ts'
import { listen } from './support/server.ts'

function openTelemetry(t: TestContext) {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const provider = new MeterProvider({ readers: [reader] })
  t.after(() => provider.shutdown())
  /** The metrics of one collection by name. */
  const collect = async (): Promise<Map<string, MetricData>> => {
    exporter.reset()
    await reader.forceFlush()
    const scopes = exporter.getMetrics().flatMap(resource => resource.scopeMetrics)
    return new Map(scopes.flatMap(scope => scope.metrics).map(metric => [metric.descriptor.name, metric]))
  }
  return { provider, collect }
}

function countOf(histogram: MetricData | undefined): number {
  return (histogram!.dataPoints[0].value as { count: number }).count
}

test('requests arrive under the names of the semantic conventions', async t => {
  const { provider, collect } = openTelemetry(t)
  const measured = metrics({ route: () => '/orders/:id' })
  const stop = bridgeToOpenTelemetry({ registry: measured.registry, meter: provider.getMeter('test') })
  const port = await listen(
    t,
    createServer(measured.wrap((req, res) => res.writeHead(req.url === '/503' ? 503 : 200).end()))
  )
  const get = async (path: string) => {
    const [res] = (await once(
      request({ port, host: '127.0.0.1', path, agent: false }).end(),
      'response'
    )) as [IncomingMessage]
    await once(res.resume(), 'close')
  }
  for (const path of ['/', '/', '/503']) await get(path)
  while (measured.getMetrics().duration.count < 3) await new Promise(resolve => setImmediate(resolve))

  const collected = await collect()
  const duration = collected.get('http.server.request.duration')
  assert.equal(duration?.descriptor.unit, 's')
  assert.equal(duration.dataPointType, DataPointType.HISTOGRAM)
  assert.deepEqual(
    duration.dataPoints.map(point => [point.attributes, (point.value as { count: number }).count]),
    [
      [attributes(200), 2],
      [{ ...attributes(503), 'error.type': '503' }, 1]
    ]
  )
  const { buckets } = duration.dataPoints[0].value as { buckets: { boundaries: number[] } }
  assert.deepEqual(
    buckets.boundaries,
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
  )
  const active = collected.get('http.server.active_requests')
  assert.deepEqual(
    active?.dataPoints.map(point => [point.attributes, point.value]),
    [[{ 'http.request.method': 'GET', 'url.scheme': 'http' }, 0]]
  )
  assert.equal(collected.get('http.server.time_to_first_byte')?.dataPointType, DataPointType.HISTOGRAM)

  stop()
  await get('/')
  while (measured.getMetrics().duration.count < 4) await new Promise(resolve => setImmediate(resolve))
  const after = (await collect()).get('http.server.request.duration')
  assert.equal(countOf(after), 2, 'ended is ended')

  function attributes(status: number) {
    return {
      'http.request.method': 'GET',
      'url.scheme': 'http',
      'http.response.status_code': status,
      'http.route': '/orders/:id',
      'ostiary.caller.kind': 'anonymous'
    }
  }
})

test('counters and gauges are observed when OpenTelemetry collects, later ones too', async t => {
  const { provider, collect } = openTelemetry(t)
  globalMetrics.setGlobalMeterProvider(provider)
  t.after(() => globalMetrics.disable())
  const registry = new MetricRegistry()
  const collector = new MetricsCollector()
  registry.add(collector)
  bridgeToOpenTelemetry({ registry })
  collector.recordValidationSuccess(2)
  collector.recordValidationFailure('expired', 4)
  const processMetrics = new ProcessMetrics()
  t.after(() => processMetrics.close())
  registry.add(processMetrics)

  const collected = await collect()
  const values = (name: string) =>
    collected.get(name)?.dataPoints.map(point => [point.attributes, point.value])
  assert.deepEqual(values('auth.tokens_validated'), [[{}, 1]])
  assert.deepEqual(values('auth.tokens_failed'), [[{ 'error.type': 'expired' }, 1]])
  assert.deepEqual(values('auth.success_rate'), [[{}, 50]])
  assert.equal(collected.get('auth.success_rate')?.dataPointType, DataPointType.GAUGE)
  assert.equal(countOf(collected.get('auth.validation_duration')), 2)
  assert.equal(collected.get('process.memory.usage')?.descriptor.unit, 'By')
  assert.ok(
    collected
      .get('v8js.memory.heap.used')!
      .dataPoints.some(p => p.attributes['v8js.heap.space.name'] === 'old_space')
  )
  assert.deepEqual(
    collected.get('process.cpu.time')?.dataPoints.map(p => p.attributes['cpu.mode']),
    ['user', 'system']
  )
  for (const name of [
    'nodejs.eventloop.delay.p99',
    'nodejs.eventloop.utilization',
    'process.uptime',
    'v8js.memory.heap.limit'
  ]) {
    assert.equal(collected.get(name)?.dataPoints.length, 1, name)
  }
})

test('a metric past the cap says so the way OpenTelemetry does', async t => {
  const { provider, collect } = openTelemetry(t)
  const measured = metrics({ maxSeries: 1 })
  bridgeToOpenTelemetry({ registry: measured.registry, meter: provider.getMeter('test') })
  const port = await listen(t, createServer(measured.wrap((_req, res) => res.end())))
  await (await fetch(`http://127.0.0.1:${port}`)).text()
  while (measured.getMetrics().duration.count < 1) await new Promise(resolve => setImmediate(resolve))
  const points = (await collect()).get('http.server.request.duration')?.dataPoints
  assert.deepEqual(
    points?.map(point => point.attributes),
    [{ 'otel.metric.overflow': true }]
  )
})

test('a metric that cannot be read is left out and counted', async t => {
  t.mock.method(process, 'emitWarning', () => {})
  const { provider, collect } = openTelemetry(t)
  const registry = new MetricRegistry()
  registry.source((): number => {
    throw new Error('gone')
  }, [{ name: 'gone', type: 'gauge', help: 'Gone.', value: v => v }])
  bridgeToOpenTelemetry({ registry, meter: provider.getMeter('test') })
  assert.equal((await collect()).get('gone')?.dataPoints.length ?? 0, 0)
  assert.equal(registry.stats.readErrors, 1)
})

test('wrong options are named, with what was given', () => {
  assert.throws(
    () => bridgeToOpenTelemetry(undefined as never),
    /registry must be a MetricRegistry, got undefined/
  )
  assert.throws(
    () => bridgeToOpenTelemetry({ registry: new MetricRegistry(), meter: {} as never }),
    /meter must be an OpenTelemetry Meter/
  )
})
