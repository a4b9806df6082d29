import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import * as hdr from 'hdr-histogram-js'
import { Histogram } from '../../../lib/metrics/histogram/histogram.ts'
import {
  type HistogramLogRange,
  HistogramLogReader
} from '../../../lib/metrics/histogram/histogram-log-reader.ts'
import {
  type HistogramInterval,
  HistogramLogWriter,
  type HistogramLogWriterOptions
} from '../../../lib/metrics/histogram/histogram-log-writer.ts'

const vectors = new URL('../../../../shared/vectors/hdr/', import.meta.url)
const skip = existsSync(vectors) ? false : `the published logs are not in ${vectors.pathname}`

function published(name: string): string {
  return readFileSync(new URL(name, vectors), 'utf8')
}

function merged(intervals: Iterable<HistogramInterval>): { intervals: number; total: Histogram } {
  const total = new Histogram({ highest: 3.6e12 })
  let count = 0
  for (const { histogram } of intervals) {
    total.add(histogram)
    count++
  }
  return { intervals: count, total }
}

describe('HistogramLogReader on published logs', { skip }, () => {
  const rows: [string, HistogramLogRange, number, number, number, number][] = [
    ['jHiccup-2.0.7S.logV2.hlog', {}, 62, 48_761, 1_745_879_039, 1_796_210_687],
    ['jHiccup-2.0.7S.logV2.hlog', { from: 5, to: 20 }, 15, 11_664, 1_536_163_839, 1_544_552_447],
    ['jHiccup-2.0.7S.logV2.hlog', { from: 40, to: 60 }, 20, 15_830, 1_779_433_471, 1_796_210_687],
    ['tagged-Log.logV2.hlog', {}, 42, 32_290, 1_536_163_839, 1_544_552_447]
  ]
  for (const [name, range, intervals, count, p999, max] of rows) {
    it(`finds ${intervals} intervals in ${name} ${JSON.stringify(range)}`, () => {
      const reader = new HistogramLogReader(range)
      const found = merged(reader.read(published(name)))
      assert.equal(found.intervals, intervals)
      assert.equal(found.total.count, count)
      assert.equal(found.total.percentile(99.9), p999)
      assert.equal(found.total.max, max)
      assert.equal(reader.startedAt?.getTime(), 1_441_812_279_474)
      assert.equal(reader.cutOff, false)
    })
  }

  it('gives what the whole log says', () => {
    const { total } = merged(new HistogramLogReader().read(published('jHiccup-2.0.7S.logV2.hlog')))
    const percentiles = [50, 75, 90, 95, 99].map(p => total.percentile(p))
    assert.deepEqual(percentiles, [327_935, 377_087, 409_855, 625_475_583, 1_427_111_935])
    assert.equal(total.mean.toFixed(3), '67632018.542')
    assert.equal(total.stddev.toFixed(3), '258309994.109')
  })

  it('gives what the first intervals say', () => {
    const reader = new HistogramLogReader()
    const [first, second] = [...reader.read(published('jHiccup-2.0.7S.logV2.hlog'))]
    const { histogram, startAt, endAt } = first!
    assert.deepEqual(
      [histogram.count, histogram.percentile(50), histogram.percentile(99), histogram.max],
      [741, 344_063, 409_599, 2_768_895]
    )
    assert.equal(histogram.mean.toFixed(2), '301998.47')
    assert.equal(startAt.getTime(), 1_441_812_279_601)
    assert.equal(endAt.getTime(), 1_441_812_280_608)
    assert.equal(Math.floor(second!.histogram.mean), 293_719)
  })

  it('tells tags apart', () => {
    const intervals = [...new HistogramLogReader().read(published('tagged-Log.logV2.hlog'))]
    const tagged = merged(intervals.filter(interval => interval.tag === 'A'))
    const untagged = merged(intervals.filter(interval => interval.tag === undefined))
    assert.equal(tagged.intervals, 21)
    assert.equal(untagged.intervals, 21)
    assert.deepEqual(tagged.total.snapshot(), untagged.total.snapshot())
  })

  it('writes back what it read', () => {
    const text = published('tagged-Log.logV2.hlog')
    const [output, rewritten] = collector()
    const log = new HistogramLogWriter({ output, startedAt: new Date(1_441_812_279_474) })
    const before = [...new HistogramLogReader().read(text)]
    for (const interval of before) log.write(interval)
    const after = [...new HistogramLogReader().read(rewritten())]
    assert.equal(after.length, before.length)
    after.forEach((interval, i) => {
      const original = before[i]!
      assert.deepEqual(interval.histogram.snapshot(), original.histogram.snapshot())
      assert.equal(interval.tag, original.tag)
      // Sums of seconds are cut off to ms, as in the reference.
      assert.ok(Math.abs(interval.startAt.getTime() - original.startAt.getTime()) <= 1)
      assert.ok(Math.abs(interval.endAt.getTime() - original.endAt.getTime()) <= 1)
    })
  })
})

function collector(): [{ write(text: string): void }, () => string] {
  let all = ''
  return [
    {
      write(text: string) {
        all += text
      }
    },
    () => all
  ]
}

const startedAt = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678))
const seconds = startedAt.getTime() / 1000

function intervalOf(
  values: readonly number[],
  fromMs: number,
  toMs: number,
  tag?: string
): HistogramInterval {
  const histogram = new Histogram()
  for (const value of values) histogram.record(value)
  return {
    histogram,
    startAt: new Date(startedAt.getTime() + fromMs),
    endAt: new Date(startedAt.getTime() + toMs),
    ...(tag === undefined ? undefined : { tag })
  }
}

function logOf(
  intervals: readonly HistogramInterval[],
  options?: Partial<HistogramLogWriterOptions>
): string {
  const [output, text] = collector()
  const log = new HistogramLogWriter({ output, startedAt, ...options })
  for (const interval of intervals) log.write(interval)
  return text()
}

describe('HistogramLogWriter', () => {
  it('writes format 1.3', () => {
    const text = logOf([intervalOf([1_500], 127, 1_134), intervalOf([2_000_000], 1_134, 2_133, 'POST')], {
      comments: ['[Logged by a test]']
    })
    const lines = text.split('\n')
    assert.deepEqual(lines.slice(0, 5), [
      '#[Logged by a test]',
      '#[Histogram log format version 1.3]',
      `#[StartTime: ${seconds.toFixed(3)} (seconds since epoch), Fri, 02 Jan 2026 03:04:05 GMT]`,
      `#[BaseTime: ${seconds.toFixed(3)} (seconds since epoch)]`,
      '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
    ])
    assert.match(lines[5]!, /^0\.127,1\.007,0\.002,HISTFAAA[A-Za-z0-9+/=]+$/)
    assert.match(lines[6]!, /^Tag=POST,1\.134,0\.999,2\.001,HISTFAAA[A-Za-z0-9+/=]+$/)
    assert.equal(lines.length, 8)
  })

  it('is read by hdr-histogram-js', () => {
    const text = logOf([intervalOf([1, 2, 3], 0, 1_000), intervalOf([4], 1_000, 2_000, 'x')])
    const reader = new hdr.HistogramLogReader(text)
    const first = reader.nextIntervalHistogram()
    const second = reader.nextIntervalHistogram()
    assert.equal(first?.totalCount, 3)
    assert.equal(first?.startTimeStampMsec, startedAt.getTime())
    assert.equal(second?.tag, 'x')
    assert.equal(reader.nextIntervalHistogram(), null)
  })

  it('scales the largest value as told', () => {
    assert.match(logOf([intervalOf([1_500], 0, 1)], { maxValueUnitRatio: 1_000 }), /^0\.000,0\.001,1\.500,/m)
  })

  const bad: [string, Record<string, unknown>, RegExp][] = [
    ['no output', { output: undefined }, /output must have a write method/],
    ['no start', { startedAt: undefined }, /startedAt must be a valid Date, got undefined/],
    ['a start that is no date', { startedAt: new Date(Number.NaN) }, /startedAt must be a valid Date/],
    ['a ratio of 0', { maxValueUnitRatio: 0 }, /maxValueUnitRatio must be positive, got 0/],
    ['a comment of two lines', { comments: ['a\nb'] }, /comment must be one line, got "a\\nb"/]
  ]
  for (const [what, options, message] of bad) {
    it(`refuses ${what}`, () => assert.throws(() => logOf([], options), { name: 'TypeError', message }))
  }

  it('refuses intervals that no reader would take', () => {
    for (const tag of ['', 'a b', 'a,b', 'a\n', 'a\r', '\u2028']) {
      assert.throws(() => logOf([intervalOf([1], 0, 1, tag)]), /tag must have no commas/)
    }
    assert.throws(() => logOf([intervalOf([1], 5, 4)]), /endAt must not be before startAt/)
    assert.throws(
      () => logOf([intervalOf([1], 5, Number.NaN)]),
      /endAt must be a valid Date, got Invalid Date/
    )
  })
})

describe('HistogramLogReader', () => {
  const one = intervalOf([42], 0, 1_000).histogram.toBase64()
  const read = (text: string, range?: HistogramLogRange) => [...new HistogramLogReader(range).read(text)]

  it('takes the first timestamp as the start when none is told', () => {
    const reader = new HistogramLogReader({ from: 0, to: 5 })
    const intervals = [
      ...reader.read(`127.000,1.000,1.0,${one}\n130.5,1.5,1.0,${one}\n133.0,1.0,1.0,${one}\n`)
    ]
    assert.deepEqual(
      intervals.map(({ startAt, endAt }) => [startAt.getTime(), endAt.getTime()]),
      [
        [127_000, 128_000],
        [130_500, 132_000]
      ]
    )
    assert.equal(reader.startedAt?.getTime(), 127_000)
  })

  it('adds the start to timestamps that are more than a year before it', () => {
    const head = '#[StartTime: 1441812279.474 (seconds since epoch), Wed]\n'
    const [relative] = read(`${head}0.127,1.007,2.769,${one}\n`)
    assert.equal(relative!.startAt.getTime(), 1_441_812_279_601)
    const [absolute] = read(`${head}1441812280.127,1.007,2.769,${one}\n`)
    assert.equal(absolute!.startAt.getTime(), 1_441_812_280_127)
  })

  it('prefers the base time that the log tells', () => {
    const text = `#[StartTime: 1441812279.474 (x)]\n#[BaseTime: 1441812123.250 (x)]\n200,1,1,${one}\n`
    assert.equal(read(text)[0]!.startAt.getTime(), 1_441_812_323_250)
    assert.equal(read(text, { from: 43.7, to: 43.8 }).length, 1)
    assert.equal(read(text, { from: 44 }).length, 0)
    assert.equal(read(text, { from: 1_441_812_323, to: 1_441_812_324, absolute: true }).length, 1)
  })

  it('overlooks comments, empty lines, blanks and either line end', () => {
    const text = `# a comment\r\n#[StartTime: x]\r\n\r\n"StartTimestamp","a"\r\n  0.5, 1.0 ,1.0,  ${one}  \r\n`
    assert.equal(read(text).length, 1)
    assert.equal(read('').length, 0)
  })

  it('does without a last line that is cut off, at any place', () => {
    const line = `Tag=A,1.000,1.000,1.000,${one}`
    for (let end = 0; end < line.length; end++) {
      const reader = new HistogramLogReader()
      const intervals = [...reader.read(`${line}\n${line.slice(0, end)}`)]
      assert.ok(intervals.length === 1 || end > line.length - 3, `${end} of ${line.length}`)
      assert.equal(reader.cutOff, end > 0 && intervals.length === 1)
    }
    assert.equal(read(`${line}\n${line}`).length, 2)
  })

  const malformed: [string, string][] = [
    ['Tag=A,1.0,1.0,1.0', 'has 3 columns where 4 belong'],
    ['1.0', 'has 1 columns where 4 belong'],
    [`Tga=A,1.0,1.0,1.0,${one}`, 'has 5 columns where 4 belong'],
    [`Tag=A,Infinity,1.0,1.0,${one}`, 'has "Infinity" where a number belongs'],
    [`soon,1.0,1.0,${one}`, 'has "soon" where a number belongs'],
    ['1.0,1.0,1.0,HISTFAAA', 'Histogram: cannot decode'],
    ['1.0,1.0,1.0,!', 'Histogram: cannot decode, the text is not base64']
  ]
  for (const [line, reason] of malformed) {
    it(`refuses ${line.slice(0, 40)}`, () => {
      assert.throws(
        () => read(`# head\n${line}\n`),
        (error: Error & { code: string }) => {
          assert.equal(error.code, 'ERR_HISTOGRAM_LOG')
          assert.ok(error.message.startsWith(`HistogramLogReader: line 2: ${reason}`), error.message)
          return true
        }
      )
    })
  }

  it('takes lines as they come', () => {
    const reader = new HistogramLogReader()
    assert.equal(reader.line('# comment'), undefined)
    assert.equal(reader.line(`1.0,1.0,1.0,${one}`)?.histogram.count, 1)
    assert.throws(() => reader.line('1.0'), /line 3/)
  })

  it('refuses a range that is none', () => {
    assert.throws(() => new HistogramLogReader({ from: Number.NaN }), /from and to must be numbers, got NaN/)
    assert.throws(
      () => new HistogramLogReader({ from: 5, to: '60' as never }),
      /from and to must be numbers, got 5 and "60"/
    )
  })
})
