/** Which of the formats that metrics come in a scraper wants. */

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
  for (const range of (accept ?? '').slice(0, maxLength).split(',')) {
    const [type, ...rest] = range.split(';').map(part => part.trim().toLowerCase())
    const format = Object.hasOwn(mediaTypes, type) ? mediaTypes[type] : undefined
    if (format === undefined || (format === 'protobuf' && !protobuf)) continue
    const given = new Map(rest.map(parameter => keyAndValue(parameter)))
    if (!meansFormat(format, given)) continue
    const quality = qualityOf(given.get('q'))
    if (quality > bestQuality) {
      best = format
      bestQuality = quality
    }
  }
  return best
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
