/** Makes one set of metrics of those of several processes. */
import {
  type Exemplar,
  type HistogramMetric,
  type HistogramPoint,
  LabelSet,
  type Metric,
  type NativeBuckets,
  type ScalarMetric,
  type ScalarPoint
} from '../metric.ts'

export interface MetricsOfProcess {
  /** Tells its gauges from those of the others, which cannot be added up; undefined to leave gauges out. */
  process: string | undefined
  metrics: Iterable<Metric>
}

/**
 * Counters and histograms with the same labels are added up; of exemplars, the latest of each bucket is kept. Gauges
 * stay apart, under a label `cluster_worker`: the sum of two averages means nothing.
 * @param onError told of a metric of one process that is left out: it cannot be read, or another process has another
 * type or other bounds under its name
 */
export function mergedMetrics(
  processes: Iterable<MetricsOfProcess>,
  onError: (metric: Metric, error: unknown) => void
): Metric[] {
  const merged = new Map<string, MergedScalar | MergedHistogram>()
  for (const { process, metrics } of processes) {
    for (const metric of metrics) {
      if (metric.type === 'gauge' && process === undefined) continue
      try {
        add(merged, metric, process)
      } catch (error) {
        onError(metric, error)
      }
    }
  }
  return [...merged.values()]
}

function add(
  merged: Map<string, MergedScalar | MergedHistogram>,
  metric: Metric,
  process: string | undefined
): void {
  let target = merged.get(metric.name)
  if (target === undefined) {
    target = metric.type === 'histogram' ? new MergedHistogram(metric) : new MergedScalar(metric)
    merged.set(metric.name, target)
  }
  if (target instanceof MergedHistogram && metric.type === 'histogram' && target.fits(metric)) {
    target.add([...metric.points()])
  } else if (target instanceof MergedScalar && metric.type === target.type) {
    target.add([...metric.points()], process)
  } else {
    throw new TypeError(`${metric.name} has another type or other bounds in another process`)
  }
}

class MergedScalar implements ScalarMetric {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge'
  readonly unit?: string
  readonly #points = new Map<string, { labels: LabelSet; value: number }>()

  constructor({ name, help, type, unit }: ScalarMetric) {
    this.name = name
    this.help = help
    this.type = type
    if (unit !== undefined) this.unit = unit
  }

  points(): Iterable<ScalarPoint> {
    return this.#points.values()
  }

  add(points: readonly ScalarPoint[], process: string | undefined): void {
    for (const point of points) {
      const labels =
        this.type === 'gauge' && process !== undefined
          ? new LabelSet([...point.labels.pairs, ['cluster_worker', process]])
          : point.labels
      const known = this.#points.get(labels.text)
      if (known === undefined) this.#points.set(labels.text, { labels, value: point.value })
      else known.value += point.value
    }
  }
}

class MergedHistogram implements HistogramMetric {
  readonly name: string
  readonly help: string
  readonly type = 'histogram'
  readonly unit?: string
  readonly bounds: readonly number[]
  readonly #points = new Map<string, HistogramPoint>()

  constructor({ name, help, unit, bounds }: HistogramMetric) {
    this.name = name
    this.help = help
    this.bounds = bounds
    if (unit !== undefined) this.unit = unit
  }

  points(): Iterable<HistogramPoint> {
    return this.#points.values()
  }

  /** What another process observes is not heard here. */
  onObservation(): () => void {
    return () => undefined
  }

  fits({ bounds }: HistogramMetric): boolean {
    return bounds.length === this.bounds.length && bounds.every((bound, i) => bound === this.bounds[i])
  }

  add(points: readonly HistogramPoint[]): void {
    for (const point of points) {
      const known = this.#points.get(point.labels.text)
      this.#points.set(point.labels.text, known === undefined ? copied(point) : sumOf(known, point))
    }
  }
}

/** The metric goes on counting. */
function copied({
  labels,
  counts,
  count,
  sum,
  createdAt,
  exemplars,
  native
}: HistogramPoint): HistogramPoint {
  return {
    labels,
    counts: Array.from(counts),
    count,
    sum,
    createdAt,
    exemplars: exemplars && [...exemplars],
    native: native && copiedNative(native)
  }
}

function copiedNative({
  schema,
  zeroThreshold,
  zeroCount,
  firstIndex,
  counts
}: NativeBuckets): NativeBuckets {
  return { schema, zeroThreshold, zeroCount, firstIndex, counts: Array.from(counts) }
}

function sumOf(a: HistogramPoint, b: HistogramPoint): HistogramPoint {
  return {
    labels: a.labels,
    counts: Array.from(a.counts, (count, i) => count + b.counts[i]!),
    count: a.count + b.count,
    sum: a.sum + b.sum,
    createdAt: Math.min(a.createdAt, b.createdAt),
    exemplars: latest(a.exemplars, b.exemplars),
    native: nativeSum(a, b)
  }
}

function latest(
  a: HistogramPoint['exemplars'],
  b: HistogramPoint['exemplars']
): (Exemplar | undefined)[] | undefined {
  if (a === undefined || b === undefined) return (a ?? b) && [...(a ?? b)!]
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => {
    const [one, other] = [a[i], b[i]]
    if (one === undefined || other === undefined) return one ?? other
    return one.timestamp >= other.timestamp ? one : other
  })
}

/** None when a process has none, or another resolution: it would not have all that `count` has. */
function nativeSum({ native: a }: HistogramPoint, { native: b }: HistogramPoint): NativeBuckets | undefined {
  if (a === undefined || b === undefined) return undefined
  if (a.schema !== b.schema || a.zeroThreshold !== b.zeroThreshold) return undefined
  if (a.counts.length === 0 || b.counts.length === 0) {
    return { ...copiedNative(a.counts.length === 0 ? b : a), zeroCount: a.zeroCount + b.zeroCount }
  }
  const firstIndex = Math.min(a.firstIndex, b.firstIndex)
  const end = Math.max(a.firstIndex + a.counts.length, b.firstIndex + b.counts.length)
  const counts = new Array<number>(end - firstIndex).fill(0)
  for (const { firstIndex: first, counts: added } of [a, b]) {
    for (let i = 0; i < added.length; i++) counts[first - firstIndex + i]! += added[i]!
  }
  return {
    schema: a.schema,
    zeroThreshold: a.zeroThreshold,
    zeroCount: a.zeroCount + b.zeroCount,
    firstIndex,
    counts
  }
}
