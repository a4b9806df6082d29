/** Measures the contenders of a row in turn, round after round, so that what the machine does meanwhile hits all of them. */
import { Bench } from 'tinybench'
import type { Contender, Row } from '../suite.ts'
import { quantile } from './quantile.ts'

export interface Measured {
  contender: string
  /** ns an operation: the median of the rounds' medians. */
  medianNs: number
  /** The middle half of the rounds, as a share of the median. */
  spread: number
  /** This contender's time over Ostiary's: the median of the rounds' ratios. 1 for Ostiary itself. */
  ratio: number
}

export interface Pace {
  rounds: number
  /** ms a contender gets in each round. */
  sliceMs: number
  /** Calls a contender gets in each round, however long they take. */
  leastCalls: number
}

export const fullPace: Pace = { rounds: 11, sliceMs: 100, leastCalls: 3 }
export const quickPace: Pace = { rounds: 5, sliceMs: 15, leastCalls: 1 }

export async function measure(row: Row, pace: Pace): Promise<Measured[]> {
  const times: number[][] = row.contenders.map(() => [])
  await round(row.contenders, pace)
  for (let n = 0; n < pace.rounds; n++) {
    const order = row.contenders.map((_, i) => (i + n) % row.contenders.length)
    const medians = await round(
      order.map(i => row.contenders[i]),
      pace
    )
    for (const [at, i] of order.entries()) times[i].push(medians[at])
  }
  return row.contenders.map((contender, i) => {
    const medianNs = quantile(times[i], 0.5)
    return {
      contender: contender.name,
      medianNs,
      spread: (quantile(times[i], 0.75) - quantile(times[i], 0.25)) / medianNs,
      ratio: quantile(
        times[i].map((time, n) => time / times[0][n]),
        0.5
      )
    }
  })
}

/** One slice for each contender; gives the median ns an operation of each. */
async function round(contenders: readonly Contender[], { sliceMs, leastCalls }: Pace): Promise<number[]> {
  const bench = new Bench({ time: sliceMs, warmup: false, iterations: leastCalls })
  for (const { name, run } of contenders) bench.add(name, run)
  await bench.run()
  return bench.tasks.map((task, i) => {
    const { result } = task
    if (result.state !== 'completed')
      throw new Error(`${task.name}: ${result.state}`, {
        cause: 'error' in result ? result.error : undefined
      })
    return (result.latency.p50 * 1e6) / contenders[i].operations
  })
}
