/** The whole gate end to end: CPU a request above a bare server, beside the stacks that teams use today. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compare, type Load, type ServerUnderLoad } from './harness/end-to-end.ts'
import { identityProvider } from './harness/identity-provider.ts'
import type { Suite } from './suite.ts'

const servers: ServerUnderLoad[] = [
  { name: 'bare', file: 'bare' },
  { name: 'gate: exchange alone', file: 'gate', stages: [] },
  { name: 'gate: + auth', file: 'gate', stages: ['auth'] },
  { name: 'gate: + rate limit', file: 'gate', stages: ['auth', 'rateLimit'] },
  { name: 'gate: + metrics', file: 'gate', stages: ['auth', 'rateLimit', 'metrics'] },
  { name: 'gate: + audit', file: 'gate', stages: ['auth', 'rateLimit', 'metrics', 'audit'] },
  { name: 'gate: all, + usage', file: 'gate', stages: ['auth', 'rateLimit', 'metrics', 'audit', 'usage'] },
  { name: 'connect, five middlewares', file: 'connect-stack' },
  { name: 'Express 5, five middlewares', file: 'express-stack' },
  { name: 'Fastify and its plugins', file: 'fastify-stack' }
]

const loads: Load[] = [
  { name: '64 connections, 1 token', connections: 64, pipelining: 1, tokens: 1 },
  { name: '64 connections, 10 000 tokens', connections: 64, pipelining: 1, tokens: 10_000 },
  { name: '1 connection, 1 token', connections: 1, pipelining: 1, tokens: 1 },
  { name: '64 connections, pipelined by 8, 1 token', connections: 64, pipelining: 8, tokens: 1 }
]

const fullPace = { rounds: 5, seconds: 1 }
const quickPace = { rounds: 2, seconds: 1 }

export const suite: Suite = {
  name: 'gate',
  async *endToEnd({ quick }) {
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    try {
      const { setting, sign } = await identityProvider(folder)
      for (const load of quick ? loads.slice(0, 1) : loads) {
        const tokens = await Promise.all(Array.from({ length: load.tokens }, (_, i) => sign(i)))
        yield {
          name: load.name,
          servers: await compare(servers, load, tokens, setting, quick ? quickPace : fullPace)
        }
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}
