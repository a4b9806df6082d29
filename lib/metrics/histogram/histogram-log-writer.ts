/** Writes HdrHistogram's interval logs, format 1.3: one line for each interval, with the whole histogram in it. */
import { shown, wrongOption } from '../../options.ts'
import type { Histogram } from './histogram.ts'

/** The values of some span of time. */
export interface HistogramInterval {
  histogram: Histogram
  startAt: Date
  endAt: Date
  /** What the line is about, when a log has several kinds; without commas, blanks and line breaks. */
  tag?: string
}

export interface HistogramLogWriterOptions {
  /** Where text goes, such as a file stream. */
  output: { write(text: string): unknown }
  /** When logging began; readers pick ranges by the distance from it. */
  startedAt: Date
  /** Comment lines for the top. */
  comments?: readonly string[]
  /** What the largest value is divided by in its column, for people to read. Default 1e6. */
  maxValueUnitRatio?: number
}

/**
 * Times in the lines count from `startedAt`, which is the log's base time.
 *
 * @example
 * const log = new HistogramLogWriter({ output: createWriteStream('latency.hlog'), startedAt: new Date() })
 * log.write({ histogram, startAt, endAt, tag: 'GET' })
 */
export class HistogramLogWriter {
  readonly #output: { write(text: string): unknown }
  readonly #baseMs: number
  readonly #maxValueUnitRatio: number

  /** Writes the head of the log. @throws TypeError when an option is not what it must be */
  constructor(options: HistogramLogWriterOptions) {
    const { output, startedAt, comments = [], maxValueUnitRatio = 1_000_000 } = options
    if (typeof output?.write !== 'function')
      throw new TypeError('HistogramLogWriter: output must have a write method')
    this.#baseMs = timeOf('startedAt', startedAt)
    if (!(maxValueUnitRatio > 0 && maxValueUnitRatio < Number.POSITIVE_INFINITY)) {
      throw wrongOption('HistogramLogWriter', 'maxValueUnitRatio', 'positive', maxValueUnitRatio)
    }
    this.#output = output
    this.#maxValueUnitRatio = maxValueUnitRatio
    for (const comment of comments) this.comment(comment)
    const seconds = (this.#baseMs / 1000).toFixed(3)
    this.comment('[Histogram log format version 1.3]')
    this.comment(`[StartTime: ${seconds} (seconds since epoch), ${startedAt.toUTCString()}]`)
    this.comment(`[BaseTime: ${seconds} (seconds since epoch)]`)
    output.write('"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n')
  }

  /** @throws TypeError when the text has line breaks */
  comment(text: string): void {
    if (/[\r\n]/.test(text)) throw wrongOption('HistogramLogWriter', 'a comment', 'one line', shown(text))
    this.#output.write(`#${text}\n`)
  }

  /** @throws TypeError when a time is none, the end is before the start, or the tag has delimiters in it */
  write({ histogram, startAt, endAt, tag }: HistogramInterval): void {
    const startMs = timeOf('startAt', startAt)
    const endMs = timeOf('endAt', endAt)
    if (endMs < startMs) {
      throw new TypeError(`HistogramLogWriter: endAt must not be before startAt, got ${endAt.toISOString()}`)
    }
    if (tag !== undefined && !/^[^\s,]+$/.test(tag)) {
      throw new TypeError(
        `HistogramLogWriter: tag must have no commas, blanks or line breaks, got ${JSON.stringify(tag)}`
      )
    }
    const frozen = histogram.copy()
    const columns = [
      ((startMs - this.#baseMs) / 1000).toFixed(3),
      ((endMs - startMs) / 1000).toFixed(3),
      (frozen.max / this.#maxValueUnitRatio).toFixed(3),
      frozen.toBase64()
    ]
    this.#output.write(`${tag === undefined ? '' : `Tag=${tag},`}${columns.join(',')}\n`)
  }
}

function timeOf(parameter: string, at: unknown): number {
  if (!(at instanceof Date) || Number.isNaN(at.getTime())) {
    throw wrongOption('HistogramLogWriter', parameter, 'a valid Date', at)
  }
  return at.getTime()
}
