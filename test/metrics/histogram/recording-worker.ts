/** Records into the shared histogram that it is given, once all other threads are ready to do the same. */
import { workerData } from 'node:worker_threads'
import { Histogram } from '../../../lib/metrics/histogram/histogram.ts'

export interface RecordingOrder {
  buffer: SharedArrayBuffer
  values: number[]
  rounds: number
  /** Counts the threads that are ready. */
  gate: Int32Array
  threads: number
}

const { buffer, values, rounds, gate, threads } = workerData as RecordingOrder
const histogram = new Histogram({ buffer })
for (let ready = Atomics.add(gate, 0, 1) + 1; ready < threads; ready = Atomics.load(gate, 0)) {
  Atomics.wait(gate, 0, ready)
}
Atomics.notify(gate, 0)
for (let round = 0; round < rounds; round++) for (const value of values) histogram.record(value)
