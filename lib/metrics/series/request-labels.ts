/** What a request is filed under: method, scheme, status, end and caller, packed into one integer. */
import type { Exchange, Identity } from '../../http/exchange.ts'

/** Methods known to OpenTelemetry (RFC 9110, RFC 5789, and QUERY); any other is `_OTHER`. */
const methods = [
  '_OTHER',
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'QUERY',
  'TRACE'
]
const methodIndexes = new Map(methods.map((method, i) => [method, i]))
const getIndex = methods.indexOf('GET')
const schemes = ['http', 'https']
const callers = ['anonymous', 'human', 'machine', 'unknown']
const ends = ['completed', 'aborted', 'failed']

/** Method and scheme alone, as in-flight requests are counted. */
export const originCount: number = methods.length * 2

/** As it was when this was first asked: `req.method` may be overridden on the way. */
export function originOf(exchange: Exchange): number {
  exchange.origin ??= readOrigin(exchange)
  return exchange.origin
}

function readOrigin({ req }: Exchange): number {
  // Most requests are: to look it up would hash it each time.
  const method = req.method === 'GET' ? getIndex : (methodIndexes.get(req.method as string) ?? 0)
  const encrypted =
    req.httpVersionMajor < 2
      ? (req.socket as { encrypted?: boolean } | undefined)?.encrypted === true
      : (req as unknown as { scheme?: string }).scheme === 'https'
  return method * 2 + (encrypted ? 1 : 0)
}

/**
 * One integer for everything but the route: status (10 bits), origin (5), caller (2), end (2). Where the status alone
 * makes the `error_type`, all ends are one, or two series would have the same labels.
 */
export function requestKey(exchange: Exchange, origin: number): number {
  const end =
    exchange.statusCode >= 500 || exchange.outcome === 'completed'
      ? 0
      : exchange.outcome === 'aborted'
        ? 1
        : 2
  return ((exchange.statusCode * 32 + origin) * 4 + callerOf(exchange.user)) * 4 + end
}

type Labels = [name: string, value: string][]

export function originLabels(origin: number): Labels {
  return [
    ['http_request_method', methods[origin >> 1]],
    ['url_scheme', schemes[origin & 1]]
  ]
}

/**
 * The labels of a key, after OpenTelemetry's `http.server.request.duration`: no status where none was sent, and
 * `error_type` for what went wrong on the server's side or never got to its end: the status of a 5xx, `aborted` when
 * the client left, `failed` when the response broke off.
 */
export function requestLabels(key: number, route: string | undefined): Labels {
  const end = key & 3
  const status = key >> 9
  const labels = originLabels((key >> 4) & 31)
  if (status !== 0) labels.push(['http_response_status_code', String(status)])
  if (route !== undefined) labels.push(['http_route', route])
  if (status >= 500) labels.push(['error_type', String(status)])
  else if (end !== 0) labels.push(['error_type', ends[end]])
  labels.push(['caller_kind', callers[(key >> 2) & 3]])
  return labels
}

function callerOf(user: Identity | undefined): number {
  if (user === undefined) return 0
  return user.kind === 'human' ? 1 : user.kind === 'machine' ? 2 : 3
}
