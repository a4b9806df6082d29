/** A request whose answer is at hand goes through the whole gate without a promise. */
import assert from 'node:assert/strict'
import { createHook } from 'node:async_hooks'
import { createServer, type RequestListener } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { identityProvider } from '../../bench/harness/identity-provider.ts'
import { RawClient } from '../../bench/harness/raw-client.ts'
import { ostiary } from '../../lib/index.ts'
import { MemoryUsageStore } from '../../lib/usage/memory-usage-store.ts'
import { listen } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

let counting = false
let promises = 0
const hook = createHook({
  init(_id, type) {
    if (counting && type === 'PROMISE') promises++
  }
})

/** Counts promises from the entry of the listener to its return, and in everything that listens for the end. */
function counted(listener: RequestListener): RequestListener {
  return (req, res) => {
    res.on('finish', () => {
      counting = true
    })
    counting = true
    listener(req, res)
    counting = false
    res.on('finish', () => {
      counting = false
    })
  }
}

test('a request with a verified token creates no promise in the gate', async t => {
  const folder = temporaryFolder()
  const { setting, sign } = await identityProvider(folder)
  const { issuer, audience, jwks } = setting
  const gate = ostiary({
    auth: { issuer, audience, jwks },
    rateLimit: { maxRequests: 1_000, windowSeconds: 86_400 },
    audit: { path: join(folder, 'audit.jsonl') },
    usage: { store: new MemoryUsageStore() },
    metrics: true
  })
  const server = createServer(counted(gate.wrap((_req, res) => res.end('{"hello":"world"}'))))
  const port = await listen(t, server)
  t.after(async () => {
    hook.disable()
    await gate.close()
  })
  hook.enable()
  const token = await sign(1)
  const first = await RawClient.connect(port, token)
  await first.send(1)
  assert.ok(promises > 0, 'the first request verifies a signature, which takes promises')

  await t.test('on the connection that brought it', async () => {
    promises = 0
    await first.send(20)
    assert.equal(promises, 0)
  })
  await t.test('on another connection', async () => {
    promises = 0
    const second = await RawClient.connect(port, token)
    await second.send(5)
    assert.equal(promises, 0)
    second.close()
  })
  await t.test('when it is refused for its rate', async () => {
    promises = 0
    await first.send(973)
    await assert.rejects(first.send(3), /429/)
    assert.equal(promises, 0)
  })
  first.close()
})
