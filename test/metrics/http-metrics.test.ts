import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import * as http2 from 'node:http2'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { exchangeOf, type Identity } from '../../lib/http/exchange.ts'
import { type Middleware, pipeline } from '../../lib/http/pipeline.ts'
import { refuse } from '../../lib/http/problem.ts'
import { Histogram } from '../../lib/metrics/histogram/histogram.ts'
import { type MetricsOptions, metrics } from '../../lib/metrics/http-metrics.ts'
import type { MetricRegistry } from '../../lib/metrics/metric-registry.ts'
import { converse, listen } from '../support/server.ts'
import { sampleOf, samples } from './samples.ts'

const duration = 'http_server_request_duration_seconds'
const firstByte = 'http_server_time_to_first_byte_seconds'

function textOf(registry: MetricRegistry, openMetrics = false): string {
  return registry.toPrometheus({ openMetrics })
}

function identity(kind: Identity['kind']): Identity {
  return { id: 'x', key: 'user:x', name: null, email: null, kind, isM2M: false, clientId: null, scopes: [] }
}

/** Who the caller is, said by himself: only what is measured matters here. */
const believe: Middleware = (req, _res, next) => {
  const kind = req.headers['x-kind'] as Identity['kind'] | undefined
  if (kind !== undefined) exchangeOf(req).user = identity(kind)
  next()
}

async function serve(
  t: TestContext,
  options: MetricsOptions,
  handler: (req: IncomingMessage, res: ServerResponse) => unknown = (_req, res) => res.end('ok')
) {
  const measured = metrics(options)
  const port = await listen(t, createServer(pipeline(measured, believe).wrap(handler)))
  /** A request, until it is measured: the end of an exchange may come a moment after the client has the answer. */
  const get = async (path = '/', headers: Record<string, string> = {}, method = 'GET') => {
    const before = measured.getMetrics().duration.count
    const req = request({ host: '127.0.0.1', port, path, headers, method, agent: false }).end()
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    res.resume()
    await once(res, 'close')
    await until(() => measured.getMetrics().duration.count > before)
    return res.statusCode
  }
  return { measured, port, get, text: (openMetrics = false) => textOf(measured.registry, openMetrics) }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await wait(2)
}

test('requests are filed by method, status, scheme and kind of caller', async t => {
  const { get, text, measured } = await serve(t, { clock: () => 0 }, (req, res) => {
    res.statusCode = Number(req.headers['x-status'] ?? 200)
    res.end()
  })
  await get('/a')
  await get('/b?secret=1')
  await get('/a', { 'x-kind': 'human' })
  await get('/a', { 'x-kind': 'machine', 'x-status': '404' }, 'POST')
  await get('/a', { 'x-kind': 'unknown', 'x-status': '503' }, 'PUT')
  await get('/a', {}, 'PROPFIND')
  const counted = samples(text()).filter(sample => sample.name === `${duration}_count`)
  assert.deepEqual(
    counted.map(({ labels, value }) => [labels, value]),
    [
      [row('GET', '200', 'anonymous'), 2],
      [row('GET', '200', 'human'), 1],
      [row('POST', '404', 'machine'), 1],
      [{ ...row('PUT', '503', 'unknown'), error_type: '503' }, 1],
      [row('_OTHER', '200', 'anonymous'), 1]
    ]
  )
  assert.deepEqual(measured.getMetrics('minute').statuses, {
    none: 0,
    '2xx': 4,
    '3xx': 0,
    '4xx': 1,
    '5xx': 1
  })
  assert.ok(!text().includes('secret') && !text().includes('http_route'), 'the raw path is nowhere')

  function row(method: string, status: string, caller: string) {
    return {
      http_request_method: method,
      url_scheme: 'http',
      http_response_status_code: status,
      caller_kind: caller
    }
  }
})

test('the route is the template that is given for it, when it is one', async t => {
  const reports: string[] = []
  const routes: Record<string, unknown> = {
    '/orders/7': '/orders/:id',
    '/n': 7,
    '/e': '',
    '/long': 'x'.repeat(300)
  }
  const { get, text } = await serve(t, {
    route: (req, exchange) => {
      assert.equal(exchange, exchangeOf(req))
      if (req.url === '/throws') throw new Error('no router here')
      return routes[req.url!] as string
    }
  })
  t.mock.method(process, 'emitWarning', (message: string) => reports.push(message))
  const paths = [...Object.keys(routes), '/unknown', '/throws']
  for (const path of paths) await get(path)
  assert.equal(sampleOf(text(), `${duration}_count`, { http_route: '/orders/:id' }), 1)
  assert.equal(sampleOf(text(), `${duration}_count`, { http_route: '_OTHER' }), 1)
  const unrouted = samples(text()).filter(s => s.name === `${duration}_count` && !('http_route' in s.labels))
  assert.deepEqual(
    unrouted.map(sample => sample.value),
    [4]
  )
  assert.match(reports.join(), /metrics_route.*no router here/)
})

test('time to first byte ends with the head, the duration with the body', async t => {
  const { get, text, measured } = await serve(t, { clock: () => 0 }, async (_req, res) => {
    res.write('first')
    await wait(30)
    res.end('last')
  })
  await get()
  const { duration: whole, timeToFirstByte } = measured.getMetrics('minute')
  assert.equal(timeToFirstByte.count, 1)
  assert.ok(whole.maxMs >= timeToFirstByte.maxMs + 25, `${whole.maxMs} after ${timeToFirstByte.maxMs}`)
  assert.equal(sampleOf(text(), `${firstByte}_count`), 1)
  assert.ok(sampleOf(text(), `${duration}_sum`)! >= sampleOf(text(), `${firstByte}_sum`)! + 0.025)
})

test('the histograms behind the percentiles can be encoded and merged', async t => {
  const { get, measured } = await serve(t, {})
  for (let i = 0; i < 5; i++) await get()
  const merged = new Histogram()
  for (const histogram of Object.values(measured.histograms)) {
    assert.equal(histogram.count, 5)
    merged.add(Histogram.decode(histogram.encode()))
  }
  assert.equal(merged.count, 10)
  const { p50Ms, maxMs } = measured.getMetrics().duration
  const p50 = measured.histograms.http_request_duration_us.percentile(50) / 1000
  assert.equal(p50Ms, Math.min(p50, maxMs))
})

test('a client that leaves is in flight, then aborted: without a status when it got no head', async t => {
  const { port, text, measured } = await serve(t, {}, (req, res) => {
    if (req.url === '/head') res.write('some')
  })
  const active = { http_request_method: 'GET', url_scheme: 'http' }
  for (const path of ['/nothing', '/head']) {
    const socket = connect(port, '127.0.0.1', () => socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`))
    await until(() => measured.getMetrics().activeRequests === 1)
    assert.equal(sampleOf(text(), 'http_server_active_requests', active), 1)
    if (path === '/head') await once(socket, 'data')
    socket.destroy()
    await until(() => measured.getMetrics().activeRequests === 0)
  }
  assert.equal(sampleOf(text(), 'http_server_active_requests', active), 0)
  const aborted = samples(text()).filter(sample => sample.name === `${duration}_count`)
  assert.deepEqual(
    aborted.map(({ labels }) => [labels['http_response_status_code'], labels['error_type']]),
    [
      [undefined, 'aborted'],
      ['200', 'aborted']
    ]
  )
  assert.equal(measured.getMetrics().timeToFirstByte.count, 1)
  const firstBytes = samples(text()).filter(sample => sample.name === `${firstByte}_count`)
  assert.deepEqual(
    firstBytes.map(sample => sample.value),
    [0, 1]
  )
  assert.deepEqual(measured.getMetrics().statuses, { none: 1, '2xx': 1, '3xx': 0, '4xx': 0, '5xx': 0 })
})

test('a handler that throws after the head has failed', async t => {
  const { port, text, measured } = await serve(t, {}, (_req, res) => {
    res.write('some')
    throw Object.assign(new Error('too late'), { status: 418 })
  })
  await converse(port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await until(() => measured.getMetrics().duration.count === 1)
  assert.equal(
    sampleOf(text(), `${duration}_count`, { error_type: 'failed', http_response_status_code: '200' }),
    1
  )
})

test('refusals are counted by stage and reason', async t => {
  const { get, text } = await serve(t, {}, req => {
    refuse(exchangeOf(req), 'authenticate', 'expired', { status: 401 })
  })
  await get()
  await get()
  assert.equal(sampleOf(text(), 'ostiary_refusals_total', { stage: 'authenticate', reason: 'expired' }), 2)
})

test('past the cap, requests share one series, and none is lost', async t => {
  const { get, text } = await serve(t, { maxSeries: 3, route: req => req.url! })
  for (let i = 0; i < 10; i++) await get(`/${i}`)
  await get('/0')
  const counted = samples(text()).filter(sample => sample.name === `${duration}_count`)
  assert.deepEqual(
    counted.map(({ labels, value }) => [labels['http_route'] ?? labels['otel_metric_overflow'], value]),
    [
      ['/0', 2],
      ['/1', 1],
      ['true', 8]
    ]
  )
  assert.equal(sampleOf(text(), 'ostiary_http_series'), 3)
  assert.equal(sampleOf(text(), 'ostiary_http_series_overflow_total'), 8)
})

test('a sampled trace is the exemplar of its bucket in OpenMetrics, and in nothing else', async t => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
  const header = { traceparent: `00-${trace}-00f067aa0ba902b7-01` }
  const { get, text } = await serve(t, { bounds: [3_600] })
  t.mock.timers.enable({ apis: ['Date'], now: 1_900_000_000_000 })
  await get('/', header)
  await get('/', { traceparent: `00-${trace.replace('4b', '5b')}-00f067aa0ba902b7-01` })
  const exemplar = `le="3600\\.0"\\} 2 # \\{trace_id="${trace}",span_id="00f067aa0ba902b7"\\} \\d+\\.\\d+ 1900000000(\\.0)?$`
  assert.match(text(true), new RegExp(exemplar, 'm'), 'the first of a second stays')
  assert.ok(!text().includes(trace))

  const off = await serve(t, { exemplars: false })
  await off.get('/', header)
  assert.ok(!off.text(true).includes(trace))
})

test('http/2 says its scheme, and a stream that answers past the hook its status', async t => {
  const measured = metrics()
  const server = http2.createServer()
  const handler = measured.wrap((_req, res) => res.end('ok'))
  server.on(
    'request',
    handler as unknown as (req: http2.Http2ServerRequest, res: http2.Http2ServerResponse) => void
  )
  const port = await listen(t, server)
  const client = http2.connect(`http://127.0.0.1:${port}`)
  t.after(() => client.destroy())
  for (const scheme of ['http', 'https', 'gopher']) {
    const stream = client.request({ ':scheme': scheme }).resume()
    await once(stream, 'close')
  }
  await until(() => measured.getMetrics().duration.count === 3)
  const text = textOf(measured.registry)
  assert.equal(sampleOf(text, `${duration}_count`, { url_scheme: 'https' }), 1)
  assert.equal(
    sampleOf(text, `${duration}_count`, { url_scheme: 'http', http_response_status_code: '200' }),
    2
  )
})

test('windows follow the clock that is given', async t => {
  const time = { ms: 0 }
  const { get, measured, text } = await serve(t, { clock: () => time.ms })
  await get()
  assert.equal(measured.getMetrics('minute').duration.count, 1)
  time.ms = 70_000
  assert.equal(measured.getMetrics('minute').duration.count, 0)
  assert.equal(measured.getMetrics('hour').duration.count, 1)
  const percentile = (window: string) =>
    sampleOf(text(), 'ostiary_request_duration_percentile_seconds', { window, percentile: '99' })
  assert.equal(percentile('minute'), undefined)
  assert.deepEqual(measured.getMetrics('hour').statuses, { none: 0, '2xx': 1, '3xx': 0, '4xx': 0, '5xx': 0 })
  assert.equal(measured.getMetrics('minute').statuses['2xx'], 0)
  assert.throws(() => measured.getMetrics('day' as never), /window must be total, minute or hour, got day/)
  assert.ok(Math.abs(percentile('hour')! - measured.getMetrics().duration.maxMs / 1000) < 1e-6)
})

test('wrong options are named, with what was given', () => {
  const table: [unknown, RegExp][] = [
    [{ maxSeries: 0 }, /metrics: maxSeries must be a positive integer, got 0/],
    [{ maxSeries: 1.5 }, /maxSeries .* got 1.5/],
    [{ bounds: [] }, /metrics: bounds must be positive seconds in ascending order, got \[\]/],
    [{ bounds: [1, 1] }, /bounds .* got \[1,1\]/],
    [{ bounds: [0] }, /bounds/],
    [{ bounds: [1, Infinity] }, /bounds/],
    [{ bounds: 5 }, /bounds/],
    [{ nativeHistogramSchema: 6 }, /nativeHistogramSchema must be an integer from 0 to 5, got 6/],
    [{ exemplars: 'yes' }, /exemplars must be true or false, got yes/],
    [{ registry: {} }, /registry must be a MetricRegistry/],
    [{ route: '/x' }, /metrics: route must be a function, got \/x/],
    [{ clock: 1 }, /clock must be a function, got 1/]
  ]
  for (const [options, message] of table) assert.throws(() => metrics(options as MetricsOptions), message)
})

test('a method that is overridden on the way does not unbalance what is in flight', async t => {
  const { get, text } = await serve(t, {}, (req, res) => {
    req.method = 'DELETE'
    res.end()
  })
  await get('/', {}, 'POST')
  const active = samples(text()).filter(sample => sample.name === 'http_server_active_requests')
  assert.deepEqual(active, [
    {
      name: 'http_server_active_requests',
      labels: { http_request_method: 'POST', url_scheme: 'http' },
      value: 0
    }
  ])
  assert.equal(sampleOf(text(), `${duration}_count`, { http_request_method: 'POST' }), 1)
})
