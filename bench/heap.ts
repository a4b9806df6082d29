/** What stays on a server's heap after a million requests. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BenchServer } from './harness/bench-server.ts'
import type { ServerUnderLoad } from './harness/end-to-end.ts'
import { identityProvider } from './harness/identity-provider.ts'
import { fire } from './harness/load.ts'
import { counted } from './harness/units.ts'
import type { Setting } from './servers/serve.ts'
import { servers, stack, whole } from './servers/servers.ts'
import type { Suite } from './suite.ts'

// The gate's stages one by one keep what the whole gate keeps, and to Express a million requests are many minutes.
const compared = servers.filter(({ name, file }) => !name.startsWith('gate: +') && file !== 'express-stack')
const quickCompared = compared.filter(({ name }) => ['bare', whole, stack].includes(name))

const load = { name: '64 connections', connections: 64, pipelining: 1, tokens: 1_000 }

export const suite: Suite = {
  async *figures({ quick }) {
    const requests = quick ? 10_000 : 1_000_000
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    try {
      const { setting, sign } = await identityProvider(folder)
      const tokens = await Promise.all(Array.from({ length: load.tokens }, (_, i) => sign(i)))
      const chosen = quick ? quickCompared : compared
      const megabytes: number[] = []
      const left = chosen.entries()
      const measureNext = async (): Promise<void> => {
        for (const [i, server] of left) megabytes[i] = await heapAfter(server, setting, tokens, requests)
      }
      // Two at a time: what stays on a heap is no matter of time.
      await Promise.all([measureNext(), measureNext()])
      const figures = chosen.map(({ name }, i) => ({ name, value: megabytes[i] }))
      yield { name: `heap after ${counted(requests, 'request')}`, unit: 'MB', figures }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}

/** @returns MB, after a garbage collection */
async function heapAfter(
  { file, stages = [] }: ServerUnderLoad,
  setting: Setting,
  tokens: readonly string[],
  requests: number
): Promise<number> {
  const server = await BenchServer.start({ file, setting: { ...setting, stages } })
  try {
    for (let served = 0; served < requests; ) {
      served += (await fire(server.port, load, tokens, requests < 100_000 ? 1 : 5)).requests
    }
    return (await server.collected()).heapBytes / 1e6
  } finally {
    await server.stop()
  }
}
