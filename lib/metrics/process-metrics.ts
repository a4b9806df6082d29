/** The state of the process, so that a slow request can be told from a slow process. */
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8'
import { checkInteger } from '../options.ts'
import { LabelSet, type Metric, type MetricSource, type ScalarPoint, singleMetric } from './metric.ts'
import { DurationBuckets } from './series/duration-buckets.ts'
import { EventLoopWindow } from './series/event-loop-window.ts'
import { ObservedHistogram } from './series/observed-histogram.ts'

export interface ProcessMetricsOptions {
  /** ms between two samples of the event loop's delay; what is shorter is not seen. Default 10. */
  resolutionMs?: number
}

/** Seconds, finer than OpenTelemetry's (0.01, 0.1, 1, 10): most pauses are shorter than 10 ms. */
const pauseBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 10]
/** A window is looked at when it is between one and two of these old. */
const windowMs = 60_000

const gcTypes = new Map([
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  // V8's minor mark-sweep, which has no constant in Node.
  [2, 'minor'],
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb']
])

/**
 * Delay and utilization of the event loop and the longest pause of the last one to two minutes, every garbage
 * collection pause by kind, heap, memory and CPU time; names after OpenTelemetry. Keeps no process alive.
 *
 * @example
 * const processMetrics = new ProcessMetrics()
 * registry.add(processMetrics)
 */
export class ProcessMetrics implements MetricSource {
  readonly metrics: readonly Metric[]
  readonly #pauses = new Map<string, DurationBuckets>()
  readonly #pauseHistogram = new ObservedHistogram()
  readonly #observer: PerformanceObserver
  readonly #timer: NodeJS.Timeout
  /** The older is read; when the younger is a minute old, the older starts anew. */
  #older: EventLoopWindow
  #younger: EventLoopWindow

  /** @throws TypeError when `resolutionMs` is not a positive integer */
  constructor(options: ProcessMetricsOptions = {}) {
    const { resolutionMs = 10 } = options
    checkInteger('ProcessMetrics', 'resolutionMs', resolutionMs, 1)
    this.#older = new EventLoopWindow(resolutionMs)
    this.#younger = new EventLoopWindow(resolutionMs)
    this.#timer = setInterval(() => this.#turn(), windowMs).unref()
    this.#observer = new PerformanceObserver(list => {
      for (const entry of list.getEntries()) {
        this.#recordPause((entry as { detail?: { kind?: number } }).detail?.kind, entry.duration / 1000)
      }
    })
    this.#observer.observe({ entryTypes: ['gc'] })
    this.metrics = this.#describe()
  }

  /** Stops measuring; the figures stay as they are. Safe to call twice. */
  close(): void {
    clearInterval(this.#timer)
    this.#observer.disconnect()
    this.#older.close()
    this.#younger.close()
  }

  #turn(): void {
    this.#older.restart()
    const younger = this.#older
    this.#older = this.#younger
    this.#younger = younger
  }

  #recordPause(kind: number | undefined, seconds: number): void {
    const type = gcTypes.get(kind ?? -1) ?? '_OTHER'
    let pauses = this.#pauses.get(type)
    if (pauses === undefined) {
      pauses = new DurationBuckets(pauseBounds, new LabelSet([['v8js_gc_type', type]]))
      this.#pauses.set(type, pauses)
    }
    pauses.observe(seconds)
    this.#older.recordPause(seconds)
    this.#younger.recordPause(seconds)
    this.#pauseHistogram.tell(seconds, pauses.labels)
  }

  #describe(): readonly Metric[] {
    return [
      ...this.#describeEventLoop(),
      this.#pauseHistogram.metric({
        name: 'v8js_gc_duration_seconds',
        help: 'Pauses for garbage collection.',
        bounds: pauseBounds,
        points: () => this.#pauses.values()
      }),
      seconds(
        'v8js_gc_pause_max',
        'Longest pause of the last one to two minutes.',
        () => this.#older.longestPause
      ),
      ...memoryMetrics,
      {
        name: 'process_cpu_time_seconds_total',
        type: 'counter',
        unit: 'seconds',
        help: 'CPU time of the process.',
        points: cpuPoints
      },
      seconds('process_uptime', 'Time since the process started.', () => process.uptime())
    ]
  }

  #describeEventLoop(): Metric[] {
    const recently = 'of the event loop in the last one to two minutes'
    return [
      seconds('nodejs_eventloop_delay_mean', `Mean delay ${recently}.`, () => this.#older.meanDelay),
      seconds('nodejs_eventloop_delay_p50', `Median delay ${recently}.`, () => this.#older.delay(50)),
      seconds('nodejs_eventloop_delay_p99', `99th percentile of the delay ${recently}.`, () =>
        this.#older.delay(99)
      ),
      seconds('nodejs_eventloop_delay_max', `Longest delay ${recently}.`, () => this.#older.delay(100)),
      singleMetric(
        {
          name: 'nodejs_eventloop_utilization_ratio',
          type: 'gauge',
          unit: 'ratio',
          help: `Busy share ${recently}, 0 to 1.`
        },
        () => this.#older.utilization
      )
    ]
  }
}

function seconds(name: string, help: string, read: () => number): Metric {
  return singleMetric({ name: `${name}_seconds`, type: 'gauge', unit: 'seconds', help }, read)
}

function bytes(name: string, help: string, read: () => number): Metric {
  return singleMetric({ name: `${name}_bytes`, type: 'gauge', unit: 'bytes', help }, read)
}

const memoryMetrics: readonly Metric[] = [
  {
    name: 'v8js_memory_heap_used_bytes',
    type: 'gauge',
    unit: 'bytes',
    help: 'Heap in use, by space.',
    points: heapPoints
  },
  bytes(
    'v8js_memory_heap_limit',
    'Most that the heap may grow to.',
    () => getHeapStatistics().heap_size_limit
  ),
  bytes('process_memory_usage', 'Resident memory of the process.', () => process.memoryUsage.rss())
]

function heapPoints(): ScalarPoint[] {
  return getHeapSpaceStatistics().map(space => ({
    labels: new LabelSet([['v8js_heap_space_name', space.space_name]]),
    value: space.space_used_size
  }))
}

function cpuPoints(): ScalarPoint[] {
  const { user, system } = process.cpuUsage()
  return Object.entries({ user, system }).map(([mode, us]) => ({
    labels: new LabelSet([['cpu_mode', mode]]),
    value: us / 1e6
  }))
}
