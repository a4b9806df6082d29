/** What a metric is, between the part that measures and the format it leaves in. */

/** Label names and values, rendered once: `a="b",c="d"`, values escaped. */
export class LabelSet {
  static readonly empty: LabelSet = new LabelSet([])
  readonly pairs: readonly (readonly [name: string, value: string])[]
  readonly text: string
  /** True when the text can be written byte for character. */
  readonly ascii: boolean

  /** Pairs with an empty value are left out: to Prometheus, an empty label and none are the same. */
  constructor(pairs: readonly (readonly [name: string, value: string])[]) {
    this.pairs = pairs.filter(([, value]) => value !== '')
    this.text = this.pairs.map(([name, value]) => `${name}="${escapeLabelValue(value)}"`).join(',')
    this.ascii = isAscii(this.text)
  }
}

export interface ScalarPoint {
  readonly labels: LabelSet
  readonly value: number
}

/** The trace that a measured value belongs to (OpenMetrics exemplar). */
export interface Exemplar {
  readonly traceId: string
  readonly spanId: string
  readonly value: number
  /** Seconds since the epoch. */
  readonly timestamp: number
}

/** Counts by powers of 2^(2^-schema), as Prometheus native histograms have them. */
export interface NativeBuckets {
  readonly schema: number
  readonly zeroThreshold: number
  readonly zeroCount: number
  /** Index of the first count: bucket i holds (base^(i−1), base^i]. */
  readonly firstIndex: number
  readonly counts: ArrayLike<number>
}

export interface HistogramPoint {
  readonly labels: LabelSet
  /** One count for each bound, not cumulative, and one for what is above the last. */
  readonly counts: ArrayLike<number>
  readonly count: number
  readonly sum: number
  /** Seconds since the epoch. */
  readonly createdAt: number
  /** The latest of each bucket. */
  readonly exemplars: readonly (Exemplar | undefined)[] | undefined
  readonly native: NativeBuckets | undefined
}

interface Described {
  /** The Prometheus name. Counters end in `_total`; a unit is the end of the name (before `_total`). */
  readonly name: string
  readonly help: string
  readonly unit?: string
}

export interface ScalarMetric extends Described {
  readonly type: 'counter' | 'gauge'
  points(): Iterable<ScalarPoint>
}

export interface HistogramMetric extends Described {
  readonly type: 'histogram'
  /** Upper bounds, ascending, each inclusive; `+Inf` is implied. */
  readonly bounds: readonly number[]
  points(): Iterable<HistogramPoint>
  /** Hands every later observation to `listener` as it is made, and gives what stops that. */
  onObservation(listener: (value: number, labels: LabelSet) => void): () => void
}

export type Metric = ScalarMetric | HistogramMetric

/** A metric of one number and no labels. */
export function singleMetric(described: Omit<ScalarMetric, 'points'>, read: () => number): ScalarMetric {
  return { ...described, points: () => [{ labels: LabelSet.empty, value: read() }] }
}

/** Anything that measures. */
export interface MetricSource {
  readonly metrics: readonly Metric[]
}

/** The family's name in OpenMetrics, where a counter's `_total` belongs to the sample. */
export function familyName(metric: Metric): string {
  return metric.type === 'counter' ? metric.name.slice(0, -'_total'.length) : metric.name
}

function escapeLabelValue(value: string): string {
  return /[\\"\n]/.test(value)
    ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
    : value
}

export function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7e) return false
  return true
}

/**
 * The text as a reader of UTF-8 gets it: halves of surrogate pairs are one and the same character there, and labels that
 * differ in nothing else would be the same labels.
 */
export function wellFormed(text: string): string {
  // ECMAScript 2024; Node has had it since 20.
  return (text as unknown as { toWellFormed(): string }).toWellFormed()
}
