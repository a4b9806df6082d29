/** Serves Ostiary's metrics from a prom-client registry, for services that have one already. */
import { wrongOption } from '../../options.ts'
import type { HistogramPoint, Metric, ScalarPoint } from '../metric.ts'
import type { MetricRegistry } from '../metric-registry.ts'

/** What the bridge needs of prom-client's `Registry` (15 and later). */
export interface PromClientRegistry {
  registerMetric(metric: never): void
  removeSingleMetric(name: string): void
}

/**
 * Registers every metric of `registry`, and each that is added to it later, with prom-client. They are read when
 * prom-client is scraped, in its text format or in OpenMetrics. In its cluster mode Ostiary's gauges are left out:
 * a rate or a percentile cannot be added up.
 *
 * @example
 * bridgeToPromClient(measured.registry, promClient.register)
 *
 * @returns what takes them out again
 * @throws Error from prom-client when a name is taken there
 */
export function bridgeToPromClient(registry: MetricRegistry, target: PromClientRegistry): () => void {
  if (typeof target?.registerMetric !== 'function' || typeof target.removeSingleMetric !== 'function') {
    throw wrongOption('bridgeToPromClient', 'target', 'a prom-client Registry', target)
  }
  const names: string[] = []
  const stop = registry.onMetric(metric => {
    target.registerMetric(new BridgedMetric(registry, metric) as never)
    names.push(metric.name)
  })
  return () => {
    stop()
    for (const name of names) target.removeSingleMetric(name)
  }
}

interface PromValue {
  labels: Record<string, string | number>
  value: number
  metricName?: string
  exemplar?: { labelSet: Record<string, string>; value: number; timestamp: number }
}

class BridgedMetric {
  /** prom-client takes `_total` off it for OpenMetrics, and expects to get back what it left. */
  name: string
  readonly help: string
  readonly type: Metric['type']
  readonly aggregator: 'sum' | 'omit'
  readonly #registry: MetricRegistry
  readonly #metric: Metric

  constructor(registry: MetricRegistry, metric: Metric) {
    this.name = metric.name
    this.help = metric.help
    this.type = metric.type
    this.aggregator = metric.type === 'gauge' ? 'omit' : 'sum'
    this.#registry = registry
    this.#metric = metric
  }

  get() {
    const { name, help, type, aggregator } = this
    return { name, help, type, aggregator, values: this.#values() }
  }

  /** prom-client's `resetMetrics` is for prom-client's metrics. */
  reset(): void {}

  #values(): PromValue[] {
    const metric = this.#metric
    try {
      return metric.type === 'histogram'
        ? Array.from(metric.points(), point => histogramValues(metric.name, metric.bounds, point)).flat()
        : Array.from(metric.points(), scalarValue)
    } catch (error) {
      this.#registry.readFailed(metric, error)
      return []
    }
  }
}

function scalarValue({ labels, value }: ScalarPoint): PromValue {
  return { labels: Object.fromEntries(labels.pairs), value }
}

function histogramValues(name: string, bounds: readonly number[], point: HistogramPoint): PromValue[] {
  const labels = Object.fromEntries(point.labels.pairs)
  const values: PromValue[] = []
  let cumulative = 0
  for (let i = 0; i < point.counts.length; i++) {
    cumulative += point.counts[i]
    const value: PromValue = {
      labels: { le: bounds[i] ?? '+Inf', ...labels },
      value: cumulative,
      metricName: `${name}_bucket`
    }
    const exemplar = point.exemplars?.[i]
    if (exemplar !== undefined) {
      value.exemplar = {
        labelSet: { trace_id: exemplar.traceId, span_id: exemplar.spanId },
        value: exemplar.value,
        timestamp: exemplar.timestamp
      }
    }
    values.push(value)
  }
  values.push({ labels, value: point.sum, metricName: `${name}_sum` })
  values.push({ labels, value: cumulative, metricName: `${name}_count` })
  return values
}
