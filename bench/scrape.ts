/** A scrape at the cap of 2 000 label sets, and what it costs to record one request. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Histogram as PromHistogram, Registry } from 'prom-client'
import { type Exchange, openExchange } from '../lib/http/exchange.ts'
import { expose, exposeInSlices } from '../lib/metrics/exposition/exposition.ts'
import { PrometheusText } from '../lib/metrics/exposition/prometheus.ts'
import { metrics } from '../lib/metrics/http-metrics.ts'
import { MetricRegistry } from '../lib/metrics/metric-registry.ts'
import { counted } from './harness/units.ts'
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
    yield await scrapeRow(quick ? 9 : 49)
    yield recordRow()
  }
}

/** Memory is kept from one scrape to the next, as the endpoint does. */
async function scrapeRow(rounds: number): Promise<Row> {
  const all = filledMetrics()
  const durations = new MetricRegistry()
  durations.add({ metrics: [...all.metrics].filter(metric => metric.name.includes('request_duration_s')) })
  const promRegistry = filledPromClient()
  const text = (registry: MetricRegistry): (() => Buffer) => {
    const memory = memoryFor(registry)
    return () => expose(registry, new PrometheusText({}, memory))
  }
  const exposeDurations = text(durations)
  const openMetricsMemory = memoryFor(durations)
  const memory = memoryFor(all)
  return {
    name: `request durations of ${counted(labelSets, 'label set')}, ${counted(labelSets * 17, 'sample')}`,
    contenders: [
      { name: 'ostiary', operations: 1, run: () => void exposeDurations() },
      {
        name: 'ostiary, OpenMetrics',
        operations: 1,
        run: () => void expose(durations, new PrometheusText({ openMetrics: true }, openMetricsMemory))
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
    figures: [
      { name: 'bytes of text', value: exposeDurations().length },
      { name: 'ms of event loop, in one go', value: cpuMsOf(rounds, exposeDurations), most: 5 },
      {
        name: 'ms of event loop, in one go, with times to first byte: twice as many samples',
        value: cpuMsOf(rounds, text(all))
      },
      {
        name: 'ms of event loop at a stretch for those, in slices as the endpoint does it',
        value: await stretchMsOf(rounds, () => exposeInSlices(all, new PrometheusText({}, memory))),
        most: 5
      }
    ]
  }
}

/** Room for an answer in either format. */
function memoryFor(registry: MetricRegistry): Buffer {
  return Buffer.alloc(expose(registry, new PrometheusText({ openMetrics: true })).length + 4_096)
}

/**
 * ms of CPU of the process: how long the event loop stands still for it on a machine that does nothing else. The first
 * quartile of the rounds, as what else a machine does only adds to it.
 */
function cpuMsOf(rounds: number, work: () => void): number {
  for (let i = 0; i < warmUps; i++) work()
  return firstQuartile(
    Array.from({ length: rounds }, () => {
      const since = cpuMs()
      work()
      return cpuMs() - since
    })
  )
}

/** The longest turn of the event loop while an answer is made, in the same measure. */
async function stretchMsOf(rounds: number, scrape: () => Promise<unknown>): Promise<number> {
  const longest: number[] = []
  for (let round = -warmUps; round < rounds; round++) {
    let done = false
    let worst = 0
    let since = cpuMs()
    const scraped = scrape().finally(() => {
      done = true
    })
    while (!done) {
      await nextTurn()
      const now = cpuMs()
      worst = Math.max(worst, now - since)
      since = now
    }
    await scraped
    if (round >= 0) longest.push(worst)
  }
  return firstQuartile(longest)
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

function firstQuartile(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 2]
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
    name: `record a request into one of ${counted(labelSets, 'label set')}, time to first byte and windows included`,
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
