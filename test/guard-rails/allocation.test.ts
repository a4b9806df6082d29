/** What the gate allocates for a request, above a server that does nothing but answer. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { bytesARequest } from '../../bench/harness/allocation.ts'
import { identityProvider } from '../../bench/harness/identity-provider.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

describe('bytes that the gate allocates for a request', async () => {
  const folder = temporaryFolder()
  const { setting, sign } = await identityProvider(folder)
  const token = await sign(1)
  let bare = await bytesARequest('bare', setting, token)

  // Nearly twice what is measured on Node 20 and 24: other versions inline and escape differently. Here one request comes at a
  // time, so that each pays for what ends its turn, some 400 bytes, which on a busy server many share.
  const bounds: [stages: string[], bytes: number][] = [
    [[], 1_800],
    [['auth', 'rateLimit', 'metrics', 'audit'], 7_000]
  ]
  for (const [stages, most] of bounds) {
    test(`are at most ${most} with ${stages.join(', ') || 'no stage'}`, async t => {
      let least = Number.POSITIVE_INFINITY
      let above = Number.NaN
      // What is optimized, and when, differs from process to process: it is the least of several that counts.
      for (let attempt = 1; attempt <= 5 && !(above > 0 && above <= most); attempt++) {
        if (attempt > 1) bare = Math.min(bare, await bytesARequest('bare', setting, token))
        least = Math.min(least, await bytesARequest('gate', { ...setting, stages }, token))
        above = least - bare
      }
      t.diagnostic(`${Math.round(above)} bytes`)
      assert.ok(above > 0 && above <= most, `${above} bytes`)
    })
  }
})
