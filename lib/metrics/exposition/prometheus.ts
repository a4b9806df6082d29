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
}

const [newline, blank, comma, openBrace, closeBrace] = Buffer.from('\n ,{}')

/** Of a histogram's lines, each with the end of the line before. */
interface HistogramParts {
  bucket: Buffer
  /** Between the labels and the count, for each bound. */
  tails: readonly Buffer[]
  sum: Buffer
  count: Buffer
  created: Buffer
}

const nothing = Buffer.alloc(0)

/** Writes metrics as text; every sample of a point is written at once, so that a histogram agrees with itself. */
export class PrometheusText implements MetricEncoder {
  readonly contentType: string
  readonly #writer: ByteWriter
  readonly #openMetrics: boolean
  readonly #created: boolean
  /** Of the histogram that is being written: what does not change from point to point. */
  #parts: HistogramParts | undefined

  /** @param memory to begin with, or how many bytes of it */
  constructor(
    { openMetrics = false, created = false }: PrometheusTextOptions = {},
    memory?: Buffer | number
  ) {
    this.#writer = new ByteWriter(memory)
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
      this.#parts = {
        bucket: Buffer.from(`\n${metric.name}_bucket{`),
        tails: [...metric.bounds, Infinity].map(bound => Buffer.from(`le="${this.#bound(bound)}"} `)),
        sum: Buffer.from(`\n${metric.name}_sum`),
        count: Buffer.from(`\n${metric.name}_count`),
        created: Buffer.from(`\n${metric.name}_created`)
      }
    }
  }

  scalar(metric: ScalarMetric, { labels, value }: ScalarPoint): void {
    const braced = labels.text === '' ? '' : `{${labels.text}}`
    this.#writer.text(`${metric.name}${braced} ${formatNumber(value)}\n`, labels.ascii)
  }

  /** Labels, and what stands before them in a bucket's line, are written once and then copied from line to line. */
  histogram(_metric: HistogramMetric, point: HistogramPoint): void {
    const writer = this.#writer
    const parts = this.#parts!
    const { labels, counts } = point
    const exemplars = this.#openMetrics ? point.exemplars : undefined
    // Every line begins with the end of the one before; that of the last is written last.
    const start = writer.length - 1
    writer.truncate(start)
    writer.append(parts.bucket)
    const from = writer.length
    writer.text(labels.text, labels.ascii)
    const to = writer.length
    if (to > from) writer.byte(comma)
    const end = writer.length
    let cumulative = 0
    for (let i = 0; i < counts.length; i++) {
      if (i > 0) writer.repeat(start, end)
      cumulative += counts[i]
      writer.appendCount(parts.tails[i], cumulative)
      const exemplar = exemplars?.[i]
      if (exemplar !== undefined) writer.text(exemplarText(exemplar), true)
    }
    this.#begin(parts.sum, from, to)
    writer.text(formatNumber(point.sum), true)
    this.#begin(parts.count, from, to)
    writer.appendCount(nothing, cumulative)
    if (this.#created) {
      this.#begin(parts.created, from, to)
      writer.text(formatNumber(point.createdAt), true)
    }
    writer.byte(newline)
  }

  end(_metric: Metric): void {}

  finish(): Buffer {
    if (this.#openMetrics) this.#writer.text('# EOF\n', true)
    return this.#writer.bytes()
  }

  /** A line up to its value, with the labels that stand between `from` and `to`. */
  #begin(name: Buffer, from: number, to: number): void {
    const writer = this.#writer
    writer.append(name)
    if (to > from) {
      writer.byte(openBrace)
      writer.repeat(from, to)
      writer.byte(closeBrace)
    }
    writer.byte(blank)
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
  return ` # {trace_id="${traceId}",span_id="${spanId}"} ${formatNumber(value)} ${timestamp}`
}

function escapeHelp(help: string, openMetrics: boolean): string {
  const escaped = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  return openMetrics ? escaped.replaceAll('"', '\\"') : escaped
}
