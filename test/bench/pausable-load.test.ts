import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { BenchServer } from '../../bench/harness/bench-server.ts'
import { identityProvider } from '../../bench/harness/identity-provider.ts'
import { PausableLoad } from '../../bench/harness/pausable-load.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** Pipelined, so that no other program than Node is needed. */
const load = { name: 'pipelined', connections: 2, pipelining: 2, tokens: 1 }

async function gate(t: TestContext): Promise<{ server: BenchServer; token: string }> {
  const { setting, sign } = await identityProvider(temporaryFolder())
  const server = await BenchServer.start({ file: 'gate', setting: { ...setting, stages: ['auth'] } })
  t.after(() => server.stop())
  return { server, token: await sign(1) }
}

test('stands still but in its slices, and ends without a failure', async t => {
  const { server, token } = await gate(t)
  const paused = await PausableLoad.start(server, load, [token])
  t.after(() => paused.kill())
  const atRest = await requestsAtRest(server)
  assert.ok(atRest > 0)
  while ((await requestsAtRest(server)) <= atRest + load.connections * load.pipelining) await paused.slice()
  await paused.end()
})

test('an answer that refuses makes it fail in the end', async t => {
  const { server } = await gate(t)
  const paused = await PausableLoad.start(server, load, ['no token'])
  t.after(() => paused.kill())
  await assert.rejects(paused.end(), /[1-9]\d* refusals and 0 errors under load/)
})

test('a generator that cannot work makes it fail at once', async t => {
  const { server } = await gate(t)
  await assert.rejects(PausableLoad.start(server, { ...load, connections: 0 }, ['token']), /generator ended/)
})

/** Comes to an end only if no more requests come. */
async function requestsAtRest(server: BenchServer): Promise<number> {
  let before = -1
  let { requests } = await server.settled()
  while (requests !== before) {
    before = requests
    requests = (await server.settled()).requests
  }
  return requests
}
