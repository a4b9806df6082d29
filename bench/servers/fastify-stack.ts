/** What users pick for speed: Fastify with its own plugins for tokens and limits, pino, and prom-client. */
import { join } from 'node:path'
import fastifyJwt from '@fastify/jwt'
import fastifyRateLimit from '@fastify/rate-limit'
import { fastify } from 'fastify'
import { Histogram, Registry } from 'prom-client'
import { serve, setting } from './serve.ts'

const { issuer, audience, publicKey, privateKey, folder } = setting()
const app = fastify({ logger: { file: join(folder, 'access.jsonl') } })
const duration = new Histogram({
  name: 'http_request_duration_seconds',
  help: 'Duration of requests',
  labelNames: ['method', 'status'],
  registers: [new Registry()]
})
app.addHook('onResponse', (request, reply, done) => {
  duration.observe({ method: request.method, status: reply.statusCode }, reply.elapsedTime / 1_000)
  done()
})
await app.register(fastifyJwt, {
  secret: { public: publicKey, private: privateKey },
  verify: { algorithms: ['RS256'], allowedIss: issuer, allowedAud: audience, cache: 10_000 } as never
})
app.addHook('onRequest', request => request.jwtVerify())
await app.register(fastifyRateLimit, {
  max: 1_000_000,
  timeWindow: 1_000,
  hook: 'preHandler',
  keyGenerator: request => (request.user as { sub: string }).sub
})
app.get('/', () => ({ hello: 'world' }))
await app.ready()
serve(app.server)
