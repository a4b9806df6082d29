/** Loads a server from another process: by wrk where it is installed, which takes less of the machine, and by autocannon. */
import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import autocannon from 'autocannon'
import { Histogram } from '../../lib/metrics/histogram/histogram.ts'

export interface Load {
  name: string
  connections: number
  pipelining: number
  /** How many of the tokens are sent, in turn. */
  tokens: number
}

/** What one slice of load saw. */
export interface Seen {
  requests: number
  seconds: number
  /** Percentiles: share of requests below 1, and ms. */
  latency: (readonly [share: number, ms: number])[]
}

const wrk = spawnSync('wrk', ['--version'], { stdio: 'ignore' }).error === undefined

export const driver = wrk ? 'wrk, pipelined by autocannon' : 'autocannon'

/** @throws when an answer was a refusal or none came */
export async function fire(
  port: number,
  load: Load,
  tokens: readonly string[],
  seconds: number
): Promise<Seen> {
  const sent = tokens.slice(0, load.tokens)
  // wrk corrects its latencies as if each request waited for the one before: with pipelining none of them is true.
  const by = wrk && load.pipelining === 1 ? byWrk : byAutocannon
  const { refused, errors, ...seen } = await by(port, load, sent, seconds)
  if (refused > 0 || errors > 0) throw new Error(`${refused} refusals and ${errors} errors under load`)
  return seen
}

/** @returns ms, or NaN for a share that was not asked for */
export function latencyAt({ latency }: Pick<Seen, 'latency'>, share: number): number {
  return latency.find(([of]) => of === share)?.[1] ?? Number.NaN
}

type Driven = Seen & { refused: number; errors: number }

async function byWrk(port: number, load: Load, tokens: readonly string[], seconds: number): Promise<Driven> {
  const folder = mkdtempSync(join(tmpdir(), 'ostiary-wrk-'))
  try {
    const file = join(folder, 'tokens')
    writeFileSync(file, tokens.join('\n'))
    const script = fileURLToPath(new URL('wrk.lua', import.meta.url))
    const { stdout } = await promisify(execFile)('wrk', [
      ...['--threads', '1', '--connections', String(load.connections)],
      ...['--duration', `${seconds}s`, '--timeout', '60s'],
      ...['--script', script, `http://127.0.0.1:${port}/`, '--', file]
    ])
    return JSON.parse(stdout.slice(stdout.lastIndexOf('{'))) as Driven
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const shares = [0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999]

/** Its own latencies are in whole ms, so they are recorded here. */
async function byAutocannon(
  port: number,
  { connections, pipelining }: Load,
  tokens: readonly string[],
  seconds: number
): Promise<Driven> {
  let clients = 0
  const shareOf = (client: number): autocannon.Request[] =>
    tokens.filter((_, i) => i % connections === client % connections).map(requestWith)
  const latencies = new Histogram({ highest: 60_000_000, significantDigits: 3 })
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const running = autocannon(
      {
        url: `http://127.0.0.1:${port}/`,
        connections,
        pipelining,
        duration: seconds,
        requests: [requestWith(tokens[0])],
        ...(tokens.length > 1 && { setupClient: client => client.setRequests(shareOf(clients++)) })
      },
      (error, result) => (error ? reject(error) : resolve(result))
    )
    running.on('response', (_client, _status, _bytes, ms) => latencies.record(ms * 1_000))
  })
  return {
    requests: result.requests.total,
    seconds: result.duration,
    refused: result.non2xx,
    errors: result.errors,
    latency: shares.map(share => [share, latencies.percentile(share * 100) / 1_000])
  }
}

function requestWith(token: string): autocannon.Request {
  return { method: 'GET', path: '/', headers: { authorization: `Bearer ${token}` } }
}
