import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { deflateSync, inflateSync } from 'node:zlib'
import * as hdr from 'hdr-histogram-js'
import { Histogram, type HistogramOptions } from '../../../lib/metrics/histogram/histogram.ts'
import { HistogramError } from '../../../lib/metrics/histogram/histogram-error.ts'
import { fc } from '../../support/seeded.ts'

function recorded(values: readonly number[], options?: HistogramOptions): Histogram {
  const histogram = new Histogram(options)
  for (const value of values) histogram.record(value)
  return histogram
}

function hex(text: string): Uint8Array {
  return Buffer.from(text.replaceAll(/[ |]/g, ''), 'hex')
}

function compressed(cookie: number, plain: Uint8Array): Buffer {
  const stream = deflateSync(plain)
  const head = Buffer.alloc(8)
  head.writeUInt32BE(cookie, 0)
  head.writeUInt32BE(stream.length, 4)
  return Buffer.concat([head, stream])
}

/** Written after the description of the older formats: fixed-size words from value 0 on. */
function older(
  version: 0 | 1,
  wordBytes: 2 | 4 | 8,
  counts: readonly number[],
  { lowest = 1, highest = 3_600_000_000, digits = 3 } = {}
): Buffer {
  const head = Buffer.alloc(version === 0 ? 32 : 40)
  head.writeUInt32BE((version === 0 ? 0x1c849308 : 0x1c849301) | (wordBytes << 4), 0)
  const at = version === 0 ? 4 : 12
  if (version === 1) {
    head.writeUInt32BE(counts.length * wordBytes, 4)
    head.writeDoubleBE(1, 32)
  }
  head.writeUInt32BE(digits, at)
  head.writeBigInt64BE(BigInt(lowest), at + 4)
  head.writeBigInt64BE(BigInt(highest), at + 12)
  const words = Buffer.alloc(counts.length * wordBytes)
  counts.forEach((count, i) => {
    if (wordBytes === 2) words.writeInt16BE(count, i * 2)
    else if (wordBytes === 4) words.writeInt32BE(count, i * 4)
    else words.writeBigInt64BE(BigInt(count), i * 8)
  })
  return Buffer.concat([head, words])
}

const header = '1c849313 00000001 00000000 00000003 0000000000000001 00000000d693a400 3ff0000000000000'

describe('Histogram.encode', () => {
  const vectors: [string, number[], HistogramOptions, string][] = [
    [
      'an empty histogram',
      [],
      { lowest: 1, highest: 2, significantDigits: 3 },
      '1c849313 00000001 00000000 00000003 0000000000000001 0000000000000002 3ff0000000000000 | 00'
    ],
    [
      'values around the first doubling',
      [1, 1, 2047, 2048, 2049, 100000],
      { lowest: 1, highest: 3_600_000_000, significantDigits: 3 },
      '1c849313 00000009 00000000 00000003 0000000000000001 00000000d693a400 3ff0000000000000 | 00 04 f9 1f 02 04 b1 58 02'
    ],
    [
      'two digits, with 0',
      [0, 5, 5, 255, 256, 257, 1_000_000],
      { lowest: 1, highest: 60_000_000, significantDigits: 2 },
      '1c849313 0000000a 00000000 00000002 0000000000000001 0000000003938700 3ff0000000000000 | 02 07 04 f1 03 02 04 e5 17 02'
    ]
  ]
  for (const [what, values, options, expected] of vectors) {
    it(`writes ${what} byte for byte`, () => {
      const histogram = recorded(values, options)
      assert.deepEqual(Buffer.from(histogram.encode({ compressed: false })), hex(expected))
      const packed = Buffer.from(histogram.encode())
      assert.equal(packed.readUInt32BE(0), 0x1c849314)
      assert.equal(packed.readUInt32BE(4), packed.length - 8)
      assert.deepEqual(inflateSync(packed.subarray(8)), hex(expected))
      assert.match(histogram.toBase64(), /^HISTFAAA/)
      assert.deepEqual(Histogram.decode(hex(expected)).snapshot(), histogram.snapshot())
    })
  }

  it('tells what the vectors tell', () => {
    const three = Histogram.decode(hex(vectors[1]![3])).snapshot()
    assert.deepEqual(
      [three.count, three.p50, three.p99, three.max, three.mean],
      [6, 2047, 100_031, 100_031, 17_691.166666666668]
    )
    const two = Histogram.decode(hex(vectors[2]![3])).snapshot()
    assert.deepEqual(
      [two.count, two.p50, two.p99, two.max, two.mean],
      [7, 255, 1_003_519, 1_003_519, 143_178.7142857143]
    )
  })

  it('gives back every histogram, whatever its configuration and counts', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 3 }),
        fc.integer({ min: 0, max: 40 }),
        fc.array(fc.tuple(fc.maxSafeNat(), fc.integer({ min: 0, max: 40 }))),
        fc.boolean(),
        (significantDigits, magnitude, pairs, compress) => {
          const histogram = new Histogram({
            lowest: 2 ** magnitude,
            highest: Number.MAX_SAFE_INTEGER,
            significantDigits
          })
          for (const [value, exponent] of pairs) histogram.record(value, 2 ** exponent)
          const copy = Histogram.decode(histogram.encode({ compressed: compress }))
          assert.deepEqual(copy.snapshot(), histogram.snapshot())
          assert.deepEqual([...copy.recordedValues()], [...histogram.recordedValues()])
          copy.record(5)
          assert.equal(copy.count, histogram.count + 1)
        }
      ),
      { numRuns: 50 }
    )
  })

  it('gives back 5 digits up to 2^53 - 1', () => {
    const histogram = recorded([0, 7, 2 ** 40, Number.MAX_SAFE_INTEGER], {
      highest: Number.MAX_SAFE_INTEGER,
      significantDigits: 5
    })
    assert.deepEqual(Histogram.decode(histogram.encode()).snapshot(), histogram.snapshot())
  })

  it('is read by hdr-histogram-js, and reads what that writes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3_600_000_000 }), { maxLength: 50 }), values => {
        const ours = recorded(values)
        const theirs = hdr.decodeFromCompressedBase64(ours.toBase64(), 64)
        assert.equal(theirs.totalCount, values.length)
        for (const p of [1, 50, 90, 99]) assert.equal(theirs.getValueAtPercentile(p), ours.percentile(p))
        const again = Histogram.decode(hdr.encodeIntoCompressedBase64(theirs))
        assert.deepEqual(again.snapshot(), ours.snapshot())
      }),
      { numRuns: 30 }
    )
  })
})

describe('Histogram.decode', () => {
  it('reads a sample made by the C library', () => {
    const histogram = Histogram.decode('HISTFAAAACl4nJNpmSzMwMBgyAABzFCaEURcm7yEwf4DROA8/4I5jNM7mJgAlWkH9g==')
    assert.equal(histogram.count, 10_001)
    for (const p of [0, 50, 90, 99, 99.99]) assert.equal(histogram.percentile(p), 1_000)
    for (const p of [99.999, 100]) assert.equal(histogram.percentile(p), 100_007_935)
    assert.equal(histogram.mean.toFixed(3), '10996.417')
    assert.equal(histogram.stddev.toFixed(3), '999641.716')
  })

  it('reads a sample made by the JavaScript library', () => {
    const histogram = Histogram.decode('HISTFAAAAB542pNpmSzMwMDAxAABzFCaEUoz2X+AMIKZAEARAtM=\n')
    assert.deepEqual([histogram.count, histogram.max, histogram.percentile(50)], [1, 42, 42])
    const { lowest, highest, significantDigits } = histogram.layout
    assert.deepEqual([lowest, highest, significantDigits], [1, 2, 3])
  })

  it('reads an empty one made by the Go library', () => {
    assert.equal(Histogram.decode('HISTFAAAABl4nJNpmSzMgADMUFoEyn1h/wHCAgBDogN4').count, 0)
  })

  const counts = [3, 0, 7, 0, 0, 1000]
  for (const version of [0, 1] as const) {
    for (const wordBytes of [2, 4, 8] as const) {
      it(`reads V${version} with words of ${wordBytes} bytes, compressed or not`, () => {
        const plain = older(version, wordBytes, counts)
        const cookie = (version === 0 ? 0x1c849309 : 0x1c849302) | (wordBytes << 4)
        for (const bytes of [plain, compressed(cookie, plain)]) {
          const histogram = Histogram.decode(bytes)
          const steps = [...histogram.recordedValues()]
          assert.deepEqual(
            steps.map(step => [step.valueIteratedTo, step.countAtValueIteratedTo]),
            [
              [0, 3],
              [2, 7],
              [5, 1000]
            ]
          )
        }
      })
    }
  }

  it('knows the other prefixes by sight', () => {
    const prefix = (cookie: number, plain: Buffer) => compressed(cookie, plain).toString('base64').slice(0, 8)
    assert.equal(prefix(0x1c849302 | 0x20, older(1, 2, counts)), 'HISTIgAA')
    assert.equal(prefix(0x1c849302 | 0x80, older(1, 8, counts)), 'HISTggAA')
    assert.equal(prefix(0x1c849309 | 0x80, older(0, 8, counts)), 'HISTiQAA')
  })

  it('takes a highest value beyond 2^53 - 1 as that', () => {
    const bytes = hex(`${header} 02`.replace('00000000d693a400', '7fffffffffffffff'))
    const histogram = Histogram.decode(bytes)
    assert.equal(histogram.layout.highest, Number.MAX_SAFE_INTEGER)
    assert.equal(histogram.countAt(0), 1)
  })

  it('reads a single zero as Java and as C write it, and pays no heed to the index offset', () => {
    const java = hex(`${header.replace('00000001 00000000', '00000003 00000000')}020002`)
    const c = hex(`${header.replace('00000001 00000000', '00000003 00000001')}020102`)
    assert.deepEqual(Histogram.decode(java).snapshot(), Histogram.decode(c).snapshot())
    assert.equal(Histogram.decode(c).max, 2)
  })

  it('works from any part of a larger buffer, and keeps none of it', () => {
    const bytes = recorded([1, 2, 3]).encode()
    const larger = new Uint8Array(bytes.length + 7)
    larger.set(bytes, 3)
    assert.equal(Histogram.decode(larger.subarray(3, 3 + bytes.length)).count, 3)
  })

  const bomb = deflateSync(Buffer.concat([hex(header), Buffer.alloc(50_000_000)]), { level: 9 })
  const bombHead = Buffer.alloc(8)
  bombHead.writeUInt32BE(0x1c849314, 0)
  bombHead.writeUInt32BE(bomb.length, 4)
  const good = Buffer.from(recorded([1, 1000, 1_000_000]).encode())
  const lying = (at: number, value: number) => {
    const bytes = Buffer.from(good)
    bytes.writeUInt32BE(value, at)
    return bytes
  }
  const plain = (edit: (text: string) => string) => hex(edit(`${header} 00`))
  // A run of 23 552 zeros and one count after it: one too many.
  const zeros = Buffer.alloc(3)
  zeros.set([0xff, 0xef, 0x02])

  const hostile: [string, Uint8Array | string, string][] = [
    ['no bytes', new Uint8Array(0), 'ERR_HISTOGRAM_LENGTH'],
    ['no text', '', 'ERR_HISTOGRAM_LENGTH'],
    ['text that is not base64', 'HISTFAAA?', 'ERR_HISTOGRAM_FORMAT'],
    ['another format', Buffer.from('{"count":1,"values":[]}'), 'ERR_HISTOGRAM_FORMAT'],
    ['a histogram of doubles', hex('0c72125e 00000000'), 'ERR_HISTOGRAM_FORMAT'],
    ['a cookie alone', hex('1c849313'), 'ERR_HISTOGRAM_LENGTH'],
    ['half a header', hex('1c849313 00000001 00000000'), 'ERR_HISTOGRAM_LENGTH'],
    ['less payload than declared', plain(text => text.slice(0, -2)), 'ERR_HISTOGRAM_LENGTH'],
    ['more payload than declared', plain(text => `${text}00`), 'ERR_HISTOGRAM_LENGTH'],
    ['a number that is cut off', plain(text => `${text.slice(0, -2)}80`), 'ERR_HISTOGRAM_LENGTH'],
    ['a huge declared payload', plain(text => text.replace('00000001', 'ffffffff')), 'ERR_HISTOGRAM_LENGTH'],
    ['6 digits', plain(text => text.replace('00000003', '00000006')), 'ERR_HISTOGRAM_RANGE'],
    ['negative digits', plain(text => text.replace('00000003', 'ffffffff')), 'ERR_HISTOGRAM_RANGE'],
    [
      'a lowest of 0',
      plain(text => text.replace('0000000000000001', '0000000000000000')),
      'ERR_HISTOGRAM_RANGE'
    ],
    [
      'a negative lowest',
      plain(text => text.replace('0000000000000001', '8000000000000000')),
      'ERR_HISTOGRAM_RANGE'
    ],
    [
      'a huge lowest',
      plain(text => text.replace('0000000000000001', '7fffffffffffffff')),
      'ERR_HISTOGRAM_RANGE'
    ],
    [
      'a negative highest',
      plain(text => text.replace('00000000d693a400', 'ffffffffffffffff')),
      'ERR_HISTOGRAM_RANGE'
    ],
    [
      'zeros past the end',
      Buffer.concat([hex(header.replace('00000001', '00000004')), zeros, hex('02')]),
      'ERR_HISTOGRAM_RANGE'
    ],
    [
      'a run of 2^63 zeros',
      Buffer.concat([hex(header.replace('00000001', '00000009')), hex('ff'.repeat(9))]),
      'ERR_HISTOGRAM_RANGE'
    ],
    [
      'a count of 2^62',
      Buffer.concat([hex(header.replace('00000001', '00000009')), hex('80'.repeat(9))]),
      'ERR_HISTOGRAM_RANGE'
    ],
    ['an inner length that lies', lying(4, 5), 'ERR_HISTOGRAM_LENGTH'],
    ['an outer length that lies', lying(4, 0xffffffff), 'ERR_HISTOGRAM_LENGTH'],
    ['a compressed stream that is cut off', compressedCut(good), 'ERR_HISTOGRAM_LENGTH'],
    [
      'a damaged stream',
      Buffer.concat([good.subarray(0, 8), Buffer.alloc(good.length - 8)]),
      'ERR_HISTOGRAM_FORMAT'
    ],
    ['a zip bomb', Buffer.concat([bombHead, bomb]), 'ERR_HISTOGRAM_LENGTH'],
    ['a histogram compressed twice', compressed(0x1c849314, good), 'ERR_HISTOGRAM_FORMAT'],
    ['V1 in the cover of V2', compressed(0x1c849314, older(1, 4, [1])), 'ERR_HISTOGRAM_FORMAT'],
    ['V1 with words of 6 bytes', hex(`${header} 00`.replace('1c849313', '1c849361')), 'ERR_HISTOGRAM_FORMAT'],
    ['V1 with half a count', older(1, 4, [1]).subarray(0, -2), 'ERR_HISTOGRAM_LENGTH'],
    ['V0 with half a count', older(0, 4, [1]).subarray(0, -2), 'ERR_HISTOGRAM_LENGTH'],
    ['V0 with a negative count', older(0, 4, [-1]), 'ERR_HISTOGRAM_RANGE'],
    ['V1 with a count of 2^60', older(1, 8, [2 ** 60]), 'ERR_HISTOGRAM_RANGE'],
    [
      'V0 with more counts than counters',
      older(0, 2, new Array(3_000).fill(0), { highest: 2 }),
      'ERR_HISTOGRAM_RANGE'
    ]
  ]
  for (const [what, bytes, code] of hostile) {
    it(`refuses ${what}`, () => {
      assert.throws(() => Histogram.decode(bytes), { name: 'HistogramError', code, message: /^Histogram: / })
    })
  }

  it('refuses what is neither bytes nor text', () => {
    for (const encoded of [null, undefined, 7, {}, [], new ArrayBuffer(50)]) {
      assert.throws(() => Histogram.decode(encoded as string), {
        name: 'TypeError',
        message: /encoded must be a Uint8Array or base64, got/
      })
    }
  })

  it('gives a histogram or a HistogramError for any bytes, never anything else', () => {
    const seeds = [
      good,
      Buffer.from(recorded([0, 5, 70_000]).encode({ compressed: false })),
      older(0, 2, counts),
      older(1, 8, counts)
    ]
    const mutated = fc
      .record({
        seed: fc.constantFrom(...seeds),
        edits: fc.array(fc.tuple(fc.nat(120), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
        length: fc.nat(120)
      })
      .map(({ seed, edits, length }) => {
        const bytes = Buffer.from(seed)
        for (const [at, byte] of edits) bytes[at % bytes.length] = byte
        return length < 100 ? bytes.subarray(0, Math.max(length, 1)) : bytes
      })
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), bytes => {
        let histogram: Histogram
        try {
          histogram = Histogram.decode(bytes)
        } catch (error) {
          assert.ok(error instanceof HistogramError, String(error))
          return
        }
        assert.ok(histogram.count >= 0)
        for (const step of histogram.percentiles()) assert.ok(step.totalCountToThisValue > 0)
        assert.deepEqual(Histogram.decode(histogram.encode()).snapshot(), histogram.snapshot())
      }),
      { numRuns: 2_000 }
    )
  })
})

describe('Histogram.toJSON', () => {
  it('carries all there is, through text', () => {
    const histogram = recorded([1, 5_000, 1e12, Number.NaN])
    const copy = Histogram.fromJSON(JSON.parse(JSON.stringify(histogram)))
    assert.deepEqual(copy.snapshot(), histogram.snapshot())
    assert.deepEqual([copy.overflowCount, copy.invalidCount], [1, 1])
  })

  it('is refused when it is not what it was', () => {
    const json = recorded([1]).toJSON()
    for (const fields of [
      { overflowCount: -1 },
      { invalidCount: 0.5 },
      { overflowCount: undefined as unknown as number }
    ]) {
      assert.throws(() => Histogram.fromJSON({ ...json, ...fields }), { code: 'ERR_HISTOGRAM_RANGE' })
    }
    assert.throws(() => Histogram.fromJSON({ ...json, counts: '' }), { code: 'ERR_HISTOGRAM_LENGTH' })
  })
})

/** The declared length is right, the stream inside ends too early. */
function compressedCut(whole: Buffer): Buffer {
  const bytes = Buffer.from(whole.subarray(0, whole.length - 6))
  bytes.writeUInt32BE(bytes.length - 8, 4)
  return bytes
}
