/** The Prometheus protobuf format (io.prometheus.client.MetricFamily, delimited): the one that carries native histograms. */

import {
  type Exemplar,
  type HistogramMetric,
  type HistogramPoint,
  isAscii,
  type LabelSet,
  type Metric,
  type NativeBuckets,
  type ScalarMetric,
  type ScalarPoint
} from '../metric.ts'
import { ByteWriter } from './byte-writer.ts'
import type { MetricEncoder } from './exposition.ts'

/** Wire types (protobuf encoding). */
const varint = 0
const fixed64 = 1
const delimited = 2

const metricTypes = { counter: 0, gauge: 1, histogram: 4 } as const
/** Empty buckets between two spans that cost less than a span of their own. */
const maxGap = 2

/**
 * Writes the few messages of metrics.proto that Ostiary has use for. They are written here and not by a library: it is
 * a varint, a double and a length, at scrape time for thousands of points, and no user needs another package for it.
 * Field numbers: github.com/prometheus/client_model, io/prometheus/client/metrics.proto.
 */
export class PrometheusProtobuf implements MetricEncoder {
  readonly contentType =
    'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited'
  readonly #writer: ByteWriter
  /** The family, the metric and its innermost messages while they are put together: their length comes first. */
  readonly #family = new ByteWriter()
  readonly #metric = new ByteWriter()
  readonly #value = new ByteWriter()
  readonly #inner = new ByteWriter(256)
  readonly #innermost = new ByteWriter(256)

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

  begin(metric: Metric): void {
    const family = this.#family
    family.truncate(0)
    string(family, 1, metric.name)
    string(family, 2, metric.help)
    integer(family, 3, metricTypes[metric.type])
    if (metric.unit !== undefined) string(family, 5, metric.unit)
  }

  scalar(metric: ScalarMetric, { labels, value }: ScalarPoint): void {
    this.#value.truncate(0)
    double(this.#value, 1, value)
    this.#writePoint(labels, metric.type === 'gauge' ? 2 : 3)
  }

  histogram(metric: HistogramMetric, point: HistogramPoint): void {
    const message = this.#value
    message.truncate(0)
    integer(message, 1, point.count)
    double(message, 2, point.sum)
    this.#writeBuckets(metric.bounds, point)
    if (point.native !== undefined) this.#writeNative(point.native)
    timestamp(message, 15, point.createdAt, this.#inner)
    this.#writePoint(point.labels, 7)
  }

  end(_metric: Metric): void {
    this.#writer.varint(this.#family.length)
    this.#writer.append(this.#family.bytes())
  }

  finish(): Buffer {
    return this.#writer.bytes()
  }

  /** A Metric of the family: its labels, and what is in `#value` as the given field. */
  #writePoint(labels: LabelSet, field: number): void {
    const metric = this.#metric
    metric.truncate(0)
    for (const [name, value] of labels.pairs) {
      this.#inner.truncate(0)
      string(this.#inner, 1, name)
      string(this.#inner, 2, value)
      message(metric, 1, this.#inner)
    }
    message(metric, field, this.#value)
    message(this.#family, 4, metric)
  }

  #writeBuckets(bounds: readonly number[], { counts, exemplars }: HistogramPoint): void {
    let cumulative = 0
    for (let i = 0; i < counts.length; i++) {
      cumulative += counts[i]
      const exemplar = exemplars?.[i]
      // The bucket up to infinity is the count, unless it has an exemplar to carry.
      if (i === bounds.length && exemplar === undefined) continue
      this.#inner.truncate(0)
      integer(this.#inner, 1, cumulative)
      double(this.#inner, 2, bounds[i] ?? Infinity)
      if (exemplar !== undefined) this.#writeExemplar(exemplar)
      message(this.#value, 3, this.#inner)
    }
  }

  #writeExemplar({ traceId, spanId, value, timestamp: at }: Exemplar): void {
    const exemplar = new ByteWriter(128)
    for (const [name, text] of [
      ['trace_id', traceId],
      ['span_id', spanId]
    ]) {
      this.#innermost.truncate(0)
      string(this.#innermost, 1, name)
      string(this.#innermost, 2, text)
      message(exemplar, 1, this.#innermost)
    }
    double(exemplar, 2, value)
    timestamp(exemplar, 3, at, this.#innermost)
    message(this.#inner, 3, exemplar)
  }

  /** Spans of neighbouring buckets, each with its distance from the last, and counts as differences from the last. */
  #writeNative(native: NativeBuckets): void {
    const histogram = this.#value
    integer(histogram, 5, zigZag(native.schema))
    double(histogram, 6, native.zeroThreshold)
    integer(histogram, 7, native.zeroCount)
    const spans = spansOf(native.counts)
    let end = 0
    for (const { start, length } of spans) {
      const offset = end === 0 ? native.firstIndex + start : start - end
      this.#inner.truncate(0)
      integer(this.#inner, 1, zigZag(offset))
      integer(this.#inner, 2, length)
      message(histogram, 12, this.#inner)
      end = start + length
    }
    // Without any span the parser would not know it for a native histogram.
    if (spans.length === 0) {
      this.#inner.truncate(0)
      message(histogram, 12, this.#inner)
    }
    let last = 0
    for (const { start, length } of spans) {
      for (let i = start; i < start + length; i++) {
        integer(histogram, 13, zigZag(native.counts[i] - last))
        last = native.counts[i]
      }
    }
  }
}

interface Span {
  start: number
  length: number
}

function spansOf(counts: ArrayLike<number>): Span[] {
  const spans: Span[] = []
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] === 0) continue
    const last = spans.at(-1)
    if (last !== undefined && i - (last.start + last.length) <= maxGap) last.length = i - last.start + 1
    else spans.push({ start: i, length: 1 })
  }
  return spans
}

/** Signed integers with the sign in the lowest bit; by arithmetic, for counts above 32 bits. */
function zigZag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value
}

function integer(writer: ByteWriter, field: number, value: number): void {
  writer.varint((field << 3) | varint)
  writer.varint(value)
}

function double(writer: ByteWriter, field: number, value: number): void {
  writer.varint((field << 3) | fixed64)
  writer.double(value)
}

function string(writer: ByteWriter, field: number, text: string): void {
  const ascii = isAscii(text)
  writer.varint((field << 3) | delimited)
  writer.varint(ascii ? text.length : Buffer.byteLength(text))
  writer.text(text, ascii)
}

function message(writer: ByteWriter, field: number, content: ByteWriter): void {
  writer.varint((field << 3) | delimited)
  writer.varint(content.length)
  writer.append(content.bytes())
}

/** @param scratch overwritten */
function timestamp(writer: ByteWriter, field: number, seconds: number, scratch: ByteWriter): void {
  const whole = Math.floor(seconds)
  scratch.truncate(0)
  integer(scratch, 1, whole)
  integer(scratch, 2, Math.floor((seconds - whole) * 1e9))
  message(writer, field, scratch)
}
