/** The whole gate at full load for ten minutes: heap and latency over time. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BenchServer } from './harness/bench-server.ts'
import { identityProvider } from './harness/identity-provider.ts'
import { fire, latencyAt } from './harness/load.ts'
import type { Moment, Suite } from './suite.ts'

const load = { name: '64 connections', connections: 64, pipelining: 1, tokens: 1_000 }

export const suite: Suite = {
  async *timelines({ quick }) {
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    try {
      const { setting, sign } = await identityProvider(folder)
      const tokens = await Promise.all(Array.from({ length: load.tokens }, (_, i) => sign(i)))
      const stages = ['auth', 'rateLimit', 'metrics', 'audit', 'usage', 'soak']
      const server = await BenchServer.start({ file: 'gate', setting: { ...setting, stages } })
      try {
        const moments = await soak(server, tokens, quick ? 4 : 600, quick ? 2 : 10)
        yield { name: 'the whole gate at full load', moments }
      } finally {
        await server.stop()
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}

/** @param every seconds of load between two looks at the heap, each after a garbage collection */
async function soak(
  server: BenchServer,
  tokens: string[],
  seconds: number,
  every: number
): Promise<Moment[]> {
  const moments: Moment[] = []
  const startedAt = performance.now()
  let requests = 0
  let before = await server.collected()
  while (performance.now() - startedAt < seconds * 1_000) {
    const seen = await fire(server.port, load, tokens, every)
    const after = await server.collected()
    requests += seen.requests
    moments.push({
      seconds: Math.round((performance.now() - startedAt) / 1_000),
      requests,
      cpuMicros: (after.cpuMicros - before.cpuMicros) / seen.requests,
      heapBytes: after.heapBytes,
      rssBytes: after.rssBytes,
      p50Ms: latencyAt(seen, 0.5),
      p99Ms: latencyAt(seen, 0.99)
    })
    before = after
  }
  return moments
}
