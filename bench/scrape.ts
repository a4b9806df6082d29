/** A scrape at the cap of 2 000 label sets, and what it costs to record one request. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { Histogram as PromHistogram, Registry } from 'prom-client'
import { type Exchange, openExchange } from '../lib/http/exchange.ts'
import { expose, exposeInSlices } from '../lib/metrics/exposition/exposition.ts'
import { PrometheusText } from '../lib/metrics/exposition/prometheus.ts'
import { metrics } from '../lib/metrics/http-metrics.ts'
import { MetricRegistry } from '../lib/metrics/metric-registry.ts'
import type { Contender, Row, Suite } from './suite.ts'

const labelSets = 2_000
/** Scrapes until the compiler has seen enough of them. */
const warmUps = 10
const methods = ['GET', 'POST', 'PUT', 'DELETE']
const statuses = [200, 201, 404, 500, 503]

interface Request {
  method: string
  status: number
  route: string
  seconds: number
}

/** 100 routes × 4 methods × 5 statuses. */
const requests: Request[] = Array.from({ length: labelSets }, (_, i) => ({
  method: methods[i % 4],
  status: statuses[(i >> 2) % 5],
  route: `/api/v1/customers/:customerId/orders${Math.floor(i / 20)}/:orderId`,
  seconds: (i % 97) / 300
}))

export const suite: Suite = {
  async *rows({ quick }) {
    yield await scrapeRow(quick ? 5 : 25)
    yield recordRow()
  }
}

async function scrapeRow(rounds: number): Promise<Row> {
  const measured = filledMetrics()
  const durations = new MetricRegistry()
  durations.add({
    metrics: [...measured.metrics].filter(metric => metric.name.includes('request_duration_s'))
  })
  const promRegistry = filledPromClient()
  const capacity = expose(durations, new PrometheusText()).length + 4_096
  return {
    name: `scrape, ${labelSets} series of the request duration: ${labelSets * 17} samples`,
    contenders: [
      { name: 'ostiary', operations: 1, run: () => void expose(durations, new PrometheusText({}, capacity)) },
      {
        name: 'ostiary, OpenMetrics',
        operations: 1,
        run: () => void expose(durations, new PrometheusText({ openMetrics: true }, capacity * 1.1))
      },
      {
        name: 'prom-client',
        operations: 1,
        run: async () => {
          await promRegistry.metrics()
        }
      }
    ],
    targets: [{ peer: 'prom-client', ratio: 5 }],
    figures: {
      'bytes of text': capacity - 4_096,
      'ms of CPU': medianCpuMs(rounds, () => expose(durations, new PrometheusText({}, capacity))),
      'ms at a stretch, with time to first byte, in slices': await longestStretchMs(rounds, () =>
        exposeInSlices(measured, new PrometheusText({}, capacity * 2))
      )
    }
  }
}

/** Of the whole process, garbage collection included; what other processes do meanwhile is not in it. */
function medianCpuMs(rounds: number, work: () => void): number {
  for (let i = 0; i < warmUps; i++) work()
  const times = Array.from({ length: rounds }, () => {
    const start = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(start)
    return (user + system) / 1_000
  })
  return times.sort((a, b) => a - b)[rounds >> 1]
}

/** How long others have to wait at most while answers are made, as a turn of the loop sees it; median of the rounds. */
async function longestStretchMs(rounds: number, scrape: () => Promise<unknown>): Promise<number> {
  const longest: number[] = []
  for (let round = 0; round < rounds; round++) {
    let done = false
    let worst = 0
    let last = performance.now()
    const scraped = scrape().then(() => {
      done = true
    })
    do {
      const now = performance.now()
      worst = Math.max(worst, now - last)
      last = now
      await new Promise(resolve => setImmediate(resolve))
    } while (!done)
    worst = Math.max(worst, performance.now() - last)
    await scraped
    longest.push(worst)
  }
  return longest.sort((a, b) => a - b)[rounds >> 1]
}

/**
 * The listener alone, without the server's share. As in a server, an exchange is in the processor's cache when it ends
 * and its series may not be: few exchanges stand for all requests.
 */
function recordRow(): Row {
  const measured = metrics({ route: routeOf })
  const ended = methods.map(method => endedExchange({ ...requests[0], method }))
  const promHistogram = promDuration(new Registry())
  const operations = labelSets
  const ours: Contender = {
    name: 'ostiary',
    operations,
    run() {
      for (let i = 0; i < operations; i++) {
        const exchange = ended[i % methods.length]
        const { status, route, seconds } = requests[i]
        exchange.statusCode = status
        ;(exchange.req as Templated).template = route
        exchange.endedAt = exchange.startedAt + seconds * 1000
        // On an exchange that has ended, the listener is called at once.
        measured.stage.enter(exchange)
      }
    }
  }
  const peer: Contender = {
    name: 'prom-client',
    operations,
    run() {
      for (let i = 0; i < operations; i++) observe(promHistogram, requests[i])
    }
  }
  return {
    name: `record a request into ${labelSets} label sets, time to first byte and windows included`,
    contenders: [ours, peer],
    targets: [{ peer: 'prom-client', ratio: 4 }]
  }
}

type Templated = IncomingMessage & { template?: string }

function routeOf(req: IncomingMessage): string | undefined {
  return (req as Templated).template
}

function endedExchange({ method, status, route, seconds }: Request): Exchange {
  const req = {
    method,
    template: route,
    url: '/',
    headers: {},
    httpVersionMajor: 1,
    socket: new Socket()
  } as unknown as IncomingMessage
  const res = { on() {}, writeHead() {} } as unknown as ServerResponse
  const exchange = openExchange(req, res)
  exchange.end(false)
  exchange.statusCode = status
  exchange.outcome = 'completed'
  exchange.headAt = exchange.startedAt + seconds * 500
  exchange.endedAt = exchange.startedAt + seconds * 1000
  return exchange
}

function filledMetrics() {
  const measured = metrics({ route: routeOf, maxSeries: labelSets + 1 })
  for (const request of requests) measured.stage.enter(endedExchange(request))
  return measured.registry
}

function promDuration(registry: Registry): PromHistogram {
  return new PromHistogram({
    name: 'http_server_request_duration_seconds',
    help: 'Time from the first sight of a request to the end of its response.',
    labelNames: ['method', 'status', 'route', 'scheme', 'caller'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
    registers: [registry]
  })
}

function filledPromClient(): Registry {
  const registry = new Registry()
  const histogram = promDuration(registry)
  for (const request of requests) observe(histogram, request)
  return registry
}

function observe(histogram: PromHistogram, { method, status, route, seconds }: Request): void {
  histogram.observe({ method, status, route, scheme: 'http', caller: 'anonymous' }, seconds)
}
