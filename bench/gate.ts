/** The whole gate end to end: CPU a request above a bare server, beside the stacks that teams use today. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compare, overSockets, type Pace } from './harness/end-to-end.ts'
import { identityProvider } from './harness/identity-provider.ts'
import type { Load } from './harness/load.ts'
import { servers, stack } from './servers/servers.ts'
import type { Suite } from './suite.ts'

const loads: Load[] = [
  { name: '64 connections, 1 token', connections: 64, pipelining: 1, tokens: 1 },
  { name: '64 connections, 10 000 tokens', connections: 64, pipelining: 1, tokens: 10_000 },
  { name: '1 connection, 1 token', connections: 1, pipelining: 1, tokens: 1 },
  { name: '64 connections, pipelined by 8, 1 token', connections: 64, pipelining: 8, tokens: 1 }
]

const whole = 'gate: all, + usage'
const withoutRecords = 'gate: + metrics'

const targets = [
  { path: 'whole gate, CPU above a bare server', server: whole, beside: stack, share: 1 / 10 },
  { path: 'the same without audit and usage', server: withoutRecords, beside: stack, share: 1 / 20 }
]

/** For quick runs: the steps in between are in the suite `stages`, and Express takes long. */
const quickServers = servers.filter(
  ({ name, file }) => name === whole || name === withoutRecords || !['gate', 'express-stack'].includes(file)
)

const fullPace: Pace = { processes: 3, rounds: 3 }
const quickPace: Pace = { processes: 1, rounds: 2 }
/** Until everything is compiled, and every token was seen. */
const fullTimes = { warmUp: 4, slice: 1 }
const quickTimes = { warmUp: 1, slice: 1 }

export const suite: Suite = {
  async *endToEnd({ quick }) {
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    try {
      const { setting, sign } = await identityProvider(folder)
      for (const [i, load] of (quick ? loads.slice(0, 1) : loads).entries()) {
        const tokens = await Promise.all(Array.from({ length: load.tokens }, (_, i) => sign(i)))
        const driver = overSockets(load, tokens, quick ? quickTimes : fullTimes)
        const compared = await (quick
          ? compare(quickServers, driver, setting, quickPace)
          : compare(servers, driver, setting, fullPace))
        const result = { name: load.name, servers: compared }
        yield i === 0 ? { ...result, targets } : result
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}
