/** The trace a request belongs to, as its `traceparent` header says (W3C Trace Context). */

export interface TraceContext {
  readonly traceId: string
  readonly spanId: string
}

const traceparent = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/
const version0Length = 55

/**
 * The trace, if the header is valid and the trace is sampled: one that was not kept cannot be looked up.
 * @param header the field's value; what a client sent, so only hexadecimal digits of fixed length are taken from it
 */
export function sampledTrace(header: string | string[] | undefined): TraceContext | undefined {
  if (typeof header !== 'string') return undefined
  const match = traceparent.exec(header)
  if (match === null || (header.startsWith('00') && header.length !== version0Length)) return undefined
  const sampled = (Number.parseInt(match[3], 16) & 1) === 1
  return sampled ? { traceId: match[1], spanId: match[2] } : undefined
}
