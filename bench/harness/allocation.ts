/** Bytes that a server allocates for a request: the heap's growth while no garbage is collected. */
import type { Setting } from '../servers/serve.ts'
import { BenchServer } from './bench-server.ts'
import { RawClient } from './raw-client.ts'

/** Enough for the optimizing compiler to be done. */
const warmUp = 10_000
const requests = 2_000
const attempts = 3
/** On a busy machine a collection may fall into any attempt. */
const mostAttempts = 30

/**
 * The least of several attempts, since the event loop and timers allocate too. A young generation of 64 MiB holds them all.
 * @returns bytes a request, of JavaScript's heap
 */
export async function bytesARequest(file: string, setting: Setting, token: string): Promise<number> {
  const server = await BenchServer.start({
    file,
    setting,
    // The memory reducer collects what lies about for some seconds, which 2 000 requests may take on a busy machine.
    nodeOptions: ['--min-semi-space-size=64', '--max-semi-space-size=64', '--no-memory-reducer']
  })
  const client = await RawClient.connect(server.port, token)
  try {
    await client.send(warmUp)
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < attempts || (!Number.isFinite(least) && i < mostAttempts); i++) {
      const before = await server.collected()
      await client.send(requests)
      const after = await server.settled()
      if (after.collections === before.collections)
        least = Math.min(least, (after.heapBytes - before.heapBytes) / requests)
    }
    if (!Number.isFinite(least)) throw new Error('garbage was collected in every attempt')
    return least
  } finally {
    client.close()
    await server.stop()
  }
}
