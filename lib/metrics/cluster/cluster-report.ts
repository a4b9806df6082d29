/** What processes of a cluster tell each other about metrics: plain values that survive JSON. */
import type { Histogram, HistogramJson } from '../histogram/histogram.ts'
import {
  type Exemplar,
  type HistogramMetric,
  type HistogramPoint,
  LabelSet,
  type Metric,
  type NativeBuckets,
  type ScalarPoint
} from '../metric.ts'

/** The primary asks for a report that is made after this. */
export interface ReportRequest {
  ostiary: 'metrics_request'
  request: number
}

/** Reports come in pieces, each small enough to be made and sent between two requests; the last one completes them. */
export type ReportPiece = { ostiary: 'metrics_report' } /** What came of another report since is void. */ & (
  | { begin: true }
  | { metric: MetricPiece }
  | { histogram: string; content: HistogramJson }
  /** The last request that had come when the report was begun; 0 for none. */
  | { complete: true; request: number }
)

/** Some points of a metric. */
interface MetricPiece {
  name: string
  help: string
  type: Metric['type']
  unit?: string
  bounds?: readonly number[]
  points: (ScalarPiece | HistogramPiece)[]
}

type LabelPairs = LabelSet['pairs']

interface ScalarPiece {
  labels: LabelPairs
  /** As text when JSON has no number for it. */
  value: number | string
}

interface HistogramPiece {
  labels: LabelPairs
  counts: number[]
  count: number
  sum: number | string
  createdAt: number
  exemplars?: (Exemplar | null)[]
  native?: Omit<NativeBuckets, 'counts'> & { counts: number[] }
}

const pointsPerPiece = 100

/**
 * @param request the last one that has come
 * @param onError told of a metric that cannot be read; it is left out
 */
export function* reportPieces(
  request: number,
  metrics: Iterable<Metric>,
  histograms: Readonly<Record<string, Histogram>>,
  onError: (metric: Metric, error: unknown) => void
): Generator<ReportPiece> {
  yield { ostiary: 'metrics_report', begin: true }
  for (const metric of metrics) {
    try {
      for (const piece of metricPieces(metric)) yield { ostiary: 'metrics_report', metric: piece }
    } catch (error) {
      onError(metric, error)
    }
  }
  for (const [name, histogram] of Object.entries(histograms)) {
    yield { ostiary: 'metrics_report', histogram: name, content: histogram.toJSON() }
  }
  yield { ostiary: 'metrics_report', complete: true, request }
}

function* metricPieces(metric: Metric): Generator<MetricPiece> {
  const { name, help, type, unit } = metric
  const head = {
    ...{ name, help, type },
    ...(unit === undefined ? undefined : { unit }),
    ...(metric.type === 'histogram' ? { bounds: [...metric.bounds] } : undefined)
  }
  let points: MetricPiece['points'] = []
  for (const point of metric.points()) {
    points.push('counts' in point ? histogramPiece(point) : scalarPiece(point))
    if (points.length < pointsPerPiece) continue
    yield { ...head, points }
    points = []
  }
  yield { ...head, points }
}

function scalarPiece({ labels, value }: ScalarPoint): ScalarPiece {
  return { labels: labels.pairs, value: jsonNumber(value) }
}

function histogramPiece(point: HistogramPoint): HistogramPiece {
  const { labels, counts, count, sum, createdAt, exemplars, native } = point
  return {
    ...{ labels: labels.pairs, counts: Array.from(counts), count, sum: jsonNumber(sum), createdAt },
    ...(exemplars && { exemplars: Array.from(exemplars, exemplar => exemplar ?? null) }),
    ...(native && {
      native: {
        schema: native.schema,
        zeroThreshold: native.zeroThreshold,
        zeroCount: native.zeroCount,
        firstIndex: native.firstIndex,
        counts: Array.from(native.counts)
      }
    })
  }
}

function jsonNumber(value: number): number | string {
  return Number.isFinite(value) ? value : String(value)
}

/** A metric that another process reported, put together again. */
export class ReportedMetric {
  readonly metric: Metric
  readonly #points: (ScalarPoint | HistogramPoint)[] = []

  constructor({ name, help, type, unit, bounds = [] }: MetricPiece) {
    const described = { name, help, ...(unit === undefined ? undefined : { unit }) }
    this.metric =
      type === 'histogram'
        ? ({
            ...described,
            type,
            bounds,
            points: () => this.#points as HistogramPoint[],
            onObservation: () => () => undefined
          } satisfies HistogramMetric)
        : { ...described, type, points: () => this.#points as ScalarPoint[] }
  }

  add({ points }: MetricPiece): void {
    for (const point of points) {
      const labels = new LabelSet(point.labels)
      if ('counts' in point) {
        this.#points.push({
          ...point,
          labels,
          sum: Number(point.sum),
          exemplars: point.exemplars?.map(exemplar => exemplar ?? undefined),
          native: point.native
        })
      } else {
        this.#points.push({ labels, value: Number(point.value) })
      }
    }
  }
}
