import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { startDemo } from '../../../examples/demo/demo-api.ts'
import { metricsEndpoint } from '../../../lib/metrics/exposition/metrics-endpoint.ts'
import { metrics } from '../../../lib/metrics/http-metrics.ts'
import { MetricsCollector } from '../../../lib/metrics/metrics-collector.ts'
import { ProcessMetrics } from '../../../lib/metrics/process-metrics.ts'
import { portBelowTheEphemeral } from '../../support/port.ts'
import { missing } from '../../support/program.ts'
import { listen } from '../../support/server.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const skip = missing('prometheus') || missing('promtool')
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'

/** A server with requests of every kind behind it, and the formats that scrapes of it were answered in. */
async function measuredServer(t: TestContext, protobuf: boolean) {
  const measured = metrics({ route: () => '/a "b"\\\n', nativeHistogramSchema: 3 })
  const collector = new MetricsCollector()
  collector.recordValidationSuccess(1.5)
  collector.recordValidationFailure('expired "now"\n', 0.5)
  measured.registry.add(collector)
  const processMetrics = new ProcessMetrics()
  t.after(() => processMetrics.close())
  measured.registry.add(processMetrics)
  const scrape = metricsEndpoint({
    registry: measured.registry,
    auth: { allow: req => req.headers.authorization === 'Bearer scraper' },
    protobuf
  })
  const app = measured.wrap((req, res) => res.writeHead(req.url === '/503' ? 503 : 200).end())
  const formats = new Set<string>()
  const server = createServer((req, res) => {
    if (req.url !== '/metrics') {
      app(req, res)
      return
    }
    res.on('finish', () => formats.add(String(res.getHeader('content-type') ?? contentTypeOf(res))))
    scrape(req, res)
  })
  const port = await listen(t, server)
  for (const path of ['/', '/', '/503']) {
    const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` }
    const req = request({ host: '127.0.0.1', port, path, headers, agent: false }).end()
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    await once(res.resume(), 'close')
  }
  return { port, formats }
}

/** What went out in the head that `writeHead` was given. */
function contentTypeOf(res: object): string {
  return /^content-type: (.*?)\r$/im.exec((res as { _header: string })._header)?.[1] ?? ''
}

async function prometheus(t: TestContext, target: number, features: string[]) {
  const folder = temporaryFolder()
  const config = join(folder, 'prometheus.yml')
  await writeFile(
    config,
    `global: { scrape_interval: 1s, scrape_timeout: 1s }
storage: { exemplars: { max_exemplars: 1000 } }
scrape_configs:
  - job_name: ostiary
    authorization: { credentials: scraper }
    static_configs: [{ targets: ['127.0.0.1:${target}'] }]
`
  )
  const url = await started(t, [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    '--log.level=error',
    ...(features.length > 0 ? [`--enable-feature=${features.join(',')}`] : [])
  ])
  /** Asks until there is an answer: the server must scrape, and in time. */
  return async (path: string): Promise<unknown[]> => {
    for (;;) {
      const found = results(await (await fetch(`${url}/api/v1/${path}`)).json())
      if (found.length > 0) return found
      await wait(100)
    }
  }
}

/** The URL of a server that has started: on another port when one is taken. Its path is its own: nobody else answers there. */
async function started(t: TestContext, args: readonly string[]): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const port = portBelowTheEphemeral()
    const prefix = `/${randomUUID()}`
    const place = [`--web.listen-address=127.0.0.1:${port}`, `--web.route-prefix=${prefix}`]
    const child = spawn('prometheus', [...args, ...place], { stdio: ['ignore', 'ignore', 'pipe'] })
    t.after(() => stop(child))
    let errors = ''
    child.stderr.on('data', chunk => {
      errors += chunk
    })
    const url = `http://127.0.0.1:${port}${prefix}`
    while (isRunning(child)) {
      const ready = await fetch(`${url}/-/ready`).catch(() => undefined)
      if (ready?.status === 200) return url
      await wait(100)
    }
    if (attempt === 10) throw new Error(`prometheus ended with ${child.exitCode}: ${errors}`)
  }
}

function results(answer: unknown): unknown[] {
  const { data } = (answer ?? {}) as { data?: unknown[] | { result: unknown[] } }
  return Array.isArray(data) ? data : (data?.result ?? [])
}

async function stop(child: ChildProcess): Promise<void> {
  if (isRunning(child)) {
    child.kill()
    await once(child, 'exit')
  }
}

/** Neither ended nor killed. */
function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null
}

/** What `promtool check metrics` says of a text. */
async function complaintsAbout(text: string): Promise<string[]> {
  const child = spawn('promtool', ['check', 'metrics'], { stdio: ['pipe', 'ignore', 'pipe'] })
  const closed = once(child, 'close')
  let said = ''
  child.stderr.on('data', chunk => {
    said += chunk
  })
  child.stdin.end(text)
  await closed
  return said.split('\n')
}

/** A request on a connection of its own. */
async function get(url: string): Promise<{ status: number; text: string }> {
  const [res] = (await once(request(url, { agent: false }).end(), 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of res.setEncoding('utf8')) text += chunk
  return { status: res.statusCode as number, text }
}

function valuesOf(found: unknown[]): unknown[] {
  return (found as { value: [number, string] }[]).map(({ value }) => value[1])
}

// Together: each server takes five seconds to find its targets.
describe('a Prometheus server', { skip, concurrency: true }, () => {
  it('reads OpenMetrics, exemplars too', async t => {
    const { port, formats } = await measuredServer(t, false)
    const ask = await prometheus(t, port, ['exemplar-storage'])
    const route = encodeURIComponent('{http_route="/a \\"b\\"\\\\\\n",http_response_status_code="200"}')
    assert.deepEqual(valuesOf(await ask(`query?query=http_server_request_duration_seconds_count${route}`)), [
      '2'
    ])
    assert.deepEqual(valuesOf(await ask('query?query=auth_tokens_validated_total')), ['1'])
    assert.deepEqual(valuesOf(await ask('query?query=auth_success_rate')), ['50'])
    assert.deepEqual(valuesOf(await ask('query?query=up%3D%3D1')), ['1'])
    const [metadata] = await ask('targets/metadata?metric=http_server_request_duration_seconds')
    assert.equal((metadata as { type: string }).type, 'histogram')
    assert.equal((metadata as { unit: string }).unit, 'seconds')
    const exemplars = await ask(
      `query_exemplars?query=http_server_request_duration_seconds_bucket&start=${Date.now() / 1000 - 600}&end=${Date.now() / 1000 + 60}`
    )
    assert.ok(JSON.stringify(exemplars).includes(traceId))
    assert.deepEqual([...formats], ['application/openmetrics-text; version=1.0.0; charset=utf-8'])
  })

  it('reads the demo: a gate with everything on', async t => {
    const demo = await startDemo({ api: 0, issuer: 0 })
    t.after(() => demo.close())
    const { text } = await get(`${demo.url}/metrics`)
    const complaints = (await complaintsAbout(text)).filter(
      line => !line.startsWith('auth_validation_duration_avg_ms')
    )
    assert.deepEqual(complaints, [''], 'nothing but the unit of an inherited name')
    for (const path of ['/whoami', '/whoami', '/orders'])
      assert.equal((await get(demo.url + path)).status, 401)
    const ask = await prometheus(t, Number(new URL(demo.url).port), [])
    const refused = encodeURIComponent('{http_response_status_code="401",caller_kind="anonymous"}')
    assert.deepEqual(
      valuesOf(await ask(`query?query=http_server_request_duration_seconds_count${refused}`)),
      ['3']
    )
    assert.deepEqual(valuesOf(await ask('query?query=sum(ostiary_refusals_total)')), ['3'])
    assert.deepEqual(valuesOf(await ask('query?query=auth_tokens_validated_total')), ['0'])
    for (const metric of ['nodejs_eventloop_delay_max_seconds', 'process_memory_usage_bytes']) {
      assert.equal((await ask(`query?query=${metric}`)).length, 1)
    }
  })

  it('reads native histograms', async t => {
    const { port, formats } = await measuredServer(t, true)
    const ask = await prometheus(t, port, ['native-histograms'])
    const native = encodeURIComponent('histogram_count(http_server_request_duration_seconds)')
    assert.deepEqual(valuesOf(await ask(`query?query=${native}`)).sort(), ['1', '2'])
    const quantile = encodeURIComponent('histogram_quantile(1, http_server_request_duration_seconds)')
    for (const value of valuesOf(await ask(`query?query=${quantile}`))) {
      assert.ok(Number(value) > 0 && Number(value) < 60, `a quantile of ${value}`)
    }
    assert.deepEqual(valuesOf(await ask('query?query=auth_tokens_validated_total')), ['1'])
    assert.equal(formats.size, 1)
    assert.match([...formats][0], /^application\/vnd\.google\.protobuf/)
  })
})
