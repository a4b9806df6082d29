/** Metrics: validations recorded by hand, requests by middleware, as JSON and for Prometheus, and a reset. */
import { Histogram, MetricsCollector, metrics, metricsEndpoint, type RequestHandler } from '../lib/index.ts'
import { serve, snakeCased } from './show.ts'

const collector = new MetricsCollector()
const measured = metrics({ route: req => (req.url! in routes ? req.url : undefined) })
measured.registry.add(collector)

const routes: Record<string, RequestHandler> = {
  // Any token check of your own can be recorded around.
  '/login': (_req, res) => {
    const startedAt = performance.now()
    const good = Math.random() < 0.8
    const durationMs = performance.now() - startedAt
    if (good) collector.recordValidationSuccess(durationMs)
    else collector.recordValidationFailure('wrong_password', durationMs)
    res.writeHead(good ? 200 : 401).end()
  },
  '/metrics.json': (_req, res) => res.end(JSON.stringify(snakeCased(collector.getMetrics()))),
  '/metrics': metricsEndpoint({ registry: measured.registry, auth: false }),
  '/reset': (_req, res) => {
    collector.reset()
    res.end('reset')
  }
}
const api = await serve(
  measured.wrap((req, res) => (routes[req.url!] ?? (() => res.writeHead(404).end()))(req, res))
)

for (let i = 0; i < 5; i++) await api.show('/login')
await api.show('/metrics.json')
await api.show('/metrics')
await api.show('/reset')
await api.show('/metrics.json')
api.close()

// A histogram by itself: every percentile within 0.1 %, and exact when histograms are added.
const latencies = new Histogram({ significantDigits: 3 })
for (let micros = 1; micros <= 100_000; micros++) latencies.record(micros)
console.log(
  `p50 ${latencies.percentile(50)} µs, p99.9 ${latencies.percentile(99.9)} µs, ${latencies.toBase64().length} bytes`
)
