/** Puts servers, each in processes of its own, under one load. */
import type { Setting } from '../servers/serve.ts'
import type { EndToEndResult, Traffic } from '../suite.ts'
import { BenchServer } from './bench-server.ts'
import { fire, type Load, latencyAt } from './load.ts'

export interface ServerUnderLoad {
  name: string
  /** A file of bench/servers, without its ending. */
  file: string
  stages?: string[]
}

export interface Pace {
  /** How often every server is started anew: one process differs from the next by a tenth, for as long as it lives. */
  processes: number
  /** Slices that each process gets. */
  rounds: number
}

/** What the servers of a comparison are put under. */
export interface Driver {
  warmUp(server: BenchServer): Promise<void>
  slice(server: BenchServer): Promise<Slice>
}

export interface Slice {
  /** µs a request. */
  cpuMicros: number
  traffic?: Traffic
}

/** Every server gets its slice in every round, so that what the machine does meanwhile hits all of them. */
export async function compare(
  servers: readonly ServerUnderLoad[],
  driver: Driver,
  setting: Setting,
  { processes, rounds }: Pace
): Promise<EndToEndResult['servers']> {
  const slices: Slice[][] = servers.map(() => [])
  let heaps: number[] = []
  for (let n = 0; n < processes; n++) {
    const running = await Promise.all(
      servers.map(({ file, stages = [] }) => BenchServer.start({ file, setting: { ...setting, stages } }))
    )
    try {
      for (const server of running) await driver.warmUp(server)
      for (let round = 0; round < rounds; round++) {
        for (let turn = 0; turn < running.length; turn++) {
          // Nobody is always the first.
          const i = (turn + n + round) % running.length
          slices[i].push(await driver.slice(running[i]))
        }
      }
      heaps = await Promise.all(running.map(async server => (await server.collected()).heapBytes))
    } finally {
      await Promise.all(running.map(server => server.stop()))
    }
  }
  return servers.map(({ name }, i) => ({ name, ...summary(slices[i]), heapBytes: heaps[i] }))
}

/** Requests over loopback, from another process. Both times in whole seconds. */
export function overSockets(
  load: Load,
  tokens: readonly string[],
  { warmUp, slice }: { warmUp: number; slice: number }
): Driver {
  return {
    async warmUp({ port }) {
      await fire(port, load, tokens, warmUp)
    },
    async slice(server) {
      const before = await server.used()
      const seen = await fire(server.port, load, tokens, slice)
      const after = await server.used()
      return {
        cpuMicros: (after.cpuMicros - before.cpuMicros) / seen.requests,
        traffic: {
          requestsPerSecond: seen.requests / seen.seconds,
          p50Ms: latencyAt(seen, 0.5),
          p99Ms: latencyAt(seen, 0.99),
          p999Ms: latencyAt(seen, 0.999),
          latency: seen.latency
        }
      }
    }
  }
}

function summary(slices: Slice[]): Pick<EndToEndResult['servers'][number], 'cpuMicros' | 'traffic'> {
  const sorted = slices.map(({ cpuMicros }) => cpuMicros).toSorted(ascending)
  const traffic = slices.flatMap(({ traffic }) => traffic ?? [])
  return {
    // What else the machine does can only add to it.
    cpuMicros: sorted[sorted.length >> 2],
    ...(traffic.length > 0 && { traffic: medianTraffic(traffic) })
  }
}

function medianTraffic(slices: Traffic[]): Traffic {
  const median = (of: (slice: Traffic) => number): number =>
    slices.map(of).toSorted(ascending)[slices.length >> 1]
  return {
    requestsPerSecond: median(({ requestsPerSecond }) => requestsPerSecond),
    p50Ms: median(({ p50Ms }) => p50Ms),
    p99Ms: median(({ p99Ms }) => p99Ms),
    p999Ms: median(({ p999Ms }) => p999Ms),
    latency: slices[0].latency.map(([share], at) => [share, median(({ latency }) => latency[at][1])] as const)
  }
}

function ascending(a: number, b: number): number {
  return a - b
}
