import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { writeZigZag, ZigZagReader } from '../../../lib/metrics/histogram/zigzag.ts'
import { fc } from '../../support/seeded.ts'

function written(value: number | bigint): number[] {
  const bytes = new Uint8Array(16)
  return [...bytes.subarray(0, writeZigZag(bytes, 0, value))]
}

describe('zigzag', () => {
  const pins: [bigint, number[]][] = [
    [0n, [0]],
    [1n, [2]],
    [-1n, [1]],
    [56n, [112]],
    [-56n, [111]],
    [456n, [144, 7]],
    [-456n, [143, 7]],
    [2n ** 50n, [...new Array(7).fill(128), 4]],
    [2n ** 62n, new Array(9).fill(128)],
    [-(2n ** 63n), new Array(9).fill(255)]
  ]
  for (const [value, bytes] of pins) {
    it(`writes and reads ${value}`, () => {
      assert.deepEqual(written(value), bytes)
      if (value > -(2n ** 53n) && value < 2n ** 53n) assert.deepEqual(written(Number(value)), bytes)
      assert.equal(new ZigZagReader(Uint8Array.from(bytes)).nextLong(), value)
    })
  }

  it('gives back every safe integer, and stops where it ends', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.nat(300))), values => {
        const bytes = Uint8Array.from(values.flatMap(written))
        const reader = new ZigZagReader(bytes)
        for (const value of values) assert.equal(reader.next(), value)
        assert.ok(reader.done)
      })
    )
  })

  it('refuses numbers that are cut off or too large', () => {
    for (const bytes of [[], [0x80], [0x80, 0x80, 0x80, 0x80, 0x80]]) {
      assert.throws(() => new ZigZagReader(Uint8Array.from(bytes)).next(), { code: 'ERR_HISTOGRAM_LENGTH' })
    }
    assert.throws(() => new ZigZagReader(Uint8Array.from(written(2n ** 53n))).next(), {
      code: 'ERR_HISTOGRAM_RANGE'
    })
  })
})
