/** The whole gate end to end: CPU a request above a bare server, beside the stacks that teams use today. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import autocannon from 'autocannon'
import { exportJWK, exportPKCS8, exportSPKI, generateKeyPair, SignJWT } from 'jose'
import type { Setting, Used } from './servers/serve.ts'
import type { EndToEndResult, Suite } from './suite.ts'

const issuer = 'http://127.0.0.1/issuer/'
const audience = 'orders-api'

const servers: { name: string; file: string; stages?: string[] }[] = [
  { name: 'bare', file: 'bare' },
  { name: 'gate: exchange alone', file: 'gate', stages: [] },
  { name: 'gate: + auth', file: 'gate', stages: ['auth'] },
  { name: 'gate: + rate limit', file: 'gate', stages: ['auth', 'rateLimit'] },
  { name: 'gate: + metrics', file: 'gate', stages: ['auth', 'rateLimit', 'metrics'] },
  { name: 'gate: + audit', file: 'gate', stages: ['auth', 'rateLimit', 'metrics', 'audit'] },
  { name: 'gate: all, + usage', file: 'gate', stages: ['auth', 'rateLimit', 'metrics', 'audit', 'usage'] },
  { name: 'connect, five middlewares', file: 'connect-stack' },
  { name: 'Express 5, five middlewares', file: 'express-stack' },
  { name: 'Fastify and its plugins', file: 'fastify-stack' }
]

interface Load {
  name: string
  connections: number
  pipelining: number
  tokens: number
}

const loads: Load[] = [
  { name: '64 connections, 1 token', connections: 64, pipelining: 1, tokens: 1 },
  { name: '64 connections, 10 000 tokens', connections: 64, pipelining: 1, tokens: 10_000 },
  { name: '1 connection, 1 token', connections: 1, pipelining: 1, tokens: 1 },
  { name: '64 connections, pipelined by 8, 1 token', connections: 64, pipelining: 8, tokens: 1 }
]

export const suite: Suite = {
  name: 'gate',
  async *endToEnd({ quick }) {
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    try {
      const { setting, sign } = await identityProvider(folder)
      for (const load of quick ? loads.slice(0, 1) : loads) {
        const tokens = await Promise.all(Array.from({ length: load.tokens }, (_, i) => sign(i)))
        yield { name: load.name, servers: await compare(load, tokens, setting, quick ? 2 : 5, quick ? 2 : 4) }
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}

async function identityProvider(
  folder: string
): Promise<{ setting: Setting; sign: (i: number) => Promise<string> }> {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true })
  const jwk = { ...(await exportJWK(publicKey)), kid: 'bench', alg: 'RS256', use: 'sig' }
  const setting = {
    issuer,
    audience,
    jwks: { keys: [jwk] },
    publicKey: await exportSPKI(publicKey),
    privateKey: await exportPKCS8(privateKey),
    folder,
    stages: []
  }
  const sign = (i: number): Promise<string> =>
    new SignJWT({
      scope: 'orders:read orders:write',
      email: `person-${i}@example.com`,
      token_use: 'api',
      sid: 's'
    })
      .setProtectedHeader({ alg: 'RS256', kid: 'bench', typ: 'at+jwt' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(`person-${i}`)
      .setJti(`token-${i}`)
      .setIssuedAt()
      .setExpirationTime('2h')
      .sign(privateKey)
  return { setting, sign }
}

/** Every server gets its slice in every round, so that what the machine does meanwhile hits all of them. */
async function compare(
  load: Load,
  tokens: string[],
  setting: Setting,
  rounds: number,
  seconds: number
): Promise<EndToEndResult['servers']> {
  const running = await Promise.all(
    servers.map(({ name, file, stages }) => start(name, file, { ...setting, stages: stages ?? [] }))
  )
  const slices: Slice[][] = running.map(() => [])
  try {
    for (const { port } of running) await fire(port, load, tokens, 1)
    for (let round = 0; round < rounds; round++) {
      for (const [i, { child, port }] of running.entries())
        slices[i].push(await slice(child, port, load, tokens, seconds))
    }
    return await Promise.all(
      running.map(async ({ name, child }, i) => ({
        name,
        ...summary(slices[i]),
        heapBytes: (await ask(child, 'collect')).heapBytes
      }))
    )
  } finally {
    for (const { child } of running) child.disconnect()
  }
}

async function start(
  name: string,
  file: string,
  setting: Setting
): Promise<{ name: string; child: ChildProcess; port: number }> {
  const folder = join(setting.folder, `${name}-${process.hrtime.bigint()}`)
  mkdirSync(folder)
  const path = join(folder, 'setting.json')
  writeFileSync(path, JSON.stringify({ ...setting, folder }))
  const child = fork(fileURLToPath(new URL(`servers/${file}.ts`, import.meta.url)), [path], {
    execArgv: ['--expose-gc', '--import', 'tsx'],
    env: { ...process.env, NODE_ENV: 'production' }
  })
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  return { name, child, port }
}

interface Slice {
  cpuMicros: number
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  p999Ms: number
  latency: (readonly [share: number, ms: number])[]
}

async function slice(
  child: ChildProcess,
  port: number,
  load: Load,
  tokens: string[],
  seconds: number
): Promise<Slice> {
  const before = await ask(child, 'used')
  const result = await fire(port, load, tokens, seconds)
  const after = await ask(child, 'used')
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${result.non2xx} refusals and ${result.errors} errors under load`)
  return {
    cpuMicros: (after.cpuMicros - before.cpuMicros) / result.requests.total,
    requestsPerSecond: result.requests.average,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
    p999Ms: result.latency.p99_9,
    latency: percentiles.map(([share, name]) => [share, result.latency[name]] as const)
  }
}

const percentiles = [
  [0.5, 'p50'],
  [0.75, 'p75'],
  [0.9, 'p90'],
  [0.975, 'p97_5'],
  [0.99, 'p99'],
  [0.999, 'p99_9'],
  [0.9999, 'p99_99'],
  [0.99999, 'p99_999']
] as const

function fire(port: number, load: Load, tokens: string[], seconds: number): Promise<autocannon.Result> {
  return autocannon({
    url: `http://127.0.0.1:${port}/`,
    connections: load.connections,
    pipelining: load.pipelining,
    duration: seconds,
    requests: tokens.map(token => ({
      method: 'GET',
      path: '/',
      headers: { authorization: `Bearer ${token}` }
    }))
  })
}

async function ask(child: ChildProcess, question: 'used' | 'collect'): Promise<Used> {
  child.send(question)
  const [used] = (await once(child, 'message')) as [Used]
  return used
}

function summary(slices: Slice[]): Slice {
  const median = (of: (slice: Slice) => number): number =>
    slices.map(of).sort((a, b) => a - b)[slices.length >> 1]
  return {
    cpuMicros: median(({ cpuMicros }) => cpuMicros),
    requestsPerSecond: median(({ requestsPerSecond }) => requestsPerSecond),
    p50Ms: median(({ p50Ms }) => p50Ms),
    p99Ms: median(({ p99Ms }) => p99Ms),
    p999Ms: median(({ p999Ms }) => p999Ms),
    latency: percentiles.map(([share], i) => [share, median(({ latency }) => latency[i][1])] as const)
  }
}
