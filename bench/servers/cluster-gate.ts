/** The same answer from two workers of one cluster, behind the gate with the stages that the setting names, or bare. */
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { Redis } from 'ioredis'
import { type GateOptions, ostiary } from '../../lib/index.ts'
import { RedisRateLimiter } from '../../lib/redis.ts'
import { answerParent, type Question, serve, setting, type Used } from './serve.ts'

const workers = 2

if (cluster.isPrimary) await lead()
else serve(createServer(await listener()))

async function lead(): Promise<void> {
  const forked = Array.from({ length: workers }, () => cluster.fork())
  const ports = await Promise.all(
    forked.map(async worker => (await once(worker, 'message')) as [{ port: number }])
  )
  answerParent(ports[0][0].port, async question => {
    const all = await Promise.all(forked.map(worker => ask(worker, question)))
    const { user, system } = process.cpuUsage()
    const sum = (of: (used: Used) => number): number => all.reduce((total, used) => total + of(used), 0)
    return {
      cpuMicros: user + system + sum(({ cpuMicros }) => cpuMicros),
      requests: sum(({ requests }) => requests),
      heapBytes: sum(({ heapBytes }) => heapBytes),
      rssBytes: sum(({ rssBytes }) => rssBytes),
      collections: sum(({ collections }) => collections)
    }
  })
}

async function ask(worker: Worker, question: Question): Promise<Used> {
  worker.send(question)
  const [used] = (await once(worker, 'message')) as [Used]
  return used
}

async function listener(): Promise<RequestListener> {
  const { issuer, audience, jwks, stages, redisPort } = setting()
  const answer: RequestListener = (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'application/json' })
    res.end('{"hello":"world"}')
  }
  if (stages.includes('bare')) return answer
  const limit = { maxRequests: 1_000_000, windowSeconds: 1 }
  const options: GateOptions = { auth: { issuer, audience, jwks }, metrics: true, rateLimit: limit }
  if (stages.includes('redis')) {
    const client = new Redis(redisPort as number, '127.0.0.1')
    const lease = stages.includes('lease') ? 1_000 : 1
    options.rateLimit = { limiter: new RedisRateLimiter({ client, ...limit, lease, timeoutMs: 1_000 }) }
  }
  const gate = ostiary(options)
  await gate.ready()
  return gate.wrap(answer)
}
