/** What the library takes besides time: bytes allocated a request, and bytes to ship. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesARequest } from './harness/allocation.ts'
import { identityProvider } from './harness/identity-provider.ts'
import { minifiedKibibytes } from './harness/minified.ts'
import type { Suite } from './suite.ts'

const all = ['auth', 'rateLimit', 'metrics', 'audit', 'usage']

const servers: [name: string, file: string, stages: string[]][] = [
  ['bare', 'bare', []],
  ['gate: exchange alone', 'gate', []],
  ['gate: + auth', 'gate', ['auth']],
  ['gate: + rate limit', 'gate', ['auth', 'rateLimit']],
  ['gate: + metrics', 'gate', ['auth', 'rateLimit', 'metrics']],
  ['gate: + audit', 'gate', ['auth', 'rateLimit', 'metrics', 'audit']],
  ['gate: all, + usage', 'gate', all],
  ['connect, five middlewares', 'connect-stack', []]
]

const exports: [names: string, most?: number][] = [
  ['*', 60],
  ['{ ostiary }'],
  ['{ authenticate }'],
  ['{ rateLimit }'],
  ['{ RateLimiter }'],
  ['{ metrics }'],
  ['{ audit }'],
  ['{ Histogram }']
]

export const suite: Suite = {
  async *figures({ quick }) {
    const folder = mkdtempSync(join(tmpdir(), 'ostiary-bench-'))
    try {
      const { setting, sign } = await identityProvider(folder)
      const token = await sign(1)
      const allocated: { name: string; value: number }[] = []
      const compared = servers.filter(([, file, stages]) => !quick || file !== 'gate' || stages === all)
      for (const [name, file, stages] of compared)
        allocated.push({ name, value: await bytesARequest(file, { ...setting, stages }, token) })
      yield { name: 'allocated for a request', unit: 'bytes', figures: allocated }
    } finally {
      rmSync(folder, { recursive: true })
    }
    const sizes = exports.map(async ([names, most]) => ({
      name: `export ${names}`,
      value: await minifiedKibibytes(names),
      ...(most !== undefined && { most })
    }))
    yield { name: 'minified, without dependencies', unit: 'KiB', figures: await Promise.all(sizes) }
  }
}
