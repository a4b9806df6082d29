/** Metrics as JSON, for dashboards and scripts that do not read the Prometheus format. */

import type { HistogramMetric, HistogramPoint, Metric, ScalarMetric, ScalarPoint } from '../metric.ts'
import { ByteWriter } from './byte-writer.ts'
import type { MetricEncoder } from './exposition.ts'

/**
 * One object, a member for each metric:
 * `{ "<name>": { "type", "help", "unit"?, "samples": [{ "labels", "value" }] } }`; the samples of a histogram are
 * `{ "labels", "count", "sum", "buckets": [[upper bound, cumulative count]] }`. What is no finite number is null.
 */
export class MetricsJson implements MetricEncoder {
  readonly contentType = 'application/json'
  readonly #writer: ByteWriter
  #points = 0

  /** @param memory to begin with, or how many bytes of it */
  constructor(memory?: Buffer | number) {
    this.#writer = new ByteWriter(memory)
  }

  get length(): number {
    return this.#writer.length
  }

  truncate(length: number): void {
    this.#writer.truncate(length)
  }

  begin({ name, type, help, unit }: Metric): void {
    const head = JSON.stringify({ type, help, unit })
    this.#write(`${this.length === 0 ? '{' : ',\n'}"${name}":${head.slice(0, -1)},"samples":[`)
    this.#points = 0
  }

  scalar(_metric: ScalarMetric, { labels, value }: ScalarPoint): void {
    this.#writePoint({ labels: Object.fromEntries(labels.pairs), value })
  }

  histogram({ bounds }: HistogramMetric, { labels, counts, count, sum }: HistogramPoint): void {
    let cumulative = 0
    const buckets = bounds.map((bound, i) => {
      cumulative += counts[i]
      return [bound, cumulative]
    })
    this.#writePoint({ labels: Object.fromEntries(labels.pairs), count, sum, buckets })
  }

  end(_metric: Metric): void {
    this.#write(']}')
  }

  finish(): Buffer {
    this.#write(this.length === 0 ? '{}\n' : '}\n')
    return this.#writer.bytes()
  }

  #writePoint(point: object): void {
    this.#write((this.#points++ === 0 ? '' : ',') + JSON.stringify(point))
  }

  #write(text: string): void {
    this.#writer.text(text, false)
  }
}
