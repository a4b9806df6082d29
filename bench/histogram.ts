/** Recording into, asking, encoding and merging histograms, against what else there is for Node. */
import { createHistogram } from 'node:perf_hooks'
import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  type Histogram as HdrHistogram,
  initWebAssembly
} from 'hdr-histogram-js'
import { Histogram as PromHistogram } from 'prom-client'
import { Histogram } from '../lib/metrics/histogram/histogram.ts'
import { randomNumbers } from './harness/random.ts'
import type { Contender, Row, Suite } from './suite.ts'

const highest = 3.6e9
const nativeHistogram = 'perf_hooks createHistogram'
const wasm = 'hdr-histogram-js, wasm'
const js = 'hdr-histogram-js, js'

export const suite: Suite = {
  async *rows({ quick }) {
    await initWebAssembly()
    const count = quick ? 1 << 12 : 1 << 14
    yield recordRow('latencies in µs, 3 digits', latencies(count), 3, 4)
    yield recordRow('latencies in µs, 2 digits', latencies(count), 2)
    for (const digits of quick ? [] : ([3, 2] as const)) {
      yield recordRow(`values all over the range, ${digits} digits`, scattered(count), digits)
      yield recordRow(`edges of buckets, ${digits} digits`, edges(count), digits)
    }
    yield percentileRow(latencies(1 << 16))
    yield encodeRow(latencies(1 << 16))
    yield decodeRow(latencies(1 << 16))
    yield mergeRow(quick ? 100 : 1_000)
  }
}

/** Log-normal around 3 ms, with a stall in a thousand. */
function latencies(count: number): number[] {
  const random = randomNumbers(1)
  return Array.from({ length: count }, () => {
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
    const stall = random() < 0.001 ? 1_000_000 : 0
    return (1 + 3_000 * Math.exp(normal) + stall) | 0
  })
}

/** As many values in each power of two: every record touches another part of memory. */
function scattered(count: number): number[] {
  const random = randomNumbers(2)
  return Array.from({ length: count }, () => (2 ** (31 * random())) | 0)
}

function edges(count: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.max((1 << (1 + (i % 30))) + (i % 3) - 1, 1))
}

type Digits = 2 | 3

function hdr(digits: Digits, useWebAssembly: boolean): HdrHistogram {
  return build({
    highestTrackableValue: highest,
    numberOfSignificantValueDigits: digits,
    useWebAssembly,
    bitBucketSize: 32
  })
}

/**
 * Each contender has a loop of its own, so that none pays for the others' types. What the loop needs is at hand in it, and
 * the values are plain small integers: an `Int32Array` would be checked for being detached at every turn, since WebAssembly
 * in the same process detaches buffers, and what that takes would be put down to all the contenders.
 */
function recordRow(name: string, values: readonly number[], digits: Digits, ratio?: number): Row {
  const operations = values.length
  const own = new Histogram({ highest, significantDigits: digits })
  const shared = new Histogram({ buffer: Histogram.sharedBuffer({ highest, significantDigits: digits }) })
  const native = createHistogram({ lowest: 1, highest, figures: digits })
  const inWasm = hdr(digits, true)
  const inJs = hdr(digits, false)
  const prom = new PromHistogram({ name: 'seconds', help: 'Time.', registers: [] })
  const contenders: [Contender, ...Contender[]] = [
    {
      name: 'ostiary',
      operations,
      run: () => {
        const [histogram, list] = [own, values]
        for (let i = 0; i < operations; i++) histogram.record(list[i]!)
      }
    },
    {
      name: nativeHistogram,
      operations,
      run: () => {
        const [histogram, list] = [native, values]
        for (let i = 0; i < operations; i++) histogram.record(list[i]!)
      }
    },
    {
      name: wasm,
      operations,
      run: () => {
        const [histogram, list] = [inWasm, values]
        for (let i = 0; i < operations; i++) histogram.recordValue(list[i]!)
      }
    },
    {
      name: js,
      operations,
      run: () => {
        const [histogram, list] = [inJs, values]
        for (let i = 0; i < operations; i++) histogram.recordValue(list[i]!)
      }
    },
    {
      name: 'prom-client',
      operations,
      run: () => {
        const [histogram, list] = [prom, values]
        for (let i = 0; i < operations; i++) histogram.observe(list[i]! / 1e6)
      }
    },
    {
      name: 'ostiary, shared between threads',
      operations,
      run: () => {
        const [histogram, list] = [shared, values]
        for (let i = 0; i < operations; i++) histogram.record(list[i]!)
      }
    }
  ]
  return {
    name: `record, ${name}`,
    contenders,
    ...(ratio === undefined
      ? undefined
      : {
          targets: [
            { peer: nativeHistogram, ratio },
            { peer: wasm, ratio }
          ]
        }),
    close: () => inWasm.destroy()
  }
}

const asked = [50, 90, 99, 99.9]

function percentileRow(values: readonly number[]): Row {
  const own = new Histogram({ highest })
  const native = createHistogram({ lowest: 1, highest, figures: 3 })
  const [inWasm, inJs] = [hdr(3, true), hdr(3, false)]
  for (const value of values) {
    own.record(value)
    native.record(value)
    inWasm.recordValue(value)
    inJs.recordValue(value)
  }
  return {
    name: 'percentile, 3 digits',
    contenders: [
      {
        name: 'ostiary',
        operations: asked.length,
        run: () => {
          for (const p of asked) void own.percentile(p)
        }
      },
      {
        name: nativeHistogram,
        operations: asked.length,
        run: () => {
          for (const p of asked) void native.percentile(p)
        }
      },
      {
        name: wasm,
        operations: asked.length,
        run: () => {
          for (const p of asked) void inWasm.getValueAtPercentile(p)
        }
      },
      {
        name: js,
        operations: asked.length,
        run: () => {
          for (const p of asked) void inJs.getValueAtPercentile(p)
        }
      },
      {
        name: 'ostiary, all at once',
        operations: asked.length,
        run: () => void own.percentilesAt(asked)
      }
    ],
    close: () => inWasm.destroy()
  }
}

function encodeRow(values: readonly number[]): Row {
  const own = new Histogram({ highest })
  const inJs = hdr(3, false)
  for (const value of values) {
    own.record(value)
    inJs.recordValue(value)
  }
  return {
    name: 'encode, 3 digits',
    contenders: [
      { name: 'ostiary, compressed', operations: 1, run: () => void own.toBase64() },
      { name: js, operations: 1, run: () => void encodeIntoCompressedBase64(inJs) },
      { name: 'ostiary, plain', operations: 1, run: () => void own.encode({ compressed: false }) }
    ],
    figures: [
      { name: 'bytes, compressed', value: own.encode().length },
      { name: 'bytes, plain', value: own.encode({ compressed: false }).length }
    ]
  }
}

function decodeRow(values: readonly number[]): Row {
  const own = new Histogram({ highest })
  for (const value of values) own.record(value)
  const [packed, plain] = [own.toBase64(), own.encode({ compressed: false })]
  return {
    name: 'decode, 3 digits',
    contenders: [
      { name: 'ostiary, compressed', operations: 1, run: () => void Histogram.decode(packed) },
      { name: js, operations: 1, run: () => void decodeFromCompressedBase64(packed) },
      { name: 'ostiary, plain', operations: 1, run: () => void Histogram.decode(plain) }
    ]
  }
}

function mergeRow(histograms: number): Row {
  const values = latencies(histograms * 100)
  const own = Array.from({ length: histograms }, () => new Histogram({ highest }))
  const native = Array.from({ length: histograms }, () => createHistogram({ lowest: 1, highest, figures: 3 }))
  const inJs = Array.from({ length: histograms }, () => hdr(3, false))
  values.forEach((value, i) => {
    own[i % histograms]!.record(value)
    native[i % histograms]!.record(value)
    inJs[i % histograms]!.recordValue(value)
  })
  return {
    name: `merge of ${histograms} histograms, 3 digits`,
    contenders: [
      {
        name: 'ostiary',
        operations: histograms,
        run: () => {
          const sum = new Histogram({ highest })
          for (const histogram of own) sum.add(histogram)
        }
      },
      {
        name: nativeHistogram,
        operations: histograms,
        run: () => {
          const sum = createHistogram({ lowest: 1, highest, figures: 3 })
          for (const histogram of native) sum.add(histogram)
        }
      },
      {
        name: js,
        operations: histograms,
        run: () => {
          const sum = hdr(3, false)
          for (const histogram of inJs) sum.add(histogram)
        }
      }
    ]
  }
}
