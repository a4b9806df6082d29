/** Puts servers, each in a process of its own, under one load. */
import autocannon from 'autocannon'
import { Histogram } from '../../lib/metrics/histogram/histogram.ts'
import type { Setting } from '../servers/serve.ts'
import type { EndToEndResult } from '../suite.ts'
import { BenchServer } from './bench-server.ts'

export interface ServerUnderLoad {
  name: string
  /** A file of bench/servers, without its ending. */
  file: string
  stages?: string[]
}

export interface Load {
  name: string
  connections: number
  pipelining: number
  tokens: number
}

/** Every server gets its slice in every round, so that what the machine does meanwhile hits all of them. */
export async function compare(
  servers: readonly ServerUnderLoad[],
  load: Load,
  tokens: string[],
  setting: Setting,
  { rounds, seconds }: { rounds: number; seconds: number }
): Promise<EndToEndResult['servers']> {
  const running = await Promise.all(
    servers.map(({ file, stages = [] }) => BenchServer.start({ file, setting: { ...setting, stages } }))
  )
  const slices: Slice[][] = running.map(() => [])
  try {
    for (const { port } of running) await fire(port, load, tokens, 1)
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
  cpuMicros: number
  requestsPerSecond: number
  latencies: Histogram
}

async function slice(server: BenchServer, load: Load, tokens: string[], seconds: number): Promise<Slice> {
  const before = await server.used()
  const { result, latencies } = await fire(server.port, load, tokens, seconds)
  const after = await server.used()
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${result.non2xx} refusals and ${result.errors} errors under load`)
  return {
    cpuMicros: (after.cpuMicros - before.cpuMicros) / result.requests.total,
    requestsPerSecond: result.requests.average,
    latencies
  }
}

/** What autocannon itself tells of latencies is in whole ms. */
export async function fire(
  port: number,
  load: Load,
  tokens: string[],
  seconds: number
): Promise<{ result: autocannon.Result; latencies: Histogram }> {
  let clients = 0
  const shareOf = (client: number): autocannon.Request[] =>
    tokens.filter((_, i) => i % load.connections === client % load.connections).map(requestWith)
  const latencies = new Histogram({ highest: 60_000_000, significantDigits: 3 })
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const running = autocannon(
      {
        url: `http://127.0.0.1:${port}/`,
        connections: load.connections,
        pipelining: load.pipelining,
        duration: seconds,
        requests: [requestWith(tokens[0])],
        ...(tokens.length > 1 && { setupClient: client => client.setRequests(shareOf(clients++)) })
      },
      (error, result) => (error ? reject(error) : resolve(result))
    )
    running.on('response', (_client, _status, _bytes, ms) => latencies.record(ms * 1_000))
  })
  return { result, latencies }
}

function requestWith(token: string): autocannon.Request {
  return { method: 'GET', path: '/', headers: { authorization: `Bearer ${token}` } }
}

const shares = [0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999]

function summary(slices: Slice[]): Omit<EndToEndResult['servers'][number], 'name' | 'heapBytes'> {
  const median = (of: (slice: Slice) => number): number =>
    slices.map(of).sort((a, b) => a - b)[slices.length >> 1]
  const ms = (share: number): number => median(({ latencies }) => latencies.percentile(share * 100)) / 1_000
  return {
    cpuMicros: median(({ cpuMicros }) => cpuMicros),
    requestsPerSecond: median(({ requestsPerSecond }) => requestsPerSecond),
    p50Ms: ms(0.5),
    p99Ms: ms(0.99),
    p999Ms: ms(0.999),
    latency: shares.map(share => [share, ms(share)] as const)
  }
}
