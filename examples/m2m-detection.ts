/** Tells machine tokens from people's: endpoints for both, for people, for machines, and one that says who is calling. */
import {
  authenticate,
  M2MTokenDetector,
  pipeline,
  type RequestHandler,
  requireHuman,
  requireM2M,
  requireUser
} from '../lib/index.ts'
import { LocalIssuer } from './local-issuer.ts'
import { serve } from './show.ts'

const issuer = await LocalIssuer.start({ audience: 'orders-api' })
const authenticated = authenticate({ issuer: issuer.url, audience: 'orders-api', optional: true })

const routes: Record<string, RequestHandler> = {
  '/open': pipeline(requireUser()).wrap((req, res) => res.end(`welcome, ${req.user?.kind}`)),
  '/people': pipeline(requireHuman()).wrap((req, res) => res.end(`hello ${req.user?.name}`)),
  '/machines': pipeline(requireM2M()).wrap((req, res) => res.end(`client ${req.user?.clientId}`)),
  '/caller': pipeline(requireUser()).wrap((req, res) => {
    const { kind, clientId, provider, reason } = M2MTokenDetector.explain(req.user!.claims)
    res.end(
      JSON.stringify({
        kind,
        clientId,
        provider,
        reason,
        metadata: M2MTokenDetector.getTokenMetadata(req.user!.claims)
      })
    )
  })
}
const api = await serve(
  authenticated.wrap((req, res) => (routes[req.url!] ?? (() => res.writeHead(404).end()))(req, res))
)

const machine = await issuer.issue({
  sub: 'nightly-billing',
  client_id: 'nightly-billing',
  gty: 'client-credentials'
})
const person = await issuer.issue({
  sub: 'jane',
  client_id: 'web-app',
  sid: 's-1',
  name: 'Jane Doe',
  email: 'jane@example.com'
})
for (const path of Object.keys(routes)) {
  for (const [who, token] of [
    ['nobody', undefined],
    ['machine', machine],
    ['person', person]
  ] as const) {
    process.stdout.write(`${who.padEnd(8)} `)
    await api.show(path, token)
  }
}

// Without a server: what the claims alone say.
console.log(M2MTokenDetector.isM2MToken({ sub: 'a', client_id: 'a', token_use: 'access' }))
api.close()
authenticated.verifier.close()
await issuer.close()
