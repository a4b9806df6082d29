/** What each stage of the gate costs without a kernel: Node's whole HTTP server, on a socket whose bytes go nowhere. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { withoutKernel } from './harness/driver.ts'
import { compare, type Pace } from './harness/end-to-end.ts'
import { identityProvider } from './harness/identity-provider.ts'
import { servers, stack, whole } from './servers/servers.ts'
import type { Suite } from './suite.ts'

const quickServers = servers.filter(({ name }) => ['bare', whole, stack].includes(name))

const fullPace: Pace = { processes: 2, rounds: 30, looks: 0 }
const quickPace: Pace = { processes: 1, rounds: 5, looks: 0 }

export const suite: Suite = {
  async *endToEnd({ quick }) {
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    try {
      const { setting, sign } = await identityProvider(folder)
      const token = await sign(1)
      yield {
        name: 'without a kernel, 1 token',
        beside: stack,
        servers: await (quick
          ? compare(quickServers, withoutKernel(token, 10_000), setting, quickPace)
          : compare(servers, withoutKernel(token, 20_000), setting, fullPace))
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}
