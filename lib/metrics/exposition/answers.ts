/** Answers for scrapers: one reading for all who ask at once, in memory that is kept for the next. */
import { promisify } from 'node:util'
import { constants, gzip } from 'node:zlib'
import type { MetricRegistry } from '../metric-registry.ts'
import type { MetricsFormat } from './accept.ts'
import { exposeInSlices, type MetricEncoder } from './exposition.ts'
import type { RefreshedRegistry } from './metrics-endpoint.ts'
import { MetricsJson } from './metrics-json.ts'
import { PrometheusText } from './prometheus.ts'
import { PrometheusProtobuf } from './prometheus-protobuf.ts'

export interface Encoded {
  body: Buffer
  contentEncoding?: 'gzip'
}

/** A smaller answer fits in one packet as it is. */
const minGzipBytes = 1_024
/** Bytes of memory that outlive an answer. */
const maxKeptBytes = 32 * 1_024 * 1_024

/**
 * New memory costs more than the text that is written into it: the kernel hands it over page by page, each time a scrape
 * comes. So one piece of memory is kept, and lent to one answer at a time.
 */
export class Answers {
  readonly #registry: MetricRegistry & RefreshedRegistry
  readonly #created: boolean
  readonly #pending = new Map<MetricsFormat, PendingAnswer>()
  #kept: Buffer | undefined
  /** Bytes to begin with when no memory is kept: those of the last answer and some more. */
  #guess = 16_384

  /** @param created whether OpenMetrics has `_created` samples */
  constructor(registry: MetricRegistry & RefreshedRegistry, created: boolean) {
    this.#registry = registry
    this.#created = created
  }

  /** The answer that is being made, or a new one. Who takes it releases it, once, when its bytes have been sent. */
  take(format: MetricsFormat): Promise<Answer> {
    const pending = this.#pending.get(format) ?? { takers: 0 }
    this.#pending.set(format, pending)
    pending.takers++
    pending.answer ??= this.#make(format, pending)
    return pending.answer
  }

  async #make(format: MetricsFormat, pending: PendingAnswer): Promise<Answer> {
    try {
      await this.#registry.refresh?.()
      const memory = this.#kept ?? Buffer.allocUnsafeSlow(this.#guess)
      this.#kept = undefined
      const encoder = this.#encoder(format, memory)
      const body = await exposeInSlices(this.#registry, encoder)
      this.#guess = body.length + 4_096
      return new Answer(encoder.contentType, body, pending.takers, () => this.#keep(body))
    } finally {
      this.#pending.delete(format)
    }
  }

  #encoder(format: MetricsFormat, memory: Buffer): MetricEncoder {
    if (format === 'protobuf') return new PrometheusProtobuf(memory)
    if (format === 'json') return new MetricsJson(memory)
    return new PrometheusText({ openMetrics: format === 'openmetrics', created: this.#created }, memory)
  }

  /** Of two answers that were made at once, the larger's. */
  #keep(body: Buffer): void {
    const memory = Buffer.from(body.buffer)
    if (memory.length > maxKeptBytes || memory.length < (this.#kept?.length ?? 0)) return
    this.#kept = memory
  }
}

interface PendingAnswer {
  answer?: Promise<Answer>
  takers: number
}

const gzipInPool = promisify(gzip)

class Answer implements Encoded {
  readonly contentType: string
  readonly body: Buffer
  readonly #onReleased: () => void
  #takers: number
  #zipped: Promise<Encoded> | undefined

  constructor(contentType: string, body: Buffer, takers: number, onReleased: () => void) {
    this.contentType = contentType
    this.body = body
    this.#takers = takers
    this.#onReleased = onReleased
  }

  /** Compressed, once for all who share the answer. Fast before small: lines of metrics are so alike that little is left. */
  zipped(): Encoded | Promise<Encoded> {
    if (this.body.length < minGzipBytes) return this
    this.#zipped ??= gzipInPool(this.body, { level: constants.Z_BEST_SPEED, chunkSize: 65_536 }).then(
      body => ({ body, contentEncoding: 'gzip' })
    )
    return this.#zipped
  }

  release(): void {
    this.#takers--
    if (this.#takers === 0) this.#onReleased()
  }
}
