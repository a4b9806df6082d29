/** Limits: the default, per user, by hand, light and heavy endpoints, what the headers say, and an administrator's reset. */
import {
  authenticate,
  pipeline,
  RateLimiter,
  type RequestHandler,
  rateLimit,
  requireScopes
} from '../lib/index.ts'
import { LocalIssuer } from './local-issuer.ts'
import { serve } from './show.ts'

const issuer = await LocalIssuer.start({ audience: 'orders-api' })
const authenticated = authenticate({ issuer: issuer.url, audience: 'orders-api', optional: true })

const byHand = new RateLimiter({ maxRequests: 2, windowSeconds: 60 })
const units = new RateLimiter({ maxRequests: 10, windowSeconds: 60 })
const perUser = new RateLimiter({ maxRequests: 2, windowSeconds: 60 })

const routes: Record<string, RequestHandler> = {
  // By verified user or client; before authentication by address.
  '/default': rateLimit({ maxRequests: 2, windowSeconds: 60 }).wrap((_req, res) => res.end('default')),
  '/per-user': rateLimit({
    limiter: perUser,
    identifier: req => `user:${req.user?.id ?? 'anonymous'}`
  }).wrap((_req, res) => res.end('per user')),
  '/by-hand': (_req, res) => {
    if (!byHand.isAllowed('report')) res.writeHead(429).end('come back later')
    else res.end(`${byHand.getRemaining('report')} left`)
  },
  // One budget of ten units: a light request costs one, a heavy one five.
  '/light': weighted(1),
  '/heavy': weighted(5),
  '/admin/reset': pipeline(requireScopes('admin')).wrap((_req, res) => {
    perUser.reset('user:jane')
    res.end('jane may ask again')
  })
}
const api = await serve(
  authenticated.wrap((req, res) => (routes[req.url!] ?? (() => res.writeHead(404).end()))(req, res)),
  ['ratelimit-policy', 'ratelimit', 'x-ratelimit-remaining', 'retry-after']
)

const jane = await issuer.issue({ sub: 'jane', sid: 's-1' })
const admin = await issuer.issue({ sub: 'root', sid: 's-2', scope: 'admin' })
for (const path of ['/default', '/by-hand']) for (let i = 0; i < 3; i++) await api.show(path)
for (let i = 0; i < 3; i++) await api.show('/per-user', jane)
await api.show('/per-user', admin)
await api.show('/admin/reset', admin)
await api.show('/per-user', jane)
for (const path of ['/heavy', '/light', '/heavy', '/light']) await api.show(path, jane)
api.close()
authenticated.verifier.close()
await issuer.close()

function weighted(cost: number): RequestHandler {
  return rateLimit({ limiter: units, cost, name: 'units' }).wrap((_req, res) => res.end(`cost ${cost}`))
}
