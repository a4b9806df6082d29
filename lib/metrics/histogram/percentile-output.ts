/** The percentile distribution as text: `.hgrm`, which HdrHistogram's plotters read, and CSV. */
import { wrongOption } from '../../options.ts'
import type { Histogram } from './histogram.ts'

export interface PercentileOutputOptions {
  /** Default 'hgrm'. */
  format?: 'hgrm' | 'csv'
  /** Rows on the way to 50 %, from there to 75 %, and so on. Default 5. */
  ticksPerHalfDistance?: number
  /** What values are divided by, such as 1000 to print µs as ms. Default 1. */
  valueUnitRatio?: number
}

/**
 * The same text as `outputPercentileDistribution` of the Java library.
 * @throws RangeError when an option is out of its range
 */
export function percentileOutput(histogram: Histogram, options: PercentileOutputOptions = {}): string {
  const { format = 'hgrm', ticksPerHalfDistance = 5, valueUnitRatio = 1 } = options
  if (format !== 'hgrm' && format !== 'csv') {
    throw wrongOption('percentileOutput', 'format', "'hgrm' or 'csv'", format, RangeError)
  }
  if (!(valueUnitRatio > 0 && valueUnitRatio < Number.POSITIVE_INFINITY)) {
    throw wrongOption('percentileOutput', 'valueUnitRatio', 'positive', valueUnitRatio, RangeError)
  }
  const frozen = histogram.copy()
  const row = format === 'csv' ? csvRow : hgrmRow
  const digits = frozen.layout.significantDigits
  let text = format === 'csv' ? `${csvHeader}\n` : `${hgrmHeader}\n\n`
  for (const step of frozen.percentiles(ticksPerHalfDistance)) {
    const level = step.percentileLevelIteratedTo / 100
    text += row(decimal(step.valueIteratedTo / valueUnitRatio, digits), level, step.totalCountToThisValue)
  }
  return format === 'csv' ? text : text + footer(frozen, digits, valueUnitRatio)
}

const csvHeader = '"Value","Percentile","TotalCount","1/(1-Percentile)"'
const hgrmHeader = `${'Value'.padStart(12)} ${'Percentile'.padStart(14)} ${'TotalCount'.padStart(10)} ${'1/(1-Percentile)'.padStart(14)}`

function csvRow(value: string, level: number, count: number): string {
  const inverse = level === 1 ? 'Infinity' : decimal(1 / (1 - level), 2)
  return `${value},${decimal(level, 12)},${count},${inverse}\n`
}

function hgrmRow(value: string, level: number, count: number): string {
  const inverse = level === 1 ? '' : ` ${decimal(1 / (1 - level), 2).padStart(14)}`
  return `${value.padStart(12)} ${decimal(level, 12)} ${String(count).padStart(10)}${inverse}\n`
}

function footer(histogram: Histogram, digits: number, ratio: number): string {
  const value = (number: number) => decimal(number / ratio, digits).padStart(12)
  const whole = (number: number) => String(number).padStart(12)
  const { mean, stddev, max, count, layout } = histogram
  return `#[Mean    = ${value(mean)}, StdDeviation   = ${value(stddev)}]
#[Max     = ${value(max)}, Total count    = ${whole(count)}]
#[Buckets = ${whole(layout.bucketCount)}, SubBuckets     = ${whole(layout.subBucketCount)}]
`
}

/** Rounds the shortest decimal half up, as Java's `%f` does; `toFixed` rounds the exact binary value. */
function decimal(value: number, digits: number): string {
  const shortest = String(value)
  const point = shortest.indexOf('.')
  if (point === -1 || shortest.includes('e') || shortest.length - point - 1 <= digits) {
    return value.toFixed(digits)
  }
  const kept = BigInt(shortest.slice(0, point) + shortest.slice(point + 1, point + 1 + digits))
  const rounded = shortest[point + 1 + digits]! >= '5' ? kept + 1n : kept
  const text = String(rounded).padStart(digits + 1, '0')
  return digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`
}
