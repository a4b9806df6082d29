/** One set of metrics for all workers of a cluster, in the primary. */
import cluster, { type Worker } from 'node:cluster'
import { defaultReporter, type Reporter } from '../../http/reporter.ts'
import { wrongOption } from '../../options.ts'
import { Histogram } from '../histogram/histogram.ts'
import type { Metric } from '../metric.ts'
import { MetricRegistry, type MetricRegistryOptions } from '../metric-registry.ts'
import { ReportedMetric, type ReportPiece, type ReportRequest } from './cluster-report.ts'
import { type MetricsOfProcess, mergedMetrics } from './merged-metrics.ts'

export interface ClusterMetricsOptions extends MetricRegistryOptions {
  /** ms that `refresh` waits for workers. Default 1 000. */
  timeoutMs?: number
}

export interface ClusterRefresh {
  /** Workers that reported in time. */
  answered: number
  /** Ids of those that did not, and are still there; what they told last is what counts. */
  silent: number[]
}

/**
 * A registry of what this process and all workers that call `reportMetrics` measure. It never waits for a worker: what
 * each told last is merged when it is read. What workers counted until their end stays in the sums.
 *
 * @example
 * const registry = clusterMetrics()
 * const scrape = metricsEndpoint({ registry, auth: { allow } })
 * createServer((req, res) => registry.refresh().then(() => scrape(req, res)))
 *
 * @throws TypeError when an option is not what it must be, or this process is a worker
 */
export function clusterMetrics(options: ClusterMetricsOptions = {}): ClusterMetrics {
  return new ClusterMetrics(options)
}

export class ClusterMetrics extends MetricRegistry {
  readonly #timeoutMs: number
  readonly #reporter: Reporter
  readonly #workers = new Map<number, WorkerReports>()
  #retired: Report = new Report()
  #refresh: Promise<ClusterRefresh> | undefined

  constructor(options: ClusterMetricsOptions = {}) {
    super(options)
    const { timeoutMs = 1_000, reporter = defaultReporter } = options
    if (!(timeoutMs >= 1 && timeoutMs <= 2 ** 31 - 1)) {
      throw wrongOption('clusterMetrics', 'timeoutMs', 'from 1 to 2^31 - 1', timeoutMs)
    }
    if (!cluster.isPrimary) throw new TypeError('clusterMetrics: must be called in the primary')
    this.#timeoutMs = timeoutMs
    this.#reporter = reporter
    cluster.on('message', this.#onMessage)
    cluster.on('disconnect', this.#onDisconnect)
  }

  /** Of this process and all workers, those that are gone included. */
  override get metrics(): Iterable<Metric> {
    return this.#merged([{ process: 'primary', metrics: super.metrics }, ...this.#reports()])
  }

  /** All that workers told under a name of `histograms`, added up; undefined when no worker told of it. */
  histogram(name: string): Histogram | undefined {
    const sum = new Report()
    for (const report of [this.#retired, ...[...this.#workers.values()].map(({ latest }) => latest)]) {
      const histogram = report.histograms.get(name)
      if (histogram !== undefined) sum.addHistogram(name, histogram)
    }
    return sum.histograms.get(name)
  }

  /** Asks all workers for what they have now, and waits until they told it or `timeoutMs` are over. */
  refresh(): Promise<ClusterRefresh> {
    this.#refresh ??= this.#ask().finally(() => {
      this.#refresh = undefined
    })
    return this.#refresh
  }

  /** Hears of workers no more. What they told stays. */
  close(): void {
    cluster.off('message', this.#onMessage)
    cluster.off('disconnect', this.#onDisconnect)
  }

  async #ask(): Promise<ClusterRefresh> {
    const asked = Object.values(cluster.workers ?? {}).filter(worker => worker?.isConnected()) as Worker[]
    let answered = 0
    const answers = asked.map(async worker => {
      if (await this.#of(worker).ask(worker)) answered++
    })
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<void>(resolve => {
      timer = setTimeout(resolve, this.#timeoutMs)
    })
    await Promise.race([Promise.all(answers), timeout])
    clearTimeout(timer)
    const silent = asked.filter(worker => this.#workers.get(worker.id)?.waiting ?? false)
    return { answered, silent: silent.map(worker => worker.id) }
  }

  #of(worker: Worker): WorkerReports {
    let reports = this.#workers.get(worker.id)
    if (reports === undefined) {
      reports = new WorkerReports()
      this.#workers.set(worker.id, reports)
    }
    return reports
  }

  #reports(): MetricsOfProcess[] {
    const live = [...this.#workers].map(([id, { latest }]) => ({
      process: String(id),
      metrics: latest.metrics
    }))
    return [{ process: undefined, metrics: this.#retired.metrics }, ...live]
  }

  #merged(processes: MetricsOfProcess[]): Metric[] {
    return mergedMetrics(processes, metric =>
      this.#reporter.report(
        'cluster_metrics',
        new Error(`${metric.name} is another metric in another process`)
      )
    )
  }

  readonly #onMessage = (worker: Worker, message: unknown): void => {
    if ((message as { ostiary?: unknown } | null)?.ostiary !== 'metrics_report') return
    try {
      this.#of(worker).take(message as ReportPiece)
    } catch (error) {
      this.#reporter.report('cluster_report', error)
    }
  }

  /** The channel is closed and read to its end: nothing more will come. */
  readonly #onDisconnect = (worker: Worker): void => {
    const reports = this.#workers.get(worker.id)
    if (reports === undefined) return
    this.#workers.delete(worker.id)
    reports.settle(false)
    const retired = new Report()
    retired.metrics.push(
      ...this.#merged([
        { process: undefined, metrics: this.#retired.metrics },
        { process: undefined, metrics: reports.latest.metrics }
      ])
    )
    for (const { histograms } of [this.#retired, reports.latest]) {
      for (const [name, histogram] of histograms) retired.addHistogram(name, histogram)
    }
    this.#retired = retired
  }
}

class Report {
  readonly metrics: Metric[] = []
  readonly histograms = new Map<string, Histogram>()

  addHistogram(name: string, histogram: Histogram): void {
    const sum = this.histograms.get(name)
    if (sum === undefined) this.histograms.set(name, histogram.copy())
    else sum.add(histogram)
  }
}

/** What one worker told: the latest complete report, and the one that is coming in. */
class WorkerReports {
  latest = new Report()
  #incoming = new Report()
  #incomingMetrics = new Map<string, ReportedMetric>()
  #requests = 0
  #answer: { promise: Promise<boolean>; resolve: (answered: boolean) => void } | undefined

  get waiting(): boolean {
    return this.#answer !== undefined
  }

  /**
   * False when the worker went away before it answered. One that owes an answer is not asked again: requests would pile
   * up in front of one that hangs.
   */
  ask(worker: Worker): Promise<boolean> {
    if (this.#answer !== undefined) return this.#answer.promise
    let resolve: (answered: boolean) => void = () => undefined
    const promise = new Promise<boolean>(done => {
      resolve = done
    })
    this.#answer = { promise, resolve }
    // A channel that breaks is followed by the worker's 'disconnect', which settles the answer.
    const message: ReportRequest = { ostiary: 'metrics_request', request: ++this.#requests }
    worker.send(message, () => undefined)
    return promise
  }

  take(piece: ReportPiece): void {
    if ('begin' in piece) {
      this.#incoming = new Report()
      this.#incomingMetrics = new Map()
    } else if ('metric' in piece) {
      let metric = this.#incomingMetrics.get(piece.metric.name)
      if (metric === undefined) {
        metric = new ReportedMetric(piece.metric)
        this.#incomingMetrics.set(piece.metric.name, metric)
        this.#incoming.metrics.push(metric.metric)
      }
      metric.add(piece.metric)
    } else if ('histogram' in piece) {
      this.#incoming.histograms.set(piece.histogram, Histogram.fromJSON(piece.content))
    } else {
      this.latest = this.#incoming
      if (piece.request === this.#requests) this.settle(true)
    }
  }

  settle(answered: boolean): void {
    this.#answer?.resolve(answered)
    this.#answer = undefined
  }
}
