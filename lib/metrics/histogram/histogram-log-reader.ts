/** Reads HdrHistogram's interval logs, all formats up to 1.3. */
import { shown } from '../../options.ts'
import { Histogram } from './histogram.ts'
import { HistogramError } from './histogram-error.ts'
import type { HistogramInterval } from './histogram-log-writer.ts'

export interface HistogramLogRange {
  /** First start of an interval that is read, in seconds. Default: the first there is. */
  from?: number
  /** Last start of an interval that is read, in seconds. Default: the last there is. */
  to?: number
  /** Whether `from` and `to` count from the epoch, and not from the start of the log. Default false. */
  absolute?: boolean
}

const yearSeconds = 365 * 24 * 3600

/**
 * Takes a log line by line, as they come, or as a whole.
 *
 * @example
 * const total = new Histogram()
 * for (const { histogram, tag } of new HistogramLogReader().read(text)) if (tag === 'GET') total.add(histogram)
 *
 * @example
 * const reader = new HistogramLogReader({ from: 60, to: 120 })
 * for await (const line of createInterface({ input: createReadStream('latency.hlog') })) {
 *   const interval = reader.line(line)
 * }
 */
export class HistogramLogReader {
  readonly #from: number
  readonly #to: number
  readonly #absolute: boolean
  #lineNumber = 0
  #startSeconds: number | undefined
  #baseSeconds: number | undefined
  #cutOff = false

  constructor(range: HistogramLogRange = {}) {
    this.#from = range.from ?? Number.NEGATIVE_INFINITY
    this.#to = range.to ?? Number.POSITIVE_INFINITY
    this.#absolute = range.absolute ?? false
    if (!isNumber(this.#from) || !isNumber(this.#to)) {
      throw new RangeError(
        `HistogramLogReader: from and to must be numbers, got ${shown(range.from)} and ${shown(range.to)}`
      )
    }
  }

  /** When logging began, as far as the lines so far tell: what they say, or the first timestamp. */
  get startedAt(): Date | undefined {
    return this.#startSeconds === undefined ? undefined : new Date(Math.round(this.#startSeconds * 1000))
  }

  /** Whether `read` came to a last line that was not ended and could not be read: the writer was stopped in it. */
  get cutOff(): boolean {
    return this.#cutOff
  }

  /**
   * The intervals of a whole log that are in the range. A last line without an end is left out if it cannot be read.
   * @throws HistogramError `ERR_HISTOGRAM_LOG` when a line cannot be read; the message has its number
   */
  *read(text: string): Generator<HistogramInterval> {
    for (let at = 0; at < text.length; ) {
      const end = text.indexOf('\n', at)
      let interval: HistogramInterval | undefined
      try {
        interval = this.line(text.slice(at, end === -1 ? text.length : end))
      } catch (error) {
        if (end !== -1) throw error
        this.#cutOff = true
        return
      }
      if (interval !== undefined) yield interval
      if (end === -1) return
      at = end + 1
    }
  }

  /**
   * The interval on a line, if there is one and it is in the range.
   * @throws HistogramError `ERR_HISTOGRAM_LOG` when the line cannot be read; the message has its number
   */
  line(text: string): HistogramInterval | undefined {
    this.#lineNumber++
    const line = text.trim()
    if (line.startsWith('#')) {
      this.#comment(line)
      return undefined
    }
    if (line === '' || line.startsWith('"StartTimestamp"')) return undefined
    const tokens = line.split(/[ ,]+/)
    const tag = tokens[0].startsWith('Tag=') ? tokens.shift()!.slice(4) : undefined
    if (tokens.length !== 4) throw this.#error(`has ${tokens.length} columns where 4 belong`)
    const [timestamp, length] = tokens.slice(0, 3).map(token => this.#seconds(token)) as [
      number,
      number,
      number
    ]
    const startSeconds = this.#absoluteStart(timestamp)
    if (!this.#inRange(startSeconds)) return undefined
    return {
      histogram: this.#histogram(tokens[3]!),
      startAt: new Date(Math.trunc(startSeconds * 1000)),
      endAt: new Date(Math.trunc((startSeconds + length) * 1000)),
      ...(tag === undefined ? undefined : { tag })
    }
  }

  #comment(line: string): void {
    const found = /^#\[(StartTime|BaseTime):[ ,]*([^ ,]+)/.exec(line)
    const seconds = Number(found?.[2])
    if (found === null || !Number.isFinite(seconds)) return
    if (found[1] === 'StartTime') this.#startSeconds = seconds
    else this.#baseSeconds = seconds
  }

  /** Timestamps count from the base time. Without one, they do from the start of the log if they are a year below it. */
  #absoluteStart(timestamp: number): number {
    this.#startSeconds ??= timestamp
    this.#baseSeconds ??= timestamp < this.#startSeconds - yearSeconds ? this.#startSeconds : 0
    return timestamp + this.#baseSeconds
  }

  #inRange(startSeconds: number): boolean {
    const at = this.#absolute ? startSeconds : startSeconds - this.#startSeconds!
    return at >= this.#from && at <= this.#to
  }

  #seconds(token: string): number {
    const number = token === '' ? Number.NaN : Number(token)
    if (!Number.isFinite(number))
      throw this.#error(`has ${JSON.stringify(token.slice(0, 40))} where a number belongs`)
    return number
  }

  #histogram(base64: string): Histogram {
    try {
      return Histogram.decode(base64)
    } catch (error) {
      throw this.#error((error as Error).message, error)
    }
  }

  #error(reason: string, cause?: unknown): HistogramError {
    return new HistogramError(
      'ERR_HISTOGRAM_LOG',
      `HistogramLogReader: line ${this.#lineNumber}: ${reason}`,
      { cause }
    )
  }
}

function isNumber(seconds: unknown): boolean {
  return typeof seconds === 'number' && !Number.isNaN(seconds)
}
