/** Loads a server from another process: by wrk where it is installed, which takes less of the machine, and by autocannon. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

export interface Load {
  name: string
  connections: number
  pipelining: number
  /** How many of the tokens are sent, in turn. */
  tokens: number
}

/** What a load generator saw. */
export interface Seen {
  requests: number
  seconds: number
  /** Percentiles: share of requests below 1, and ms. */
  latency: (readonly [share: number, ms: number])[]
}

const wrk = spawnSync('wrk', ['--version'], { stdio: 'ignore' }).error === undefined

/** Their names, for a report. */
export const generators = wrk ? 'wrk, pipelined by autocannon' : 'autocannon'

/** @throws when an answer was a refusal or none came */
export async function fire(
  port: number,
  load: Load,
  tokens: readonly string[],
  seconds: number
): Promise<Seen> {
  return await startGenerator(port, load, tokens, seconds).seen
}

export interface Generator {
  child: ChildProcess
  /** Rejects when an answer was a refusal or none came. */
  seen: Promise<Seen>
}

/** @param seconds after which it ends by itself; SIGINT ends it earlier */
export function startGenerator(
  port: number,
  load: Load,
  tokens: readonly string[],
  seconds: number
): Generator {
  const folder = mkdtempSync(join(tmpdir(), 'ostiary-load-'))
  const file = join(folder, 'tokens')
  writeFileSync(file, tokens.slice(0, load.tokens).join('\n'))
  // wrk corrects its latencies as if each request waited for the one before: with pipelining none of them is true.
  const command = wrk && load.pipelining === 1 ? wrkCommand : autocannonCommand
  const [program, ...args] = command(`http://127.0.0.1:${port}/`, load, file, seconds)
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  return { child, seen: seenBy(child).finally(() => rmSync(folder, { recursive: true })) }
}

/** @returns ms, or NaN for a share that was not asked for */
export function latencyAt({ latency }: Pick<Seen, 'latency'>, share: number): number {
  return latency.find(([of]) => of === share)?.[1] ?? Number.NaN
}

function wrkCommand(url: string, { connections }: Load, tokensFile: string, seconds: number): string[] {
  return [
    ...['wrk', '--threads', '1', '--connections', `${connections}`, '--duration', `${seconds}s`],
    // The largest latency that it has room for.
    ...['--timeout', '60s', '--script', beside('wrk.lua'), url, '--', tokensFile]
  ]
}

function autocannonCommand(
  url: string,
  { connections, pipelining }: Load,
  tokensFile: string,
  seconds: number
): string[] {
  return [
    ...[process.execPath, '--import', 'tsx', beside('autocannon.ts'), `--connections=${connections}`],
    ...[`--pipelining=${pipelining}`, `--seconds=${seconds}`, url, tokensFile]
  ]
}

function beside(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url))
}

async function seenBy(child: ChildProcess): Promise<Seen> {
  const [output, [code, signal]] = await Promise.all([
    child.stdout === null ? '' : text(child.stdout),
    once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  ])
  // What it saw is its last word, whatever ends it then.
  const at = output.lastIndexOf('{"requests"')
  if (at === -1) throw new Error(`the load generator ended: ${signal ?? `exit code ${code}`}`)
  const { refused, errors, ...seen } = JSON.parse(output.slice(at)) as Seen & {
    refused: number
    errors: number
  }
  if (refused > 0 || errors > 0) throw new Error(`${refused} refusals and ${errors} errors under load`)
  return seen
}
