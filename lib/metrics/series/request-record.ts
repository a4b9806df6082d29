/** What is remembered of the requests of a window. */
import { DurationRecord, type DurationSummary } from './duration-record.ts'
import type { WindowRecord } from './windows.ts'

/** `none`: the client left, or the connection broke, before there was a head. */
export type StatusClass = 'none' | '2xx' | '3xx' | '4xx' | '5xx'

export interface RequestSummary {
  /** Responses by class of status. */
  statuses: Record<StatusClass, number>
  /** Until the response ended. */
  duration: DurationSummary
  /** Until the head was written; requests that got none are not in it. */
  timeToFirstByte: DurationSummary
}

export class RequestRecord implements WindowRecord<RequestRecord> {
  readonly durations: DurationRecord
  readonly firstBytes: DurationRecord
  #none = 0
  #success = 0
  #redirect = 0
  #clientError = 0
  #serverError = 0

  constructor(significantDigits: number) {
    this.durations = new DurationRecord(significantDigits)
    this.firstBytes = new DurationRecord(significantDigits)
  }

  /**
   * @param status 0 when no head was sent; 101 opens a tunnel: a success
   * @param firstByteMs undefined when no head was sent
   */
  record(status: number, durationMs: number, firstByteMs: number | undefined): void {
    if (status === 0) this.#none++
    else if (status < 300) this.#success++
    else if (status < 400) this.#redirect++
    else if (status < 500) this.#clientError++
    else this.#serverError++
    this.durations.record(durationMs)
    if (firstByteMs !== undefined) this.firstBytes.record(firstByteMs)
  }

  add(other: RequestRecord): void {
    this.#none += other.#none
    this.#success += other.#success
    this.#redirect += other.#redirect
    this.#clientError += other.#clientError
    this.#serverError += other.#serverError
    this.durations.add(other.durations)
    this.firstBytes.add(other.firstBytes)
  }

  clear(): void {
    this.#none = 0
    this.#success = 0
    this.#redirect = 0
    this.#clientError = 0
    this.#serverError = 0
    this.durations.clear()
    this.firstBytes.clear()
  }

  summary(): RequestSummary {
    return {
      statuses: {
        none: this.#none,
        '2xx': this.#success,
        '3xx': this.#redirect,
        '4xx': this.#clientError,
        '5xx': this.#serverError
      },
      duration: this.durations.summary(),
      timeToFirstByte: this.firstBytes.summary()
    }
  }
}
