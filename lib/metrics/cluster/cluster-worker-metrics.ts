/** Tells the primary of a cluster what this worker measured. */
import { defaultReporter, type Reporter } from '../../http/reporter.ts'
import { checkOption, wrongOption } from '../../options.ts'
import type { Histogram } from '../histogram/histogram.ts'
import { MetricRegistry } from '../metric-registry.ts'
import { type ReportPiece, type ReportRequest, reportPieces } from './cluster-report.ts'

export interface WorkerMetricsOptions {
  /** Its counters, gauges and histograms are reported. */
  registry: MetricRegistry
  /** Histograms to be merged with those of the same name in other workers. */
  histograms?: Readonly<Record<string, Histogram>>
  /** ms between reports that nobody asked for: what a worker that is killed takes with it. Default 1 000. */
  intervalMs?: number
  reporter?: Reporter
}

/**
 * Reports every `intervalMs`, whenever the primary asks, and when the process exits. At most one report is on its way.
 *
 * @example
 * if (cluster.isWorker) reportMetrics({ registry })
 * else metricsEndpoint({ registry: clusterMetrics() })
 *
 * @throws TypeError when an option is not what it must be, or this process has no primary
 */
export function reportMetrics(options: WorkerMetricsOptions): WorkerMetrics {
  return new WorkerMetrics(options)
}

export class WorkerMetrics {
  readonly #registry: MetricRegistry
  readonly #histograms: Readonly<Record<string, Histogram>>
  readonly #reporter: Reporter
  readonly #timer: NodeJS.Timeout
  #sending: Promise<void> | undefined
  /** The last request that came, and the last that a report was begun for. */
  #requested = 0
  #answered = 0

  constructor({
    registry,
    histograms = {},
    intervalMs = 1_000,
    reporter = defaultReporter
  }: WorkerMetricsOptions) {
    checkOption(registry instanceof MetricRegistry, 'reportMetrics', 'registry', 'a MetricRegistry', registry)
    if (!(intervalMs >= 1 && intervalMs <= 2 ** 31 - 1)) {
      throw wrongOption('reportMetrics', 'intervalMs', 'from 1 to 2^31 - 1', intervalMs)
    }
    if (process.send === undefined) throw new TypeError('reportMetrics: must be called in a cluster worker')
    this.#registry = registry
    this.#histograms = histograms
    this.#reporter = reporter
    this.#timer = setInterval(() => this.#sending ?? this.#report(), intervalMs).unref()
    process.on('message', this.#onMessage)
    process.on('exit', this.#onExit)
  }

  /** Reports now. Before a worker disconnects on purpose: what comes later cannot be told any more. */
  async flush(): Promise<void> {
    // Another may have begun before this one's turn came: pieces of two reports would be taken for one.
    while (this.#sending !== undefined) await this.#sending
    await this.#report()
  }

  /** Reports a last time, then no more. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    process.off('message', this.#onMessage)
    process.off('exit', this.#onExit)
    await this.flush()
  }

  readonly #onMessage = (message: unknown): void => {
    const { ostiary, request } = (message ?? {}) as Partial<ReportRequest>
    if (ostiary !== 'metrics_request' || request === undefined) return
    this.#requested = request
    if (this.#sending === undefined) void this.#report()
  }

  /** Pipes take what fits at once, and no more: this is the best that can be done now. */
  readonly #onExit = (): void => {
    if (process.connected) for (const piece of this.#pieces()) process.send?.(piece, () => undefined)
  }

  #report(): Promise<void> {
    this.#sending = this.#send().finally(() => {
      this.#sending = undefined
      if (this.#answered !== this.#requested && process.connected) void this.#report()
    })
    return this.#sending
  }

  async #send(): Promise<void> {
    this.#answered = this.#requested
    try {
      for (const piece of this.#pieces()) {
        if (!process.connected) return
        await sent(piece)
      }
    } catch (error) {
      this.#reporter.report('cluster_report', error)
    }
  }

  #pieces(): Generator<ReportPiece> {
    return reportPieces(this.#requested, this.#registry.metrics, this.#histograms, (metric, error) =>
      this.#registry.readFailed(metric, error)
    )
  }
}

/** Done when the channel has taken it, so that a primary that does not read fills no memory here. */
function sent(piece: ReportPiece): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send!(piece, undefined, undefined, error => (error === null ? resolve() : reject(error)))
  })
}
