/** Which releases of the peers were measured. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

const peers = [
  ...['express', 'connect', 'pino', 'pino-http', 'prom-client', 'fast-jwt', 'express-rate-limit', 'fastify'],
  ...['@fastify/jwt', '@fastify/rate-limit', 'rate-limiter-flexible', 'rate-limit-redis', 'hdr-histogram-js'],
  ...['jose', 'libsql', 'ioredis', 'autocannon', 'tinybench']
]

export function versions(): string {
  const redis = /v=(\S+)/.exec(
    spawnSync('redis-server', ['--version'], { encoding: 'utf8' }).stdout ?? ''
  )?.[1]
  return [...peers.map(installed), ...(redis === undefined ? [] : [`Redis ${redis}`])].join(', ')
}

function installed(name: string): string {
  const file = new URL(`../../node_modules/${name}/package.json`, import.meta.url)
  if (!existsSync(file)) return `no ${name}`
  return `${name} ${(JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version}`
}
