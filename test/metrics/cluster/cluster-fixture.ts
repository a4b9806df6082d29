/** A cluster worker that measures what it is told to. */

import { reportMetrics } from '../../../lib/metrics/cluster/cluster-worker-metrics.ts'
import { Histogram } from '../../../lib/metrics/histogram/histogram.ts'
import { MetricRegistry } from '../../../lib/metrics/metric-registry.ts'
import { MetricsCollector } from '../../../lib/metrics/metrics-collector.ts'

export type ClusterOrder =
  | { order: 'record'; values: number[] }
  | { order: 'hang'; ms: number }
  | { order: 'flush'; times?: number }
  | { order: 'close' }
  | { order: 'exit' }
  | { order: 'nothing' }

const registry = new MetricRegistry()
const collector = new MetricsCollector()
const latency = new Histogram({ highest: 60e6 })
registry.add(collector)
registry.source(
  () => latency.count,
  [
    { name: 'busy', type: 'gauge', help: 'A gauge.', value: count => count },
    { name: 'odd', type: 'gauge', help: 'A gauge without a number.', value: () => Number.NaN },
    {
      name: 'many_total',
      type: 'counter',
      help: 'More points than fit in a piece.',
      labels: ['i'],
      value: count => Array.from({ length: 250 }, (_, i) => [[String(i)], count] as const)
    }
  ]
)
const metrics = reportMetrics({
  registry,
  histograms: { latency },
  intervalMs: Number(process.env['INTERVAL_MS'] ?? 600_000)
})

process.on('message', async (message: ClusterOrder) => {
  if (message.order === 'record') {
    for (const value of message.values) {
      latency.record(value)
      collector.recordValidationSuccess(value / 1000)
    }
  } else if (message.order === 'hang') {
    process.send?.('hanging')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, message.ms)
    return
  } else if (message.order === 'flush') {
    await Promise.all(Array.from({ length: message.times ?? 1 }, () => metrics.flush()))
  } else if (message.order === 'close') {
    await metrics.close()
  } else if (message.order === 'exit') {
    process.exit(0)
  } else if (message.order !== 'nothing') {
    return
  }
  process.send?.('done')
})
process.send?.('ready')
