import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withoutKernel } from '../../bench/harness/driver.ts'
import { compare } from '../../bench/harness/end-to-end.ts'
import { identityProvider } from '../../bench/harness/identity-provider.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const servers = [
  { name: 'bare', file: 'bare' },
  { name: 'gate', file: 'gate', stages: ['auth'] }
]
const pace = { processes: 1, rounds: 2, looks: 1 }

test('tells the CPU of a request and the heap of each server', async () => {
  const { setting, sign } = await identityProvider(temporaryFolder())
  const compared = await compare(servers, withoutKernel(await sign(1), 100), setting, pace)
  assert.deepEqual(
    compared.map(({ name }) => name),
    ['bare', 'gate']
  )
  for (const { cpuMicros, heapBytes, traffic } of compared) {
    assert.ok(cpuMicros > 0)
    assert.ok(heapBytes > 1e6)
    assert.equal(traffic, undefined)
  }
})

test('fails when a server refuses', async () => {
  const { setting } = await identityProvider(temporaryFolder())
  const sent = compare(servers.slice(1), withoutKernel('no token', 100), setting, pace)
  await assert.rejects(sent, (error: Error) => /gate ended: exit code 1/.test(`${error.cause}`))
})
