/** Measures every request: times by method, status, route and caller, what is in flight, and what was refused. */
import { performance } from 'node:perf_hooks'
import { observeEnded } from '../http/ended-exchanges.ts'
import type { Exchange } from '../http/exchange.ts'
import { type GuardedRequest, type Stage, type StageMiddleware, stageMiddleware } from '../http/pipeline.ts'
import { checkBoolean, checkFunction, checkInteger, wrongOption } from '../options.ts'
import type { Histogram } from './histogram/histogram.ts'
import { LabelSet, type Metric, type MetricSource, type ScalarPoint, singleMetric } from './metric.ts'
import { MetricRegistry } from './metric-registry.ts'
import { checkBounds, type DurationBuckets, standardBounds } from './series/duration-buckets.ts'
import { DurationRecord } from './series/duration-record.ts'
import { ObservedHistogram } from './series/observed-histogram.ts'
import { RefusalCounts } from './series/refusal-counts.ts'
import { originCount, originLabels, originOf, requestKey } from './series/request-labels.ts'
import { RequestRecord, type RequestSummary } from './series/request-record.ts'
import { RequestSeriesTable } from './series/request-series.ts'
import { sampledTrace } from './series/trace-context.ts'
import { type MetricsWindow, Windows } from './series/windows.ts'

export interface MetricsOptions {
  /** Where the metrics are added. Default: a new one, given by `metrics(…).registry`. */
  registry?: MetricRegistry
  /**
   * The route's template, such as `/orders/:id`, asked when the request is over; undefined for none.
   * Without it requests carry no route: the raw path is never a label.
   */
  route?: (req: GuardedRequest, exchange: Exchange) => string | undefined
  /** Label sets at most; requests that would need one more share the last. Default 2 000. */
  maxSeries?: number
  /** Upper bounds of the duration buckets in seconds. Default: the 14 of OpenTelemetry, 5 ms to 10 s. */
  bounds?: readonly number[]
  /** Keeps the trace of a sampled `traceparent` with the bucket its duration fell in. Default true. */
  exemplars?: boolean
  /**
   * Counts native histograms too, at this resolution: buckets grow by 2^(2^−schema), 0 to 5. 3 (9 %) is what
   * Prometheus recommends, and takes some 1.7 KB more a series; 5 (2.2 %) takes 5 KB more. Default: none.
   */
  nativeHistogramSchema?: number
  /** ms, monotonic, for the windows. Default: the time at which the request ended. */
  clock?: () => number
}

/** What `metrics()` gives: the middleware, its registry and its figures. */
export interface HttpMetrics extends StageMiddleware {
  readonly registry: MetricRegistry
  /**
   * All durations in µs, three digits: to be encoded, or merged exactly with those of other processes. They go on
   * counting: `copy()` what is to stay.
   */
  readonly histograms: Readonly<Record<'http_request_duration_us' | 'http_time_to_first_byte_us', Histogram>>
  /** Requests of a window, percentiles included. */
  getMetrics(window?: MetricsWindow): RequestMetrics
}

export interface RequestMetrics extends RequestSummary {
  /** Now. */
  activeRequests: number
}

/**
 * Measures every request that passes. Put it first: what an earlier stage refuses is not seen. The clock starts when
 * Node hands over the request, after its head was parsed: time that a request spent waiting for a busy event loop, or in
 * the accept queue, is not in it; the event loop's delay (`ProcessMetrics`) tells of that.
 *
 * Memory is fixed: about 1.7 KB a series, 3.4 MB at the cap, and at most 1 MB for the windows once an hour has passed.
 *
 * @example
 * const measured = metrics({ route: req => req.route?.path })
 * createServer(measured.wrap(handler))
 * createServer(metricsEndpoint({ registry: measured.registry, auth: false })).listen(9464, '127.0.0.1')
 *
 * @throws TypeError when an option is not what it must be
 */
export function metrics(options: MetricsOptions = {}): HttpMetrics {
  const stage = new RequestMetricsStage(options)
  const registry = options.registry ?? new MetricRegistry()
  registry.add(stage)
  return Object.assign(stageMiddleware(stage), {
    registry,
    histograms: stage.histograms,
    getMetrics: (window?: MetricsWindow) => stage.getMetrics(window)
  })
}

class RequestMetricsStage implements Stage, MetricSource {
  readonly name = 'metrics'
  readonly metrics: readonly Metric[]
  readonly #bounds: readonly number[]
  readonly #route: MetricsOptions['route']
  readonly #exemplars: boolean
  readonly #clock: (() => number) | undefined
  readonly #series: RequestSeriesTable
  readonly #active = new Float64Array(originCount)
  /** 1 for an origin that was ever seen: its gauge goes back to 0 and does not vanish. */
  readonly #seen = new Uint8Array(originCount)
  readonly #refusals = new RefusalCounts()
  readonly #windows = new Windows(
    () => new RequestRecord(2),
    () => new RequestRecord(3)
  )
  readonly #durationHistogram = new ObservedHistogram()
  readonly #firstByteHistogram = new ObservedHistogram()
  /** One function for all exchanges. */
  readonly #onEnd = (exchange: Exchange): void => this.#record(exchange)

  constructor(options: MetricsOptions) {
    const { maxSeries = 2_000, exemplars = true, nativeHistogramSchema, route, clock } = options
    checkOptions(options)
    this.#bounds = checkBounds('metrics', options.bounds ?? standardBounds)
    this.#route = route
    this.#exemplars = exemplars
    this.#clock = clock
    this.#series = new RequestSeriesTable(maxSeries, this.#bounds, nativeHistogramSchema)
    this.metrics = this.#describe()
  }

  enter(exchange: Exchange): boolean {
    const origin = originOf(exchange)
    this.#active[origin]++
    this.#seen[origin] = 1
    exchange.onEndObserve(this.#onEnd)
    return true
  }

  getMetrics(window: MetricsWindow = 'total'): RequestMetrics {
    return {
      activeRequests: this.#upToDate().#active.reduce((sum, count) => sum + count, 0),
      ...this.#windows.read(window, this.#now()).summary()
    }
  }

  get histograms(): HttpMetrics['histograms'] {
    const { durations, firstBytes } = this.#upToDate().#windows.total
    return {
      http_request_duration_us: durations.histogram,
      http_time_to_first_byte_us: firstBytes.histogram
    }
  }

  /** Itself, when the observers of all that has ended have run. */
  #upToDate(): this {
    observeEnded()
    return this
  }

  #now(): number {
    return this.#clock === undefined ? performance.now() : this.#clock()
  }

  #record(exchange: Exchange): void {
    const { startedAt, headAt, endedAt, statusCode, denial } = exchange
    const origin = originOf(exchange)
    this.#active[origin]--
    const route = this.#route === undefined ? undefined : this.#routeOf(exchange, this.#route)
    const { duration, timeToFirstByte } = this.#series.find(requestKey(exchange, origin), route)
    const seconds = (endedAt - startedAt) / 1000
    const bucket = duration.observe(seconds)
    this.#durationHistogram.tell(seconds, duration.labels)
    const firstByteMs = headAt === 0 ? undefined : headAt - startedAt
    if (firstByteMs !== undefined) {
      timeToFirstByte.observe(firstByteMs / 1000)
      this.#firstByteHistogram.tell(firstByteMs / 1000, timeToFirstByte.labels)
    }
    const now = this.#clock === undefined ? endedAt : this.#clock()
    this.#windows.total.record(statusCode, endedAt - startedAt, firstByteMs)
    this.#windows.current(now).record(statusCode, endedAt - startedAt, firstByteMs)
    if (denial !== undefined) this.#refusals.count(denial)
    if (this.#exemplars && exchange.req.headers['traceparent'] !== undefined) {
      this.#keepExemplar(exchange, duration, bucket, seconds)
    }
  }

  #keepExemplar(exchange: Exchange, duration: DurationBuckets, bucket: number, value: number): void {
    const timestamp = Date.now() / 1000
    if (!duration.wantsExemplar(bucket, timestamp)) return
    const trace = sampledTrace(exchange.req.headers['traceparent'])
    if (trace !== undefined) duration.keepExemplar(bucket, { ...trace, value, timestamp })
  }

  /** A route that cannot be told costs the label, not the measurement. */
  #routeOf(exchange: Exchange, route: NonNullable<MetricsOptions['route']>): string | undefined {
    try {
      const template: unknown = route(exchange.req, exchange)
      return typeof template === 'string' && template !== '' ? template : undefined
    } catch (error) {
      exchange.reporter.report('metrics_route', error)
      return undefined
    }
  }

  #describe(): readonly Metric[] {
    return [
      this.#durationHistogram.metric({
        name: 'http_server_request_duration_seconds',
        help: 'Time from the first sight of a request to the end of its response.',
        bounds: this.#bounds,
        points: () => this.#upToDate().#series.durations
      }),
      this.#firstByteHistogram.metric({
        name: 'http_server_time_to_first_byte_seconds',
        help: 'Time from the first sight of a request to the head of its response.',
        bounds: this.#bounds,
        points: () => this.#upToDate().#series.firstBytes
      }),
      {
        name: 'http_server_active_requests',
        type: 'gauge',
        help: 'Requests that have not ended.',
        points: () => activePoints(this.#upToDate().#active, this.#seen)
      },
      {
        name: 'ostiary_refusals_total',
        type: 'counter',
        help: 'Requests that were refused, by stage and true reason.',
        points: () => this.#upToDate().#refusals.points()
      },
      {
        name: 'ostiary_request_duration_percentile_seconds',
        type: 'gauge',
        unit: 'seconds',
        help: 'Percentiles of the duration of the last 60 to 65 seconds and 60 to 65 minutes, within 0.8 %.',
        points: () => percentilePoints(this.#upToDate().#windows, this.#now())
      },
      singleMetric(
        { name: 'ostiary_http_series', type: 'gauge', help: 'Label sets of HTTP metrics in use.' },
        () => this.#upToDate().#series.durations.length
      ),
      singleMetric(
        {
          name: 'ostiary_http_series_overflow_total',
          type: 'counter',
          help: 'Requests counted without labels because there were too many label sets.'
        },
        () => this.#upToDate().#series.overflowed
      )
    ]
  }
}

function checkOptions(options: MetricsOptions): void {
  const { maxSeries = 2_000, nativeHistogramSchema: schema, exemplars = true, registry } = options
  checkInteger('metrics', 'maxSeries', maxSeries, 1)
  if (schema !== undefined && !(Number.isInteger(schema) && schema >= 0 && schema <= 5)) {
    throw wrongOption('metrics', 'nativeHistogramSchema', 'an integer from 0 to 5', schema)
  }
  checkBoolean('metrics', 'exemplars', exemplars)
  if (registry !== undefined && !(registry instanceof MetricRegistry)) {
    throw wrongOption('metrics', 'registry', 'a MetricRegistry', registry)
  }
  for (const name of ['route', 'clock'] as const) {
    if (options[name] !== undefined) checkFunction('metrics', name, options[name])
  }
}

function activePoints(active: Float64Array, seen: Uint8Array): ScalarPoint[] {
  const points: ScalarPoint[] = []
  for (let origin = 0; origin < active.length; origin++) {
    if (seen[origin] === 1) points.push({ labels: new LabelSet(originLabels(origin)), value: active[origin] })
  }
  return points
}

/** None for a window without requests: 0 would look like a fast server. */
function percentilePoints(windows: Windows<RequestRecord>, now: number): ScalarPoint[] {
  const points: ScalarPoint[] = []
  for (const window of ['minute', 'hour'] as const) {
    const durations = new DurationRecord(2)
    for (const slot of windows.slots(window, now)) durations.add(slot.durations)
    const duration = durations.summary()
    if (duration.count === 0) continue
    const percentiles = {
      50: duration.p50Ms,
      90: duration.p90Ms,
      99: duration.p99Ms,
      '99.9': duration.p999Ms
    }
    for (const [percentile, ms] of Object.entries(percentiles)) {
      points.push({
        labels: new LabelSet([
          ['window', window],
          ['percentile', percentile]
        ]),
        value: ms / 1000
      })
    }
  }
  return points
}
