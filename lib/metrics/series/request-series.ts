/** The series of HTTP requests, found without making a string, and never more than a fixed number of them. */

import { LabelSet, wellFormed } from '../metric.ts'
import { DurationBuckets } from './duration-buckets.ts'
import { requestLabels } from './request-labels.ts'

export interface RequestSeries {
  readonly duration: DurationBuckets
  readonly timeToFirstByte: DurationBuckets
}

/** What every request past the cap is filed under, as OpenTelemetry names it. */
const overflowLabels = new LabelSet([['otel_metric_overflow', 'true']])
/** A longer route is no route but somebody's data. */
const maxRouteLength = 256

/**
 * Two looks into maps: route, then the packed integer of the rest.
 * A series takes about 1.7 KB (2 × 15 counts of 8 bytes, their headers, its labels): 3.4 MB for 2 000 of them.
 * Exemplars add up to 3 KB to a series that is traced, native buckets 1.7 KB at schema 3 and 5 KB at schema 5.
 */
export class RequestSeriesTable {
  /** One of each series, the overflow series among them. */
  readonly durations: DurationBuckets[] = []
  readonly firstBytes: DurationBuckets[] = []
  readonly #maxSeries: number
  readonly #bounds: readonly number[]
  readonly #nativeSchema: number | undefined
  readonly #unrouted = new Map<number, RequestSeries>()
  readonly #routes = new Map<string, Map<number, RequestSeries>>()
  #overflow: RequestSeries | undefined
  /** What the last request was filed under: the next is mostly alike. */
  #lastKey = -1
  #lastRoute: string | undefined
  #last: RequestSeries | undefined
  #overflowed = 0

  constructor(maxSeries: number, bounds: readonly number[], nativeSchema: number | undefined) {
    this.#maxSeries = maxSeries
    this.#bounds = bounds
    this.#nativeSchema = nativeSchema
  }

  /** Requests that were filed under the overflow series. */
  get overflowed(): number {
    return this.#overflowed
  }

  /** @param key as `requestKey` packs it */
  find(key: number, route: string | undefined): RequestSeries {
    if (this.#last !== undefined && key === this.#lastKey && route === this.#lastRoute) return this.#last
    const keys = route === undefined ? this.#unrouted : this.#routes.get(route)
    const series = keys?.get(key)
    if (series === undefined) return this.#make(key, route)
    this.#lastKey = key
    this.#lastRoute = route
    this.#last = series
    return series
  }

  #make(key: number, route: string | undefined): RequestSeries {
    if (route !== undefined && route.length > maxRouteLength) return this.find(key, '_OTHER')
    const label = route === undefined ? undefined : wellFormed(route)
    if (label !== route) return this.find(key, label)
    // The overflow series is one of the allowed number.
    if (this.durations.length >= this.#maxSeries - 1) {
      this.#overflowed++
      this.#overflow ??= this.#add(overflowLabels)
      return this.#overflow
    }
    const series = this.#add(new LabelSet(requestLabels(key, route)))
    if (route === undefined) {
      this.#unrouted.set(key, series)
    } else {
      const keys = this.#routes.get(route)
      if (keys === undefined) this.#routes.set(route, new Map([[key, series]]))
      else keys.set(key, series)
    }
    return series
  }

  #add(labels: LabelSet): RequestSeries {
    const series = {
      duration: new DurationBuckets(this.#bounds, labels, this.#nativeSchema),
      timeToFirstByte: new DurationBuckets(this.#bounds, labels)
    }
    this.durations.push(series.duration)
    this.firstBytes.push(series.timeToFirstByte)
    return series
  }
}
