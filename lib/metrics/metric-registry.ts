/** The metrics of one process: what is exposed, under names that no two parts share. */
import { defaultReporter, type Reporter } from '../http/reporter.ts'
import { checkFunction, checkInteger, checkOption, shown, wrongOption } from '../options.ts'
import { expose } from './exposition/exposition.ts'
import { PrometheusText, type PrometheusTextOptions } from './exposition/prometheus.ts'
import {
  familyName,
  LabelSet,
  type Metric,
  type MetricSource,
  type ScalarMetric,
  type ScalarPoint,
  wellFormed
} from './metric.ts'

/** How a number, or several under label values, is taken out of what a part says of itself. */
export interface StatMetric<Stats> {
  name: string
  help: string
  type: 'counter' | 'gauge'
  unit?: string
  /** Label names, when `value` gives several samples. */
  labels?: readonly string[]
  /** A number; undefined where there is none at the moment; or samples of one value for each label name and a number. */
  value: (stats: Stats) => number | undefined | Iterable<StatSample>
}

export type StatSample = readonly [labelValues: readonly string[], value: number]

export interface MetricRegistryOptions {
  /** Samples of one metric from a `source`; what is above is left out and counted. Default 2 000. */
  maxSamples?: number
  reporter?: Reporter
}

/**
 * Holds metrics and checks them when they come: names, labels, units, and that no sample name is taken twice
 * (a counter `x_total` and a gauge `x` are one family to OpenMetrics).
 *
 * @example
 * const registry = new MetricRegistry()
 * registry.source(() => limiter.stats, [
 *   { name: 'ostiary_rate_limit_keys', type: 'gauge', help: 'Keys in memory.', value: stats => stats.keys }
 * ])
 */
export class MetricRegistry {
  readonly #metrics = new Map<string, Metric>()
  readonly #sampleNames = new Set<string>()
  readonly #listeners = new Set<(metric: Metric) => void>()
  readonly #reporter: Reporter
  readonly #maxSamples: number
  #readErrors = 0
  #droppedSamples = 0

  /** @throws TypeError when an option is not what it must be. */
  constructor(options: MetricRegistryOptions = {}) {
    const { maxSamples = 2_000, reporter = defaultReporter } = options
    checkInteger('MetricRegistry', 'maxSamples', maxSamples, 1)
    this.#maxSamples = maxSamples
    this.#reporter = reporter
    this.source(() => this, ownMetrics)
  }

  /** What was registered, in order. */
  get metrics(): Iterable<Metric> {
    return this.#metrics.values()
  }

  /** Metrics that could not be read, and samples above `maxSamples`. */
  get stats(): { readErrors: number; droppedSamples: number } {
    return { readErrors: this.#readErrors, droppedSamples: this.#droppedSamples }
  }

  /**
   * Adds what a part measures.
   * @throws TypeError when a name, label or unit is not valid, or a name is taken
   */
  add(source: MetricSource): void {
    for (const metric of source.metrics) this.#register(metric)
  }

  /**
   * Adds metrics that are read from plain numbers when they are asked for.
   * @param read gives the numbers, e.g. a `stats` getter; called for each metric at each scrape
   * @throws TypeError when a name, label or unit is not valid, or a name is taken
   */
  source<Stats>(read: () => Stats, metrics: readonly StatMetric<Stats>[]): void {
    checkOption(typeof read === 'function', 'MetricRegistry', 'a source', 'read by a function', read)
    for (const metric of metrics) {
      const labelNames = metric.labels ?? []
      checkStat(metric, labelNames)
      this.#register(
        new StatReader(metric, labelNames, read, this.#maxSamples, dropped => {
          this.#droppedSamples += dropped
        })
      )
    }
  }

  /** Calls `listener` for each metric there is and each that comes later; gives what stops that. */
  onMetric(listener: (metric: Metric) => void): () => void {
    for (const metric of this.#metrics.values()) listener(metric)
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /** All metrics as text, in one go; `metricsEndpoint` does it in slices. */
  toPrometheus(options: PrometheusTextOptions = {}): string {
    return expose(this, new PrometheusText(options)).toString()
  }

  /** A metric that failed while it was read: left out of this answer, counted and told. */
  readFailed(metric: Metric, error: unknown): void {
    this.#readErrors++
    this.#reporter.report('metrics_read', new Error(`${metric.name} cannot be read`, { cause: error }))
  }

  #register(metric: Metric): void {
    const names = sampleNames(checked(metric))
    for (const name of names) {
      if (this.#sampleNames.has(name)) {
        throw new TypeError(`MetricRegistry: the name ${name} is taken, got it again with ${metric.name}`)
      }
    }
    for (const name of names) this.#sampleNames.add(name)
    this.#metrics.set(metric.name, metric)
    for (const listener of this.#listeners) listener(metric)
  }
}

const ownMetrics: StatMetric<MetricRegistry>[] = [
  {
    name: 'ostiary_metrics_read_errors_total',
    type: 'counter',
    help: 'Metrics that were left out of an answer because they could not be read.',
    value: registry => registry.stats.readErrors
  },
  {
    name: 'ostiary_metrics_dropped_samples_total',
    type: 'counter',
    help: 'Samples that were left out because their metric had too many.',
    value: registry => registry.stats.droppedSamples
  }
]

class StatReader<Stats> implements ScalarMetric {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge'
  readonly unit?: string
  readonly #labelNames: readonly string[]
  readonly #read: () => Stats
  readonly #value: StatMetric<Stats>['value']
  readonly #maxSamples: number
  readonly #dropped: (count: number) => void

  constructor(
    metric: StatMetric<Stats>,
    labelNames: readonly string[],
    read: () => Stats,
    maxSamples: number,
    dropped: (count: number) => void
  ) {
    this.name = metric.name
    this.help = metric.help
    this.type = metric.type
    if (metric.unit !== undefined) this.unit = metric.unit
    this.#labelNames = labelNames
    this.#read = read
    this.#value = metric.value
    this.#maxSamples = maxSamples
    this.#dropped = dropped
  }

  points(): ScalarPoint[] {
    const value = this.#value(this.#read())
    if (value === undefined) return []
    if (typeof value === 'number') return [{ labels: LabelSet.empty, value: this.#checked(value) }]
    const points: ScalarPoint[] = []
    const seen = new Set<string>()
    let dropped = 0
    for (const [labelValues, number] of value) {
      if (labelValues.length !== this.#labelNames.length || typeof number !== 'number') {
        throw new TypeError(`${this.name} must give a number and ${this.#labelNames.length} label values`)
      }
      if (points.length >= this.#maxSamples) {
        dropped++
        continue
      }
      const labels = new LabelSet(
        this.#labelNames.map((name, i) => [name, wellFormed(String(labelValues[i]))])
      )
      if (seen.has(labels.text))
        throw new TypeError(`${this.name} must give label values once, got ${labels.text}`)
      seen.add(labels.text)
      points.push({ labels, value: this.#checked(number) })
    }
    if (dropped > 0) this.#dropped(dropped)
    return points
  }

  /** One counter that is none, and a strict reader of OpenMetrics refuses the whole answer. */
  #checked(value: number): number {
    if (this.type === 'counter' && !(value >= 0)) {
      throw new TypeError(`${this.name} must give a number from 0 up, got ${value}`)
    }
    return value
  }
}

const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const labelName = /^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/
const reservedEnd = /_(?:total|created|bucket|count|sum|info)$/

function checked(metric: Metric): Metric {
  const { name, help, type, unit } = metric
  if (typeof name !== 'string' || !metricName.test(name)) {
    throw wrongOption('MetricRegistry', 'name', 'a Prometheus metric name', shown(name))
  }
  if (typeof help !== 'string' || help === '') {
    throw new TypeError(`MetricRegistry: help of ${name} must say what it is, got ${JSON.stringify(help)}`)
  }
  if (type !== 'counter' && type !== 'gauge' && type !== 'histogram') {
    throw wrongOption('MetricRegistry', `type of ${name}`, 'counter, gauge or histogram', type)
  }
  if (type === 'counter' && !/._total$/.test(name)) {
    throw new TypeError(`MetricRegistry: name of a counter must end in _total, got ${name}`)
  }
  if (reservedEnd.test(familyName(metric))) {
    throw new TypeError(
      `MetricRegistry: name of a ${type} must not end like a sample of another type, got ${name}`
    )
  }
  if (unit !== undefined && !familyName(metric).endsWith(`_${unit}`)) {
    throw wrongOption('MetricRegistry', `unit of ${name}`, 'the end of its name', shown(unit))
  }
  return metric
}

function checkStat<Stats>({ name, value }: StatMetric<Stats>, labels: readonly string[]): void {
  checkFunction('MetricRegistry', `value of ${name}`, value)
  for (const label of labels) {
    if (typeof label !== 'string' || !labelName.test(label) || label === 'le' || label === 'quantile') {
      throw wrongOption(
        'MetricRegistry',
        `labels of ${name}`,
        'Prometheus label names that are not reserved',
        shown(label)
      )
    }
  }
  if (new Set(labels).size < labels.length) {
    throw new TypeError(`MetricRegistry: labels of ${name} must differ, got ${JSON.stringify(labels)}`)
  }
}

function sampleNames(metric: Metric): string[] {
  const family = familyName(metric)
  if (metric.type === 'gauge') return [family]
  if (metric.type === 'counter') return [family, `${family}_total`, `${family}_created`]
  return [family, `${family}_bucket`, `${family}_count`, `${family}_sum`, `${family}_created`]
}
