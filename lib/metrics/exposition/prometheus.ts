/** The Prometheus text format 0.0.4 and OpenMetrics text 1.0. */

import {
  type Exemplar,
  familyName,
  type HistogramMetric,
  type HistogramPoint,
  isAscii,
  type Metric,
  type ScalarMetric,
  type ScalarPoint
} from '../metric.ts'
import { ByteWriter } from './byte-writer.ts'
import type { MetricEncoder } from './exposition.ts'

export interface PrometheusTextOptions {
  /** OpenMetrics 1.0 with exemplars and an end mark instead of the Prometheus format. */
  openMetrics?: boolean
  /** OpenMetrics only: `_created` samples. Prometheus stores them as series of their own, hence false by default. */
  created?: boolean
  /** Bytes to begin with. */
  capacity?: number
}

const newline = 0x0a

/** Writes metrics as text; every sample of a point is written at once, so that a histogram agrees with itself. */
export class PrometheusText implements MetricEncoder {
  readonly contentType: string
  readonly #writer: ByteWriter
  readonly #openMetrics: boolean
  readonly #created: boolean
  /** Of the metric that is being written: what stands between its labels and the count, for each bound. */
  #bucketTails: readonly Buffer[] = []

  constructor({ openMetrics = false, created = false, capacity }: PrometheusTextOptions = {}) {
    this.#writer = new ByteWriter(capacity)
    this.#openMetrics = openMetrics
    this.#created = openMetrics && created
    this.contentType = openMetrics
      ? 'application/openmetrics-text; version=1.0.0; charset=utf-8'
      : 'text/plain; version=0.0.4; charset=utf-8'
  }

  get length(): number {
    return this.#writer.length
  }

  truncate(length: number): void {
    this.#writer.truncate(length)
  }

  begin(metric: Metric): void {
    const name = this.#openMetrics ? familyName(metric) : metric.name
    const unit = this.#openMetrics && metric.unit !== undefined ? `# UNIT ${name} ${metric.unit}\n` : ''
    const help = escapeHelp(metric.help, this.#openMetrics)
    const head = `# HELP ${name} ${help}\n# TYPE ${name} ${metric.type}\n${unit}`
    this.#writer.text(head, isAscii(head))
    if (metric.type === 'histogram') {
      this.#bucketTails = [...metric.bounds, Infinity].map(bound =>
        Buffer.from(`le="${this.#bound(bound)}"} `)
      )
    }
  }

  scalar(metric: ScalarMetric, { labels, value }: ScalarPoint): void {
    const braced = labels.text === '' ? '' : `{${labels.text}}`
    this.#writer.text(`${metric.name}${braced} ${formatNumber(value)}\n`, labels.ascii)
  }

  /** The beginning of a bucket's line is the same for all buckets: it is written once and then copied. */
  histogram(metric: HistogramMetric, point: HistogramPoint): void {
    const writer = this.#writer
    const { labels, counts } = point
    const exemplars = this.#openMetrics ? point.exemplars : undefined
    const start = writer.length
    writer.text(`${metric.name}_bucket{${labels.text}${labels.text === '' ? '' : ','}`, labels.ascii)
    const end = writer.length
    let cumulative = 0
    for (let i = 0; i < counts.length; i++) {
      if (i > 0) writer.repeat(start, end)
      cumulative += counts[i]
      writer.appendFew(this.#bucketTails[i])
      writer.digits(cumulative)
      const exemplar = exemplars?.[i]
      if (exemplar === undefined) writer.byte(newline)
      else writer.text(exemplarText(exemplar), true)
    }
    this.#writeRest(metric, point, cumulative)
  }

  end(_metric: Metric): void {}

  finish(): Buffer {
    if (this.#openMetrics) this.#writer.text('# EOF\n', true)
    return this.#writer.bytes()
  }

  #writeRest({ name }: HistogramMetric, { labels, sum, createdAt }: HistogramPoint, count: number): void {
    const braced = labels.text === '' ? ' ' : `{${labels.text}} `
    this.#writer.text(`${name}_sum${braced}${formatNumber(sum)}\n${name}_count${braced}`, labels.ascii)
    this.#writer.digits(count)
    this.#writer.byte(newline)
    if (this.#created) {
      this.#writer.text(`${name}_created${braced}${formatNumber(createdAt)}\n`, labels.ascii)
    }
  }

  /** OpenMetrics wants canonical bounds: `1.0`, where the older format has `1`. */
  #bound(bound: number): string {
    const text = formatNumber(bound)
    return this.#openMetrics && Number.isInteger(bound) && !text.includes('e') ? `${text}.0` : text
  }
}

/** Numbers as both formats read them: NaN, +Inf and -Inf have names of their own. */
export function formatNumber(value: number): string {
  if (value === Infinity) return '+Inf'
  return value === -Infinity ? '-Inf' : String(value)
}

function exemplarText({ traceId, spanId, value, timestamp }: Exemplar): string {
  return ` # {trace_id="${traceId}",span_id="${spanId}"} ${formatNumber(value)} ${timestamp}\n`
}

function escapeHelp(help: string, openMetrics: boolean): string {
  const escaped = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  return openMetrics ? escaped.replaceAll('"', '\\"') : escaped
}
