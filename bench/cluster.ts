/** The gate in two workers of a cluster: a limit in each worker's memory, and one for both on a real redis-server. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { missing } from '../test/support/program.ts'
import { startRedis } from '../test/support/redis-server.ts'
import { compare, overSockets, type ServerUnderLoad } from './harness/end-to-end.ts'
import { identityProvider } from './harness/identity-provider.ts'
import type { Suite } from './suite.ts'

const servers: ServerUnderLoad[] = [
  { name: 'bare', file: 'cluster-gate', stages: ['bare'] },
  { name: 'gate, limits in memory', file: 'cluster-gate', stages: [] },
  { name: 'gate, limits on Redis', file: 'cluster-gate', stages: ['redis'] },
  { name: 'gate, limits on Redis, leases of 1 000', file: 'cluster-gate', stages: ['redis', 'lease'] }
]

/** For quick runs: without a call to Redis for each request. */
const quickServers = servers.filter(({ stages }) => !stages?.includes('redis') || stages.includes('lease'))

export const suite: Suite = {
  async *endToEnd({ quick }) {
    const skipped = missing('redis-server')
    if (skipped !== false) {
      console.log(`skipped: ${skipped}`)
      return
    }
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    const cleanups: (() => Promise<void> | void)[] = [() => rmSync(folder, { recursive: true })]
    try {
      const redis = await startRedis({ after: cleanup => void cleanups.push(cleanup) })
      const { setting, sign } = await identityProvider(folder)
      const load = {
        name: 'a cluster of 2 workers, 64 connections',
        connections: 64,
        pipelining: 1,
        tokens: 100
      }
      const tokens = await Promise.all(Array.from({ length: load.tokens }, (_, i) => sign(i)))
      const driver = overSockets(load, tokens, quick ? { warmUp: 1, slice: 1 } : { warmUp: 3, slice: 2 })
      const pace = { processes: quick ? 1 : 3, rounds: quick ? 1 : 3 }
      yield {
        name: load.name,
        servers: await compare(
          quick ? quickServers : servers,
          driver,
          { ...setting, redisPort: redis.port },
          pace
        )
      }
    } finally {
      for (const cleanup of cleanups.reverse()) await cleanup()
    }
  }
}
