import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { Worker } from 'node:worker_threads'
import { Histogram, type HistogramOptions } from '../../../lib/metrics/histogram/histogram.ts'
import type { RecordingOrder } from './recording-worker.ts'

const small: HistogramOptions = { highest: 1_000, significantDigits: 1 }

/** A thread that runs TypeScript on every version of Node, where `execArgv` does not reach threads on all of them. */
function worker(workerData: RecordingOrder): Worker {
  const [tsx, entry] = [import.meta.resolve('tsx/esm/api'), import.meta.resolve('./recording-worker.ts')]
  const start = `import(${JSON.stringify(tsx)}).then(api => (api.register(), import(${JSON.stringify(entry)})))`
  return new Worker(start, { eval: true, workerData })
}

describe('a shared Histogram', () => {
  it('loses nothing of what several threads record at once', async () => {
    const options = { highest: 100_000, significantDigits: 2 }
    const buffer = Histogram.sharedBuffer(options)
    const histogram = new Histogram({ buffer })
    const alone = new Histogram(options)
    // Counters on the way to where one word is full, and to where its top bit is taken.
    for (const target of [histogram, alone]) {
      target.record(7, 2 ** 31 - 5_000)
      target.record(8, 2 ** 32 - 5_000)
      target.record(9, 2 ** 40 - 5_000)
    }
    const values = [7, 8, 9, 7, 8, 9, 1, 50_000, 99_999, 200_000, Number.NaN]
    const rounds = 60_000
    let seen = histogram.count
    for (const value of values) alone.record(value, 3 * rounds)
    const order = { buffer, values, rounds, gate: new Int32Array(new SharedArrayBuffer(4)), threads: 3 }
    const ended = Promise.all([0, 1, 2].map(() => once(worker(order), 'exit')))
    let running = true
    const watched = ended.finally(() => {
      running = false
    })
    // A carry that is seen half done would be a leap of 2^31 or more: forwards, or back again.
    while (running) {
      const { count } = histogram
      assert.ok(count >= seen && count <= alone.count, `${count} after ${seen}, of ${alone.count}`)
      seen = count
      await new Promise(resolve => setImmediate(resolve))
    }
    await watched
    assert.deepEqual(histogram.snapshot(), alone.snapshot())
    assert.equal(histogram.countAt(8), 2 ** 32 - 5_000 + 2 * order.threads * rounds)
    assert.equal(histogram.overflowCount, order.threads * rounds)
    assert.equal(histogram.invalidCount, order.threads * rounds)
  })

  it('is one histogram under several hands', () => {
    const one = new Histogram({ ...small, buffer: Histogram.sharedBuffer(small) })
    const other = new Histogram({ buffer: one.buffer! })
    one.record(5)
    other.record(900, 2 ** 34)
    one.record(-1)
    one.record(5_000)
    assert.deepEqual(one.snapshot(), other.snapshot())
    assert.equal(other.count, 2 ** 34 + 2)
    assert.equal(other.percentile(1), 927)
    const copy = other.copy()
    assert.equal(copy.buffer, undefined)
    other.reset()
    assert.deepEqual([one.count, one.overflowCount, one.invalidCount], [0, 0, 0])
    assert.equal(copy.count, 2 ** 34 + 2)
    one.add(copy)
    assert.deepEqual(one.snapshot(), copy.snapshot())
    one.subtract(copy)
    assert.equal(one.count, 0)
    assert.equal(Histogram.decode(copy.encode()).count, copy.count)
  })

  it('records all that an own one records', () => {
    const own = new Histogram({ highest: Number.MAX_SAFE_INTEGER })
    const shared = new Histogram({ highest: Number.MAX_SAFE_INTEGER, buffer: new SharedArrayBuffer(1 << 20) })
    for (const histogram of [own, shared]) {
      for (let k = 0; k < 53; k++) histogram.record(2 ** k + 1, 2 ** (k % 40))
      histogram.recordCorrected(10_000, 7)
      histogram.record(1, Number.MAX_SAFE_INTEGER)
      histogram.record(1, 10)
    }
    assert.deepEqual([...shared.recordedValues()], [...own.recordedValues()])
    assert.deepEqual(shared.snapshot(), own.snapshot())
    assert.equal(shared.countAtOrBelow(500), own.countAtOrBelow(500))
    assert.deepEqual([shared.min, shared.sum, shared.stddev], [own.min, own.sum, own.stddev])
    own.add(shared)
    assert.equal(own.countAt(2 ** 40 + 1), 2 * shared.countAt(2 ** 40 + 1))
  })

  it('takes the configuration of a buffer that is in use', () => {
    const buffer = Histogram.sharedBuffer({ lowest: 2, highest: 5_000, significantDigits: 1 })
    const { layout } = new Histogram({ buffer })
    assert.deepEqual([layout.lowest, layout.highest, layout.significantDigits], [2, 5_000, 1])
    assert.equal(new Histogram({ buffer, highest: 5_000 }).layout.length, layout.length)
    assert.throws(() => new Histogram({ buffer, significantDigits: 3 }), {
      name: 'TypeError',
      message: 'Histogram: significantDigits must be 1 as in the buffer, got 3'
    })
  })

  it('refuses buffers that cannot be its own', () => {
    const foreign = new SharedArrayBuffer(1 << 20)
    new Int32Array(foreign)[0] = 7
    const cut = new SharedArrayBuffer(100)
    new Uint8Array(cut).set(new Uint8Array(Histogram.sharedBuffer()).subarray(0, 100))
    const bad: [unknown, RegExp][] = [
      [new ArrayBuffer(1 << 20), /buffer must be a SharedArrayBuffer, got \[object ArrayBuffer\]/],
      [null, /buffer must be a SharedArrayBuffer, got null/],
      [new SharedArrayBuffer(8), /buffer must have 188456 bytes or more, got 8/],
      [new SharedArrayBuffer(94_208), /buffer must have 188456 bytes or more, got 94208/],
      [foreign, /buffer must be all zeros or hold a histogram/],
      [cut, /buffer must have 188456 bytes or more, got 100/]
    ]
    for (const [buffer, message] of bad) {
      assert.throws(() => new Histogram({ buffer: buffer as SharedArrayBuffer }), {
        name: 'TypeError',
        message
      })
    }
    assert.equal(new Histogram().buffer, undefined)
    assert.throws(() => Histogram.sharedBuffer({ lowest: 0 }), RangeError)
  })
})
