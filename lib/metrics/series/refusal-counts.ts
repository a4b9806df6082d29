/** Refused requests, counted by who refused and why. */
import type { Denial } from '../../http/exchange.ts'
import { LabelSet, type ScalarPoint } from '../metric.ts'

/** Stages and reasons are names in code; the cap is for those that are not. */
const maxPairs = 500

interface Refusal extends ScalarPoint {
  value: number
}

export class RefusalCounts {
  readonly #stages = new Map<string, Map<string, Refusal>>()
  readonly #all: Refusal[] = []

  count({ stage, reason }: Denial): void {
    const refusal = this.#stages.get(stage)?.get(reason) ?? this.#make(stage, reason)
    refusal.value++
  }

  points(): readonly ScalarPoint[] {
    return this.#all
  }

  #make(stage: string, reason: string): Refusal {
    if (this.#all.length >= maxPairs) {
      return this.#stages.get('_OTHER')?.get('_OTHER') ?? this.#add('_OTHER', '_OTHER')
    }
    return this.#add(stage, reason)
  }

  #add(stage: string, reason: string): Refusal {
    const labels = new LabelSet([
      ['stage', stage],
      ['reason', reason]
    ])
    const refusal = { labels, value: 0 }
    this.#all.push(refusal)
    const reasons = this.#stages.get(stage)
    if (reasons === undefined) this.#stages.set(stage, new Map([[reason, refusal]]))
    else reasons.set(reason, refusal)
    return refusal
  }
}
