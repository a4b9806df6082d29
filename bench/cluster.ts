/** The gate in two workers of a cluster: a limit in each worker's memory, and one for both on a real redis-server. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { missing } from '../test/support/program.ts'
import { startRedis } from '../test/support/redis-server.ts'
import { overSockets } from './harness/driver.ts'
import { compare, type Pace, type ServerUnderLoad } from './harness/end-to-end.ts'
import { identityProvider } from './harness/identity-provider.ts'
import type { Suite } from './suite.ts'

const servers: ServerUnderLoad[] = [
  { name: 'bare', file: 'cluster-gate', stages: ['bare'] },
  { name: 'gate, limits in memory', file: 'cluster-gate', stages: [] },
  { name: 'gate, limits on Redis', file: 'cluster-gate', stages: ['redis'] },
  { name: 'gate, limits on Redis, leases of 1 000', file: 'cluster-gate', stages: ['redis', 'lease'] }
]

/** For quick runs. */
const quickServers = servers.filter(({ stages }) => stages?.includes('bare') || stages?.includes('lease'))

const fullPace: Pace = { processes: 2, rounds: 50, looks: 2 }
const quickPace: Pace = { processes: 1, rounds: 10, looks: 1 }

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
      const withRedis = { ...setting, redisPort: redis.port }
      yield {
        name: load.name,
        servers: await (quick
          ? compare(quickServers, overSockets(load, tokens, 5_000), withRedis, quickPace)
          : compare(servers, overSockets(load, tokens, 40_000), withRedis, fullPace))
      }
    } finally {
      for (const cleanup of cleanups.reverse()) await cleanup()
    }
  }
}
