/** A real server behind `authenticate`, with what became of its requests, for tests over a socket. */
import { createServer } from 'node:http'
import { after, type TestContext } from 'node:test'
import { LocalIssuer, type LocalIssuerOptions } from '../../examples/local-issuer.ts'
import { type AuthenticateOptions, authenticate } from '../../lib/auth/authenticate.ts'
import type { Fetch } from '../../lib/auth/keys/endpoint.ts'
import { exchangeOf } from '../../lib/http/exchange.ts'
import { type Middleware, pipeline } from '../../lib/http/pipeline.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { converse, listen } from '../support/server.ts'

const quiet = new Reporter({ onReport() {} })

/** For an identity provider that is there: a process that is held up for some seconds must not take it for one that is not. */
export const patient = { timeoutMs: 600_000 }

export interface Answer {
  status: number
  headers: Record<string, string>
  body: Record<string, unknown>
  /** `exchange.denial.reason`, as audit sees it. */
  reason: string | undefined
  raw: string
}

export interface GuardedServer {
  /** Sends the header lines and reads the answer. */
  ask(lines?: readonly string[] | string, target?: string, method?: string): Promise<Answer>
  /** One bearer token in the usual place. */
  bear(token: string): Promise<Answer>
  verifier: ReturnType<typeof authenticate>['verifier']
  port: number
  /** URLs that the verifier fetched. */
  fetched: string[]
}

/** An identity provider of one test, to rotate and to break. ES256, whose keys are made fast. */
export async function localIssuer(t: TestContext, options: LocalIssuerOptions = {}): Promise<LocalIssuer> {
  const issuer = await LocalIssuer.start({ algorithms: ['ES256'], ...options })
  t.after(() => issuer.close())
  return issuer
}

let shared: Promise<LocalIssuer> | undefined

/** One with keys of all kinds, for all tests of a file that only want tokens. */
export function sharedIssuer(): Promise<LocalIssuer> {
  shared ??= LocalIssuer.start({ algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'] })
  return shared
}

after(async () => {
  await (await shared)?.close()
})

export async function guardedServer(
  t: TestContext,
  options: AuthenticateOptions,
  ...behind: Middleware[]
): Promise<GuardedServer> {
  const fetched: string[] = []
  const spy: Fetch = (url, init) => {
    fetched.push(url)
    return fetch(url, init)
  }
  const gate = authenticate(settled(options, spy))
  t.after(() => gate.verifier.close())
  let reason: string | undefined
  const handler = pipeline(gate, ...behind).wrap((req, res) => {
    const { user, authMethod, tokenId } = exchangeOf(req)
    const body = { id: user?.id, same: user === req.user, kind: user?.kind, authMethod, tokenId }
    res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
  })
  const port = await listen(
    t,
    createServer((req, res) => {
      handler(req, res)
      exchangeOf(req).onEnd(exchange => {
        reason = exchange.denial?.reason
      })
    })
  )
  const ask: GuardedServer['ask'] = async (lines = [], target = '/orders', method = 'GET') => {
    reason = undefined
    const head = [
      `${method} ${target} HTTP/1.1`,
      'Host: x',
      'Connection: close',
      ...[lines].flat().filter(Boolean)
    ]
    const raw = await converse(port, `${head.join('\r\n')}\r\n\r\n`)
    return { ...parse(raw), reason, raw }
  }
  return {
    ask,
    bear: token => ask(`Authorization: Bearer ${token}`),
    verifier: gate.verifier,
    port,
    fetched
  }
}

function settled(options: AuthenticateOptions, fetch: Fetch): AuthenticateOptions {
  if ('verifier' in options) return options
  return { fetch, reporter: quiet, ...('issuer' in options && { jwksCache: patient }), ...options }
}

function parse(raw: string): Omit<Answer, 'reason' | 'raw'> {
  const [head = '', ...rest] = raw.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim()
  }
  const text = rest.join('\r\n\r\n').replace(/^[\da-f]+\r\n|\r\n0\r\n.*$/gs, '')
  let body: Record<string, unknown> = {}
  try {
    body = JSON.parse(text) as Record<string, unknown>
  } catch {
    body = { text }
  }
  return { status: Number(statusLine.split(' ')[1]), headers, body }
}
