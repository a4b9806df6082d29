/** Puts servers, each in processes of its own, under one load. */
import { setTimeout } from 'node:timers/promises'
import type { Setting, Used } from '../servers/serve.ts'
import type { EndToEndResult, Traffic } from '../suite.ts'
import { BenchServer } from './bench-server.ts'
import type { Driver, SlicedLoad } from './driver.ts'
import { quantile } from './quantile.ts'
import { shuffledOrder } from './random.ts'

export interface ServerUnderLoad {
  name: string
  /** A file of bench/servers, without its ending. */
  file: string
  stages?: string[]
}

export interface Pace {
  /** How often every server is started: one process differs from the next by a tenth, for as long as it lives. */
  processes: number
  /** Slices of load that each process gets. */
  rounds: number
  /** How often each process is put under whole seconds of load, to see what a client sees. */
  looks: number
}

/**
 * Which slice of a process stands for it. What else the machine does only adds to a slice, so a low one; of 5, 10, 25 and
 * 50 % the one at which the ratio of the gate's overhead to the stack's differed least from run to run.
 */
export const cpuQuantile = 0.25

/**
 * Every server gets its slice in every round, so that what the machine does meanwhile hits all of them.
 * @returns CPU a request: of each process the slice at `cpuQuantile`, and of the processes the mean
 */
export async function compare(
  servers: readonly ServerUnderLoad[],
  driver: Driver,
  setting: Setting,
  { processes, rounds, looks }: Pace
): Promise<EndToEndResult['servers']> {
  const cpu: number[][] = servers.map(() => [])
  const traffic: Traffic[][] = servers.map(() => [])
  const heap: number[][] = servers.map(() => [])
  for (let n = 0; n < processes; n++) {
    const running = await Promise.all(
      servers.map(({ file, stages = [] }) => BenchServer.start({ file, setting: { ...setting, stages } }))
    )
    try {
      for (const server of running) await driver.warmUp(server)
      for (const i of turns(running.length, looks)) traffic[i].push(...(await driver.look(running[i])))
      for (const [i, slices] of (await cpuOfSlices(running, driver, rounds)).entries())
        cpu[i].push(quantile(slices, cpuQuantile))
      for (const [i, server] of running.entries()) heap[i].push((await server.collected()).heapBytes)
    } finally {
      await Promise.all(running.map(server => server.stop()))
    }
  }
  return servers.map(({ name }, i) => ({
    name,
    cpuMicros: mean(cpu[i]),
    heapBytes: mean(heap[i]),
    ...(traffic[i].length > 0 && { traffic: medianTraffic(traffic[i]) })
  }))
}

/**
 * After so many ms it is read what a slice took. What a server still has to write when its load stands still belongs to the
 * slice, though it may wait for a timer; what it does when idle does not.
 */
const settleMs = 300

interface Slice {
  server: number
  before: Used
  settledAt: number
}

/** @returns µs a request, for each server and slice */
async function cpuOfSlices(
  servers: readonly BenchServer[],
  driver: Driver,
  rounds: number
): Promise<number[][]> {
  const cpu: number[][] = servers.map(() => [])
  const loads: SlicedLoad[] = []
  const open: Slice[] = []
  const close = async ({ server, before, settledAt }: Slice): Promise<void> => {
    await setTimeout(Math.max(0, settledAt - performance.now()))
    const after = await servers[server].used()
    const requests = after.requests - before.requests
    // On a busy machine a slice may be over before anything moves.
    if (requests > 0) cpu[server].push((after.cpuMicros - before.cpuMicros) / requests)
  }
  try {
    for (const server of servers) loads.push(await driver.start(server))
    for (const i of turns(servers.length, rounds)) {
      while (open[0]?.settledAt <= performance.now() || open.some(({ server }) => server === i))
        await close(open.shift() as Slice)
      const before = await servers[i].used()
      await loads[i].slice()
      open.push({ server: i, before, settledAt: performance.now() + settleMs })
    }
    for (const slice of open) await close(slice)
    for (const load of loads) await load.end()
    if (cpu.some(({ length }) => length < rounds / 2)) throw new Error('a server got no requests')
    return cpu
  } finally {
    for (const load of loads) load.kill()
  }
}

/** Each server in every round, and not always after the same one. */
function* turns(servers: number, rounds: number): Iterable<number> {
  for (let round = 0; round < rounds; round++) yield* shuffledOrder(servers, round)
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value) / values.length
}

function medianTraffic(looks: readonly Traffic[]): Traffic {
  const median = (of: (look: Traffic) => number): number => quantile(looks.map(of), 0.5)
  return {
    requestsPerSecond: median(({ requestsPerSecond }) => requestsPerSecond),
    p50Ms: median(({ p50Ms }) => p50Ms),
    p99Ms: median(({ p99Ms }) => p99Ms),
    p999Ms: median(({ p999Ms }) => p999Ms),
    latency: looks[0].latency.map(([share], at) => [share, median(({ latency }) => latency[at][1])] as const)
  }
}
