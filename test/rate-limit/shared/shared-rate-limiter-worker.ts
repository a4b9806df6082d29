/** A thread that asks a shared limiter as fast as it can, or ends with its locks in hand. */
import { parentPort, workerData } from 'node:worker_threads'
import { SharedMemory } from '../../../lib/rate-limit/shared/shared-memory.ts'
import {
  SharedRateLimiter,
  type SharedRateLimiterHandle
} from '../../../lib/rate-limit/shared/shared-rate-limiter.ts'

export interface Task {
  handle: SharedRateLimiterHandle
  /** Int32 that all threads wait for. */
  start: SharedArrayBuffer
  kind: 'count' | 'time' | 'hold'
  keys: string[]
  /** `count`: the time that is given; `time`: for how many ms. */
  times: number[]
  /** `time`: goes on until so many of each key were admitted, however busy the machine is. */
  share?: number
}

const task = workerData as Task
const limiter = SharedRateLimiter.attach(task.handle, { lockTimeoutMs: 600_000 })
const start = new Int32Array(task.start)
parentPort!.postMessage('ready')
Atomics.wait(start, 0, 0)

if (task.kind === 'count') count()
else if (task.kind === 'time') time()
else hold()

/** How many of each key are admitted at one time. */
function count(): void {
  const admitted: Record<string, number> = {}
  for (let i = 0; i < 50; i++) {
    for (const key of task.keys) {
      if (limiter.consume(key, 1, task.times[0]).allowed) admitted[key] = (admitted[key] ?? 0) + 1
    }
  }
  parentPort!.postMessage(admitted)
}

/** All decisions on a clock that runs: [before, after, allowed] in ns, by key. */
function time(): void {
  const end = process.hrtime.bigint() + BigInt(task.times[0] * 1e6)
  const decisions: [bigint, bigint, boolean][][] = task.keys.map(() => [])
  const admitted = task.keys.map(() => 0)
  const share = task.share ?? 0
  for (let i = 0; process.hrtime.bigint() < end || admitted.some(count => count < share); i++) {
    const key = i % task.keys.length
    const before = process.hrtime.bigint()
    const { allowed } = limiter.consume(task.keys[key])
    decisions[key].push([before, process.hrtime.bigint(), allowed])
    if (allowed) admitted[key]++
  }
  parentPort!.postMessage(decisions)
}

/** Takes every lock, tears a list, and never gives them back. */
function hold(): void {
  const memory = new SharedMemory(task.handle.buffer, 1_000)
  for (let lock = 0; lock <= memory.storeLock; lock++) memory.lock(lock)
  for (let stripe = 0; stripe < memory.stripes; stripe++) {
    memory.words[memory.stripeAt + stripe * 16 + 2] = 0
    memory.words[memory.stripeAt + stripe * 16 + 3] = 0
  }
  parentPort!.postMessage('held')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}
