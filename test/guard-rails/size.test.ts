/** What the main entry weighs, as a bundler would ship it: the library's own code, without its dependencies. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** KiB of minified code that an import of `names` brings along. */
async function kibibytesOf(names: string): Promise<number> {
  const { metafile } = await build({
    stdin: {
      contents: `export ${names} from './lib/index.ts'`,
      resolveDir: fileURLToPath(new URL('../..', import.meta.url)),
      loader: 'ts'
    },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
    write: false,
    metafile: true
  })
  return Object.values(metafile.outputs)[0].bytes / 1_024
}

// The goal is 60 KiB for everything. These bounds keep what is there from growing unnoticed.
const bounds: [names: string, most: number][] = [
  ['*', 280],
  ['{ ostiary }', 230],
  ['{ authenticate }', 100],
  ['{ rateLimit }', 50],
  ['{ RateLimiter }', 16],
  ['{ metrics }', 60],
  ['{ audit }', 32],
  ['{ Histogram }', 22]
]
for (const [names, most] of bounds) {
  test(`export ${names} is at most ${most} KiB`, async t => {
    const kibibytes = await kibibytesOf(names)
    t.diagnostic(`${kibibytes.toFixed(1)} KiB`)
    assert.ok(kibibytes <= most, `${kibibytes.toFixed(1)} KiB`)
  })
}
