/** The demo: a local identity provider and an API behind the gate, with its audit log and usage rows on disk. */
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  exchangeOf,
  ostiary,
  pipeline,
  type RequestHandler,
  rateLimit,
  requireHuman,
  requireM2M,
  requireScopes
} from '../../lib/index.ts'
import { LocalIssuer } from '../local-issuer.ts'
import { snakeCased } from '../show.ts'

export const audience = 'orders-api'
export const machine = { id: 'nightly-billing', secret: 'machine-secret' }
export const person = { username: 'jane', password: 'demo' }
/** An API token that a person made for scripts: what the usage log records. */
export const apiClient = { id: 'jane-laptop', secret: 'api-secret' }

export interface Demo {
  url: string
  issuer: LocalIssuer
  auditPath: string
  usagePath: string
  /** Writes out what audit and usage still hold. */
  flush(): Promise<void>
  close(): Promise<void>
}

/** @param ports where to listen; 0 picks a free port */
export async function startDemo(ports: { api: number; issuer: number }): Promise<Demo> {
  const issuer = await LocalIssuer.start({
    port: ports.issuer,
    audience,
    algorithms: ['RS256', 'EdDSA'],
    clients: [
      { ...machine, scopes: ['orders:read', 'orders:write'], claims: { gty: 'client-credentials' } },
      {
        ...apiClient,
        scopes: ['orders:read'],
        claims: { sub: 'jane', email: 'jane@example.com', token_use: 'api' }
      }
    ],
    people: [{ ...person, scopes: ['orders:read'], claims: { name: 'Jane Doe', email: 'jane@example.com' } }]
  })
  const folder = mkdtempSync(join(tmpdir(), 'ostiary-demo-'))
  const auditPath = join(folder, 'audit.jsonl')
  const usagePath = join(folder, 'usage.db')

  const gate = ostiary({
    auth: { issuer: issuer.url, audience },
    rateLimit: { maxRequests: 100, windowSeconds: 60 },
    audit: { path: auditPath },
    usage: { sqlite: usagePath },
    metrics: true
  })

  const routes: Record<string, RequestHandler> = {
    '/': (_req, res) =>
      json(res, { try: ['/whoami', '/machines', '/people', '/orders', '/limited', '/usage', '/metrics'] }),
    '/whoami': (req, res) => {
      const { id, name, email, kind, clientId, scopes } = req.user!
      json(res, { id, name, email, kind, clientId, scopes })
    },
    '/machines': requireM2M().wrap((req, res) => json(res, { machine: req.user?.clientId })),
    '/people': requireHuman().wrap((req, res) => json(res, { person: req.user?.name })),
    '/orders': requireScopes('orders:write').wrap((_req, res) => json(res, { written: true })),
    '/limited': pipeline(rateLimit({ name: 'demo', maxRequests: 3, windowSeconds: 10 })).wrap((_req, res) =>
      json(res, { passed: true })
    ),
    '/usage': async (req, res) =>
      json(res, snakeCased(await gate.usage!.getTokenUsageStats(req.user?.email ?? ''))),
    '/metrics': gate.metrics,
    '/health': (_req, res) => json(res, { status: 'up' })
  }
  const server = createServer(gate.wrap((req, res) => (routes[exchangeOf(req).path] ?? notFound)(req, res)))
  server.listen(ports.api, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    issuer,
    auditPath,
    usagePath,
    flush: () => gate.flush(),
    async close() {
      server.close()
      server.closeAllConnections()
      await gate.close()
      await issuer.close()
    }
  }
}

function json(res: ServerResponse, body: unknown): void {
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.end(`${JSON.stringify(body)}\n`)
}

function notFound(_req: IncomingMessage, res: ServerResponse): void {
  res.writeHead(404, { 'Content-Type': 'application/json' })
  res.end('{"error":"not found"}\n')
}
