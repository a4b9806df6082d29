/** How token validations went: counts, errors and times, since the start and of late. */
import { performance } from 'node:perf_hooks'
import { checkFunction } from '../options.ts'
import { LabelSet, type Metric, type MetricSource, singleMetric, wellFormed } from './metric.ts'
import { MetricRegistry } from './metric-registry.ts'
import { DurationBuckets } from './series/duration-buckets.ts'
import { DurationRecord } from './series/duration-record.ts'
import { ObservedHistogram } from './series/observed-histogram.ts'
import { type MetricsWindow, type WindowRecord, Windows } from './series/windows.ts'

export interface ValidationMetrics {
  uptimeSeconds: number
  tokensValidated: number
  tokensFailed: number
  totalTokens: number
  /** Percent; 0 when nothing was seen. */
  successRate: number
  validationTimeAvgMs: number
  validationTimeP95Ms: number
  validationTimeP99Ms: number
  errorsByType: Record<string, number>
}

export interface MetricsCollectorOptions {
  /** ms, monotonic. Default `performance.now`. */
  clock?: () => number
}

/** Stands where an error type would, for a token that was found valid. */
const noError = -1
/** Validations that wait to be counted: together, they find code and counters in the processor's caches. */
const mostWaiting = 64
/** Different error types that are told apart; later ones are counted as `_OTHER`. */
const maxErrorTypes = 100
/** Seconds: from a cached answer, over a signature, to a fetch of keys. */
const validationBounds = [0.00001, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]

/**
 * Counts token validations. Memory is fixed: at most some 600 KB once an hour has passed.
 *
 * @example
 * const collector = new MetricsCollector()
 * collector.recordValidationSuccess(0.21)
 * collector.recordValidationFailure('token_expired', 0.05)
 * collector.getMetrics().successRate // 50
 */
export class MetricsCollector implements MetricSource {
  readonly #clock: () => number
  readonly #windows = new Windows(
    () => new ValidationRecord(2),
    () => new ValidationRecord(3)
  )
  /** Places in `ValidationRecord.errors`; the last is for all that come too late. */
  readonly #errorTypes = new Map([['_OTHER', maxErrorTypes - 1]])
  readonly #histogram = new ObservedHistogram()
  #buckets = new DurationBuckets(validationBounds)
  readonly #waitingTypes = new Int8Array(mostWaiting)
  readonly #waitingDurations = new Float64Array(mostWaiting)
  readonly #waitingTimes = new Float64Array(mostWaiting)
  #waiting = 0
  #startedAt: number
  #invalidDurations = 0
  #registry: MetricRegistry | undefined = undefined
  readonly metrics: readonly Metric[]

  /** @throws TypeError when `clock` is not a function */
  constructor(options: MetricsCollectorOptions = {}) {
    const { clock = () => performance.now() } = options
    checkFunction('MetricsCollector', 'clock', clock)
    this.#clock = clock
    this.#startedAt = clock()
    this.metrics = this.#describe()
  }

  /**
   * @param durationMs how long it took; what is not a number from 0 up is counted in `stats`, and in no time
   * @param now ms, on the collector's clock; for a caller that has read it already
   */
  recordValidationSuccess(durationMs: number, now: number = this.#clock()): void {
    this.#record(noError, durationMs, now)
  }

  /**
   * @param errorType a stable name; the first 99 are told apart, later ones are `_OTHER`
   * @param durationMs how long it took
   * @param now ms, on the collector's clock; for a caller that has read it already
   */
  recordValidationFailure(errorType: string, durationMs: number, now: number = this.#clock()): void {
    this.#record(this.#errorTypeIndex(String(errorType)), durationMs, now)
  }

  /** @param window default all since the start; the uptime is the same in each */
  getMetrics(window: MetricsWindow = 'total'): ValidationMetrics {
    this.#countWaiting()
    const now = this.#clock()
    const record = this.#windows.read(window, now)
    const times = record.times.summary()
    return {
      uptimeSeconds: Math.max(0, now - this.#startedAt) / 1000,
      tokensValidated: record.validated,
      tokensFailed: record.failed,
      totalTokens: record.validated + record.failed,
      successRate: record.successRate,
      validationTimeAvgMs: times.averageMs,
      validationTimeP95Ms: times.p95Ms,
      validationTimeP99Ms: times.p99Ms,
      errorsByType: Object.fromEntries(this.#errors(record))
    }
  }

  /** Durations that were no numbers from 0 up. */
  get stats(): { invalidDurations: number } {
    this.#countWaiting()
    return { invalidDurations: this.#invalidDurations }
  }

  /** Starts anew; the uptime too. */
  reset(): void {
    this.#waiting = 0
    this.#startedAt = this.#clock()
    this.#windows.reset()
    this.#errorTypes.clear()
    this.#errorTypes.set('_OTHER', maxErrorTypes - 1)
    this.#invalidDurations = 0
    this.#buckets = new DurationBuckets(validationBounds)
  }

  /** These metrics alone in the Prometheus text format. */
  toPrometheus(): string {
    if (this.#registry === undefined) {
      this.#registry = new MetricRegistry()
      this.#registry.add(this)
    }
    return this.#registry.toPrometheus()
  }

  #record(errorType: number, durationMs: number, now: number): void {
    const at = this.#waiting++
    this.#waitingTypes[at] = errorType
    this.#waitingDurations[at] = typeof durationMs === 'number' ? durationMs : Number.NaN
    this.#waitingTimes[at] = now
    if (at === mostWaiting - 1 || this.#histogram.isHeard) this.#countWaiting()
  }

  #countWaiting(): void {
    const count = this.#waiting
    this.#waiting = 0
    for (let i = 0; i < count; i++) {
      this.#count(this.#waitingTypes[i], this.#waitingDurations[i], this.#waitingTimes[i])
    }
  }

  #count(errorType: number, durationMs: number, now: number): void {
    const valid = durationMs >= 0 && durationMs < Infinity
    const time = valid ? durationMs : undefined
    this.#windows.total.record(errorType, time)
    this.#windows.current(now).record(errorType, time)
    if (time === undefined) {
      this.#invalidDurations++
    } else {
      this.#buckets.observe(time / 1000)
      this.#histogram.tell(time / 1000, LabelSet.empty)
    }
  }

  get #total(): ValidationRecord {
    this.#countWaiting()
    return this.#windows.total
  }

  #errorTypeIndex(errorType: string): number {
    const index = this.#errorTypes.get(errorType)
    if (index !== undefined) return index
    const label = wellFormed(errorType)
    if (label !== errorType) return this.#errorTypeIndex(label)
    const next = this.#errorTypes.size - 1
    if (next >= maxErrorTypes - 1) return maxErrorTypes - 1
    this.#errorTypes.set(errorType, next)
    return next
  }

  #errors({ errors }: ValidationRecord): [string, number][] {
    const named: [string, number][] = [...this.#errorTypes].map(([type, index]) => [type, errors[index]])
    return named.filter(([, count]) => count > 0)
  }

  /** Whoever begins to listen does not hear of validations that only waited to be counted. */
  #heardFromNowOn(metric: Parameters<ObservedHistogram['metric']>[0]): Metric {
    const histogram = this.#histogram.metric(metric)
    return {
      ...histogram,
      onObservation: listener => {
        this.#countWaiting()
        return histogram.onObservation(listener)
      }
    }
  }

  #describe(): readonly Metric[] {
    return [
      singleMetric(
        { name: 'auth_tokens_validated_total', type: 'counter', help: 'Tokens that were found valid.' },
        () => this.#total.validated
      ),
      {
        name: 'auth_tokens_failed_total',
        type: 'counter',
        help: 'Tokens that were refused, by the true reason.',
        points: () =>
          this.#errors(this.#total).map(([type, value]) => ({
            labels: new LabelSet([['error_type', type]]),
            value
          }))
      },
      singleMetric(
        { name: 'auth_success_rate', type: 'gauge', help: 'Percent of the tokens that were found valid.' },
        () => this.#total.successRate
      ),
      singleMetric(
        {
          name: 'auth_validation_duration_avg_ms',
          type: 'gauge',
          help: 'Average time that a validation took, in milliseconds.'
        },
        () => this.#total.times.averageMs
      ),
      this.#heardFromNowOn({
        name: 'auth_validation_duration_seconds',
        help: 'Time that a validation took.',
        bounds: validationBounds,
        points: () => {
          this.#countWaiting()
          return [this.#buckets]
        }
      })
    ]
  }
}

class ValidationRecord implements WindowRecord<ValidationRecord> {
  validated = 0
  failed = 0
  /** By the index of the error type. */
  readonly errors = new Float64Array(maxErrorTypes)
  readonly times: DurationRecord

  constructor(significantDigits: number) {
    this.times = new DurationRecord(significantDigits)
  }

  /** Percent. */
  get successRate(): number {
    return this.validated === 0 ? 0 : (100 * this.validated) / (this.validated + this.failed)
  }

  record(errorType: number, durationMs: number | undefined): void {
    if (errorType === noError) {
      this.validated++
    } else {
      this.failed++
      this.errors[errorType]++
    }
    if (durationMs !== undefined) this.times.record(durationMs)
  }

  add(other: ValidationRecord): void {
    this.validated += other.validated
    this.failed += other.failed
    for (let i = 0; i < maxErrorTypes; i++) this.errors[i] += other.errors[i]
    this.times.add(other.times)
  }

  clear(): void {
    this.validated = 0
    this.failed = 0
    this.errors.fill(0)
    this.times.clear()
  }
}
