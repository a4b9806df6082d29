/** What each stage of the gate costs without a kernel: Node's whole HTTP server, on a socket whose bytes go nowhere. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compare, type Driver, type Pace } from './harness/end-to-end.ts'
import { identityProvider } from './harness/identity-provider.ts'
import { servers, stack } from './servers/servers.ts'
import type { Suite } from './suite.ts'

const compared = servers.filter(({ name, file }) => name === stack || file === 'bare' || file === 'gate')
const quickCompared = compared.filter(({ stages }) => stages?.length !== 1)

const fullPace: Pace = { processes: 4, rounds: 20 }
const quickPace: Pace = { processes: 1, rounds: 5 }

export const suite: Suite = {
  async *endToEnd({ quick }) {
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    try {
      const { setting, sign } = await identityProvider(folder)
      const token = await sign(1)
      yield {
        name: 'without a kernel, 1 token',
        servers: await (quick
          ? compare(quickCompared, withoutKernel(token, 10_000), setting, quickPace)
          : compare(compared, withoutKernel(token, 60_000), setting, fullPace))
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}

const requestsPerSlice = 2_000

/** @param warmUp requests until everything is compiled */
function withoutKernel(token: string, warmUp: number): Driver {
  const request = `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench/1.0\r\nAuthorization: Bearer ${token}\r\n\r\n`
  return {
    async warmUp(server) {
      await server.answered(warmUp, request)
    },
    async slice(server) {
      const before = await server.used()
      const after = await server.answered(requestsPerSlice, request)
      return { cpuMicros: (after.cpuMicros - before.cpuMicros) / requestsPerSlice }
    }
  }
}
