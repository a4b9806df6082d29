/** What a histogram or its formats can fail with; switch on `code`, never on the message. */

export type HistogramErrorCode =
  /** The bytes do not begin like an HdrHistogram, or not like one of a known kind. */
  | 'ERR_HISTOGRAM_FORMAT'
  /** The bytes end too early, or a declared length is not theirs. */
  | 'ERR_HISTOGRAM_LENGTH'
  /** A count, a run of zeros or a configuration is outside what a histogram can be. */
  | 'ERR_HISTOGRAM_RANGE'
  /** What was to be subtracted is not in there. */
  | 'ERR_HISTOGRAM_SUBTRACT'
  /** A line of an interval log cannot be read. */
  | 'ERR_HISTOGRAM_LOG'

export class HistogramError extends Error {
  override readonly name = 'HistogramError'
  readonly code: HistogramErrorCode

  constructor(code: HistogramErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
