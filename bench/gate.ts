/** The whole gate end to end: CPU a request above a bare server, beside the stacks that teams use today. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { overSockets } from './harness/driver.ts'
import { compare, type Pace } from './harness/end-to-end.ts'
import { identityProvider } from './harness/identity-provider.ts'
import type { Load } from './harness/load.ts'
import { servers, stack, whole, withoutRecords } from './servers/servers.ts'
import type { Suite } from './suite.ts'

const loads: Load[] = [
  { name: '64 connections, 1 token', connections: 64, pipelining: 1, tokens: 1 },
  { name: '64 connections, 10 000 tokens', connections: 64, pipelining: 1, tokens: 10_000 },
  { name: '1 connection, 1 token', connections: 1, pipelining: 1, tokens: 1 },
  { name: '64 connections, pipelined by 8, 1 token', connections: 64, pipelining: 8, tokens: 1 }
]

const targets = [
  { path: 'whole gate, CPU above a bare server', server: whole, share: 1 / 10 },
  { path: 'the same without audit and usage', server: withoutRecords, share: 1 / 20 }
]

const quickServers = servers.filter(({ name }) => ['bare', whole, withoutRecords, stack].includes(name))

/** The first load is the one that the targets are about. */
const firstPace: Pace = { processes: 2, rounds: 50, looks: 2 }
const fullPace: Pace = { processes: 2, rounds: 15, looks: 1 }
const quickPace: Pace = { processes: 1, rounds: 10, looks: 1 }

/** Requests: until everything is compiled, and every token was seen. */
const warmUp = 15_000
const quickWarmUp = 5_000

export const suite: Suite = {
  async *endToEnd({ quick }) {
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    try {
      const { setting, sign } = await identityProvider(folder)
      for (const [i, load] of (quick ? loads.slice(0, 1) : loads).entries()) {
        const tokens = await Promise.all(Array.from({ length: load.tokens }, (_, i) => sign(i)))
        const compared = await (quick
          ? compare(quickServers, overSockets(load, tokens, quickWarmUp), setting, quickPace)
          : compare(servers, overSockets(load, tokens, warmUp), setting, i === 0 ? firstPace : fullPace))
        const result = { name: load.name, beside: stack, servers: compared }
        yield i === 0 ? { ...result, targets } : result
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}
