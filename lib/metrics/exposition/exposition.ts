/** Reads every metric of a registry into an answer, without holding the event loop for long. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { HistogramMetric, HistogramPoint, Metric, ScalarMetric, ScalarPoint } from '../metric.ts'
import type { MetricRegistry } from '../metric-registry.ts'

/** A format that metrics leave in. */
export interface MetricEncoder {
  readonly contentType: string
  readonly length: number
  /** Forgets what was written after `length`: a metric that could not be read leaves no half of itself. */
  truncate(length: number): void
  begin(metric: Metric): void
  scalar(metric: ScalarMetric, point: ScalarPoint): void
  histogram(metric: HistogramMetric, point: HistogramPoint): void
  end(metric: Metric): void
  finish(): Buffer
}

/** ms of work after which other requests have their turn. */
const sliceMs = 1
/** Points between two looks at the clock. */
const pointsPerLook = 16

/** All metrics, in one go. */
export function expose(registry: MetricRegistry, encoder: MetricEncoder): Buffer {
  for (const _ of encodeAll(registry, encoder));
  return encoder.finish()
}

/** All metrics, in slices of some 1 ms between which the event loop runs. */
export async function exposeInSlices(registry: MetricRegistry, encoder: MetricEncoder): Promise<Buffer> {
  let until = performance.now() + sliceMs
  for (const _ of encodeAll(registry, encoder)) {
    if (performance.now() < until) continue
    await nextTurn()
    until = performance.now() + sliceMs
  }
  return encoder.finish()
}

/** Stops after every few points, always between two of them. */
function* encodeAll(registry: MetricRegistry, encoder: MetricEncoder): Generator<void> {
  for (const metric of registry.metrics) {
    const start = encoder.length
    try {
      encoder.begin(metric)
      yield* metric.type === 'histogram' ? encodeHistogram(encoder, metric) : encodeScalar(encoder, metric)
      encoder.end(metric)
    } catch (error) {
      encoder.truncate(start)
      registry.readFailed(metric, error)
    }
  }
}

function* encodeScalar(encoder: MetricEncoder, metric: ScalarMetric): Generator<void> {
  let points = 0
  for (const point of metric.points()) {
    encoder.scalar(metric, point)
    if (++points % pointsPerLook === 0) yield
  }
}

function* encodeHistogram(encoder: MetricEncoder, metric: HistogramMetric): Generator<void> {
  let points = 0
  for (const point of metric.points()) {
    encoder.histogram(metric, point)
    if (++points % pointsPerLook === 0) yield
  }
}
