/** What each stage of the gate costs without a kernel: Node's whole HTTP server, on a socket whose bytes go nowhere. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import connect from 'connect'
import { type GateOptions, ostiary } from '../lib/index.ts'
import { identityProvider } from './harness/identity-provider.ts'
import { MemorySocket } from './harness/memory-socket.ts'
import { fiveMiddlewares } from './servers/five-middlewares.ts'
import type { Setting } from './servers/serve.ts'
import type { Contender, Row, Suite } from './suite.ts'

const batch = 100

const answer: RequestListener = (_req, res) => {
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.end('{"hello":"world"}')
}

export const suite: Suite = {
  async *rows() {
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    const { setting, sign } = await identityProvider(folder)
    const token = await sign(1)
    const closing: (() => Promise<void>)[] = []
    const gate = async (name: string, stages: readonly (keyof GateOptions)[]): Promise<Contender> => {
      const own = join(folder, name.replaceAll(/\W+/g, '-'))
      mkdirSync(own)
      const gate = ostiary(optionsOf(setting, own, stages))
      await gate.ready()
      closing.push(() => gate.close())
      return withoutKernel(name, gate.wrap(answer) as RequestListener, token)
    }
    const app = connect()
    for (const middleware of fiveMiddlewares({ ...setting, folder })) app.use(middleware)
    app.use(answer)
    const contenders = [
      await gate('gate: all, + usage', ['auth', 'rateLimit', 'metrics', 'audit', 'usage']),
      withoutKernel('bare', answer, token),
      await gate('gate: exchange alone', []),
      await gate('gate: + auth', ['auth']),
      await gate('gate: + rate limit', ['auth', 'rateLimit']),
      await gate('gate: + metrics', ['auth', 'rateLimit', 'metrics']),
      await gate('gate: + audit', ['auth', 'rateLimit', 'metrics', 'audit']),
      withoutKernel('connect, five middlewares', app as RequestListener, token)
    ]
    yield {
      name: 'a request without a kernel',
      contenders: contenders as Row['contenders'],
      async close() {
        for (const close of closing) await close()
        rmSync(folder, { recursive: true })
      }
    }
  }
}

function optionsOf(
  { issuer, audience, jwks }: Setting,
  folder: string,
  stages: readonly (keyof GateOptions)[]
): GateOptions {
  const options = {
    auth: { issuer, audience, jwks },
    rateLimit: { maxRequests: 1_000_000, windowSeconds: 1 },
    audit: { path: join(folder, 'audit.jsonl') },
    usage: { sqlite: join(folder, 'usage.db') },
    metrics: true
  } satisfies GateOptions
  return Object.fromEntries(
    Object.entries(options).filter(([stage]) => stages.includes(stage as keyof GateOptions))
  )
}

function withoutKernel(name: string, handler: RequestListener, token: string): Contender {
  const socket = new MemorySocket(
    `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench/1.0\r\nAuthorization: Bearer ${token}\r\n\r\n`
  )
  createServer(handler).emit('connection', socket)
  return {
    name,
    operations: batch,
    async run() {
      await socket.send(batch)
    }
  }
}
