/** URLs of identity providers, and how their documents are fetched: https, bounded, without redirects. */
import type { Clock } from '../clock.ts'

/** A `fetch` that the application brings, for proxies and private certificate authorities. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>

export interface FetchPolicy {
  fetch: Fetch
  clock: Clock
  /** ms for the whole answer. */
  timeoutMs: number
}

const maxBytes = 1_048_576

/**
 * @param where the option, for the message
 * @throws TypeError unless `value` is an https URL, or http on loopback, without user, password and fragment
 */
export function checkEndpoint(where: string, value: unknown): string {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
  const secure = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname))
  if (url === undefined || !secure || url.username !== '' || url.password !== '' || url.hash !== '') {
    throw new TypeError(`${where} must be an https URL (http only on loopback), got ${JSON.stringify(value)}`)
  }
  return value as string
}

/**
 * GETs a JSON document.
 * @throws Error on anything but a 200 with JSON of at most 1 MiB within the time
 */
export async function fetchJson(url: string, policy: FetchPolicy, stop: AbortSignal): Promise<unknown> {
  const abort = new AbortController()
  const timer = policy.clock.setTimeout(
    () => abort.abort(new Error(`no answer within ${policy.timeoutMs} ms`)),
    policy.timeoutMs
  )
  const onStop = () => abort.abort(stop.reason)
  stop.addEventListener('abort', onStop)
  // An application's own `fetch` may not heed the signal.
  const aborted = new Promise<never>((_, reject) => {
    abort.signal.addEventListener('abort', () => reject(abort.signal.reason))
  })
  try {
    return await Promise.race([getJson(url, policy.fetch, abort.signal), aborted])
  } catch (error) {
    const cause = abort.signal.aborted ? abort.signal.reason : error
    throw new Error(`GET ${url}: ${messageOf(cause)}`, { cause })
  } finally {
    policy.clock.clearTimeout(timer)
    stop.removeEventListener('abort', onStop)
  }
}

async function getJson(url: string, fetch: Fetch, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, {
    headers: { accept: 'application/json, application/jwk-set+json' },
    redirect: 'manual',
    signal
  })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`status ${response.status}`)
  }
  return JSON.parse(await boundedText(response))
}

/** `fetch` says only `fetch failed`; why is in its cause. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${messageOf(error.cause)}` : error.message
}

/** @throws Error beyond 1 MiB, and on what is no UTF-8 */
export async function boundedText(response: Response): Promise<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let text = ''
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new Error(`more than ${maxBytes} bytes`)
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname)
}
