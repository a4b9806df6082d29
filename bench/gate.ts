/** The whole gate end to end: CPU a request above a bare server, beside the stacks that teams use today. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import autocannon from 'autocannon'
import { Histogram } from '../lib/metrics/histogram.ts'
import { BenchServer } from './harness/bench-server.ts'
import { identityProvider } from './harness/identity-provider.ts'
import type { Setting } from './servers/serve.ts'
import type { EndToEndResult, Suite } from './suite.ts'

const servers: { name: string; file: string; stages?: string[] }[] = [
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

interface Load {
  name: string
  connections: number
  pipelining: number
  tokens: number
}

const loads: Load[] = [
  { name: '64 connections, 1 token', connections: 64, pipelining: 1, tokens: 1 },
  { name: '64 connections, 10 000 tokens', connections: 64, pipelining: 1, tokens: 10_000 },
  { name: '1 connection, 1 token', connections: 1, pipelining: 1, tokens: 1 },
  { name: '64 connections, pipelined by 8, 1 token', connections: 64, pipelining: 8, tokens: 1 }
]

export const suite: Suite = {
  name: 'gate',
  async *endToEnd({ quick }) {
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    try {
      const { setting, sign } = await identityProvider(folder)
      for (const load of quick ? loads.slice(0, 1) : loads) {
        const tokens = await Promise.all(Array.from({ length: load.tokens }, (_, i) => sign(i)))
        yield { name: load.name, servers: await compare(load, tokens, setting, quick ? 2 : 5, quick ? 2 : 4) }
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}

/** Every server gets its slice in every round, so that what the machine does meanwhile hits all of them. */
async function compare(
  load: Load,
  tokens: string[],
  setting: Setting,
  rounds: number,
  seconds: number
): Promise<EndToEndResult['servers']> {
  const running = await Promise.all(
    servers.map(({ file, stages = [] }) => BenchServer.start({ file, setting: { ...setting, stages } }))
  )
  const slices: Slice[][] = running.map(() => [])
  try {
    for (const { port } of running) await fire(port, load, tokens, 1)
    for (let round = 0; round < rounds; round++) {
      for (const [i, server] of running.entries()) slices[i].push(await slice(server, load, tokens, seconds))
    }
    return await Promise.all(
      running.map(async (server, i) => ({
        name: servers[i].name,
        ...summary(slices[i]),
        heapBytes: (await server.collected()).heapBytes
      }))
    )
  } finally {
    await Promise.all(running.map(server => server.stop()))
  }
}

interface Slice {
  cpuMicros: number
  requestsPerSecond: number
  latencies: Histogram
}

async function slice(server: BenchServer, load: Load, tokens: string[], seconds: number): Promise<Slice> {
  const before = await server.used()
  const { result, latencies } = await fire(server.port, load, tokens, seconds)
  const after = await server.used()
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${result.non2xx} refusals and ${result.errors} errors under load`)
  return {
    cpuMicros: (after.cpuMicros - before.cpuMicros) / result.requests.total,
    requestsPerSecond: result.requests.average,
    latencies
  }
}

/** What autocannon itself tells of latencies is in whole ms. */
async function fire(
  port: number,
  load: Load,
  tokens: string[],
  seconds: number
): Promise<{ result: autocannon.Result; latencies: Histogram }> {
  const latencies = new Histogram({ highest: 60_000_000, significantDigits: 3 })
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const running = autocannon(
      {
        url: `http://127.0.0.1:${port}/`,
        connections: load.connections,
        pipelining: load.pipelining,
        duration: seconds,
        requests: tokens.map(token => ({
          method: 'GET',
          path: '/',
          headers: { authorization: `Bearer ${token}` }
        }))
      },
      (error, result) => (error ? reject(error) : resolve(result))
    )
    running.on('response', (_client, _status, _bytes, ms) => latencies.record(ms * 1_000))
  })
  return { result, latencies }
}

const shares = [0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999]

function summary(slices: Slice[]): Omit<EndToEndResult['servers'][number], 'name' | 'heapBytes'> {
  const median = (of: (slice: Slice) => number): number =>
    slices.map(of).sort((a, b) => a - b)[slices.length >> 1]
  const ms = (share: number): number => median(({ latencies }) => latencies.percentile(share * 100)) / 1_000
  return {
    cpuMicros: median(({ cpuMicros }) => cpuMicros),
    requestsPerSecond: median(({ requestsPerSecond }) => requestsPerSecond),
    p50Ms: ms(0.5),
    p99Ms: ms(0.99),
    p999Ms: ms(0.999),
    latency: shares.map(share => [share, ms(share)] as const)
  }
}
