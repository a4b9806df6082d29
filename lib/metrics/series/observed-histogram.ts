/** Lets others hear every value that a histogram counts, as bridges to systems that count by themselves must. */
import type { HistogramMetric, HistogramPoint, LabelSet } from '../metric.ts'

type Listener = (value: number, labels: LabelSet) => void

export class ObservedHistogram {
  #listeners: readonly Listener[] = []

  /** The metric of a histogram in seconds, with `onObservation` filled in. */
  metric(metric: {
    name: string
    help: string
    bounds: readonly number[]
    points: () => Iterable<HistogramPoint>
  }): HistogramMetric {
    return {
      ...metric,
      type: 'histogram',
      unit: 'seconds',
      onObservation: listener => {
        this.#listeners = [...this.#listeners, listener]
        return () => {
          this.#listeners = this.#listeners.filter(other => other !== listener)
        }
      }
    }
  }

  get isHeard(): boolean {
    return this.#listeners.length > 0
  }

  tell(value: number, labels: LabelSet): void {
    const listeners = this.#listeners
    for (let i = 0; i < listeners.length; i++) listeners[i](value, labels)
  }
}
