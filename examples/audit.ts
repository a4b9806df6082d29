/** The audit log: by middleware, by hand, to a file and to an outside service. */
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AuditLogger, audit, authenticate, pipeline, requireHuman } from '../lib/index.ts'
import { LocalIssuer } from './local-issuer.ts'
import { serve } from './show.ts'

// An outside service that takes events.
const received: string[] = []
const service = await serve(async (req, res) => {
  for await (const chunk of req)
    received.push((JSON.parse(String(chunk)) as { event_type: string }).event_type)
  res.writeHead(204).end()
})

const path = join(await mkdtemp(join(tmpdir(), 'ostiary-audit-')), 'audit.jsonl')
const auditLogger = new AuditLogger({
  path,
  callback: event => fetch(service.url, { method: 'POST', body: JSON.stringify(event) })
})
const issuer = await LocalIssuer.start({ audience: 'orders-api' })
const authenticated = authenticate({ issuer: issuer.url, audience: 'orders-api' })

const api = await serve(
  pipeline(audit({ auditLogger }), authenticated, requireHuman()).wrap((req, res) => {
    if (req.url === '/broken') throw new Error('the handler failed')
    // An event of your own, beside the one for the request.
    auditLogger.log({ eventType: 'order_placed', userId: req.user!.id, order: 4711 })
    res.end('placed')
  })
)

const person = await issuer.issue({ sub: 'jane', sid: 's-1', name: 'Jane Doe' })
const machine = await issuer.issue({ sub: 'cron', client_id: 'cron', gty: 'client-credentials' })
await api.show('/orders', person)
await api.show('/orders')
await api.show('/orders', machine)
await api.show('/broken', person)

// By hand: what no request shows.
auditLogger.logAuthSuccess({ userId: 'jane', isM2M: false, method: 'CLI' })
auditLogger.logAuthFailure({ reason: 'wrong password', ipAddress: '198.51.100.7' })
auditLogger.logAccessDenied({ userId: 'jane', path: '/admin', reason: 'not an administrator' })

api.close()
authenticated.verifier.close()
await auditLogger.close()
console.log(`\n${path}\n${await readFile(path, 'utf8')}`)
console.log(`the outside service received: ${received.join(', ')}`)
service.close()
await issuer.close()
