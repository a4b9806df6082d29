/** Which of the formats that metrics come in a scraper wants, and whether it reads gzip. */

export type MetricsFormat = 'text' | 'openmetrics' | 'protobuf' | 'json'

const mediaTypes: Record<string, MetricsFormat> = {
  'text/plain': 'text',
  'text/*': 'text',
  '*/*': 'text',
  'application/openmetrics-text': 'openmetrics',
  'application/vnd.google.protobuf': 'protobuf',
  'application/json': 'json'
}
/** Parameters that must, where they are given, be one of these for the format to be the one meant. */
const parameters: Record<MetricsFormat, Record<string, readonly string[]>> = {
  text: { version: ['0.0.4'] },
  openmetrics: { version: ['1.0.0', '0.0.1'] },
  protobuf: { proto: ['io.prometheus.client.metricfamily'], encoding: ['delimited'] },
  json: {}
}
/** A header that is longer than any scraper's is not read to its end. */
const maxLength = 2_048

/**
 * The format with the highest quality (RFC 9110, section 12.5.1), the first of equals; text when none is acceptable, as
 * every Prometheus exporter answers.
 * @param protobuf whether that format is on offer
 */
export function acceptedFormat(accept: string | undefined, protobuf: boolean): MetricsFormat {
  let best: MetricsFormat = 'text'
  let bestQuality = 0
  for (const { name, given, quality } of ranges(accept)) {
    const format = Object.hasOwn(mediaTypes, name) ? mediaTypes[name] : undefined
    if (format === undefined || (format === 'protobuf' && !protobuf)) continue
    if (!meansFormat(format, given)) continue
    if (quality > bestQuality) {
      best = format
      bestQuality = quality
    }
  }
  return best
}

/** Whether gzip is acceptable, and no less than the bytes as they are (RFC 9110, section 12.5.3). */
export function acceptsGzip(acceptEncoding: string | undefined): boolean {
  const qualities = new Map<string, number>()
  for (const { name, quality } of ranges(acceptEncoding)) {
    qualities.set(name === 'x-gzip' ? 'gzip' : name, quality)
  }
  const quality = qualities.get('gzip') ?? qualities.get('*') ?? 0
  return quality > 0 && quality >= (qualities.get('identity') ?? 0)
}

interface Range {
  name: string
  given: ReadonlyMap<string, string>
  quality: number
}

function ranges(header: string | undefined): Range[] {
  const parts = (header ?? '').slice(0, maxLength).split(',')
  return parts.map(part => {
    const [name, ...rest] = part.split(';').map(piece => piece.trim().toLowerCase())
    const given = new Map(rest.map(parameter => keyAndValue(parameter)))
    return { name, given, quality: qualityOf(given.get('q')) }
  })
}

function keyAndValue(parameter: string): [string, string] {
  const equals = parameter.indexOf('=')
  if (equals === -1) return [parameter, '']
  return [
    parameter.slice(0, equals).trim(),
    parameter
      .slice(equals + 1)
      .trim()
      .replace(/^"(.*)"$/, '$1')
  ]
}

function meansFormat(format: MetricsFormat, given: ReadonlyMap<string, string>): boolean {
  return Object.entries(parameters[format]).every(([name, values]) => {
    const value = given.get(name)
    return value === undefined || values.includes(value)
  })
}

function qualityOf(q: string | undefined): number {
  if (q === undefined) return 1
  return /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(q) ? Number(q) : 0
}
