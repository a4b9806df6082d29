/** Puts servers, each in a process of its own, under one load. */
import type { Setting } from '../servers/serve.ts'
import type { EndToEndResult } from '../suite.ts'
import { BenchServer } from './bench-server.ts'
import { fire, type Load, latencyAt } from './load.ts'

export interface ServerUnderLoad {
  name: string
  /** A file of bench/servers, without its ending. */
  file: string
  stages?: string[]
}

export interface Pace {
  rounds: number
  /** Whole seconds that a server gets in each round. */
  seconds: number
}

/** Every server gets its slice in every round, so that what the machine does meanwhile hits all of them. */
export async function compare(
  servers: readonly ServerUnderLoad[],
  load: Load,
  tokens: readonly string[],
  setting: Setting,
  { rounds, seconds }: Pace
): Promise<EndToEndResult['servers']> {
  const running = await Promise.all(
    servers.map(({ file, stages = [] }) => BenchServer.start({ file, setting: { ...setting, stages } }))
  )
  const slices: Slice[][] = running.map(() => [])
  try {
    // Long enough that every token was seen.
    for (const { port } of running) await fire(port, load, tokens, load.tokens > 1_000 ? 4 : 1)
    for (let round = 0; round < rounds; round++) {
      for (const [i, server] of running.entries()) slices[i].push(await slice(server, load, tokens, seconds))
    }
    return await Promise.all(
      running.map(async (server, i) => ({
        name: servers[i].name,
        ...summary(slices[i]),
        heapBytes: (await server.collected()).heapBytes
      }))
    )
  } finally {
    await Promise.all(running.map(server => server.stop()))
  }
}

interface Slice {
  requests: number
  cpuMicros: number
  requestsPerSecond: number
  latency: (readonly [share: number, ms: number])[]
}

async function slice(
  server: BenchServer,
  load: Load,
  tokens: readonly string[],
  sliceSeconds: number
): Promise<Slice> {
  const before = await server.used()
  const { requests, seconds, latency } = await fire(server.port, load, tokens, sliceSeconds)
  const after = await server.used()
  return {
    requests,
    cpuMicros: (after.cpuMicros - before.cpuMicros) / requests,
    requestsPerSecond: requests / seconds,
    latency
  }
}

function summary(slices: Slice[]): Omit<EndToEndResult['servers'][number], 'name' | 'heapBytes'> {
  const sorted = (of: (slice: Slice) => number): number[] => slices.map(of).sort((a, b) => a - b)
  const median = (of: (slice: Slice) => number): number => sorted(of)[slices.length >> 1]
  const latency = slices[0].latency.map(
    ([share], at) => [share, median(({ latency }) => latency[at][1])] as const
  )
  return {
    // What else the machine does can only add to it.
    cpuMicros: sorted(({ cpuMicros }) => cpuMicros)[slices.length >> 2],
    requestsPerSecond: median(({ requestsPerSecond }) => requestsPerSecond),
    p50Ms: latencyAt({ latency }, 0.5),
    p99Ms: latencyAt({ latency }, 0.99),
    p999Ms: latencyAt({ latency }, 0.999),
    latency
  }
}
