/** A connection bears one listener of the gate's, however many requests it carries. */
import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import type { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { RawClient } from '../../bench/harness/raw-client.ts'
import { ostiary } from '../../lib/index.ts'
import { MemoryUsageStore } from '../../lib/usage/memory-usage-store.ts'
import { listen } from '../support/server.ts'

const answer: RequestListener = (_req, res) => void res.end('{"hello":"world"}')

/** How many listeners the socket has while each of some requests is answered. */
async function listenersBy(
  t: TestContext,
  guard: (listener: RequestListener) => RequestListener
): Promise<number[]> {
  const counts: number[] = []
  const server = createServer(
    guard((req, res) => {
      counts.push(listenersOf(req.socket))
      answer(req, res)
    })
  )
  const client = await RawClient.connect(await listen(t, server), 'none')
  await client.send(50)
  client.close()
  return counts
}

function listenersOf(socket: Socket): number {
  return socket.eventNames().reduce((sum, name) => sum + socket.listenerCount(name), 0)
}

test('the gate adds one listener to a socket, once', async t => {
  const gate = ostiary({
    rateLimit: { maxRequests: 1_000, windowSeconds: 60 },
    audit: { callback: () => {}, console: false },
    usage: { store: new MemoryUsageStore() },
    metrics: true
  })
  const bare = await listenersBy(t, listener => listener)
  const guarded = await listenersBy(t, gate.wrap)
  await gate.close()
  assert.equal(new Set(bare).size, 1, `a bare server's are constant: ${bare}`)
  assert.deepEqual(
    guarded,
    bare.map(count => count + 1)
  )
})
