import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { exchangeOf } from '../../lib/http/exchange.ts'
import { composed } from '../../lib/http/pipeline.ts'
import { type Started, start, until } from './wire.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'

/** Sends `count` requests on one connection, `atOnce` pipelined, and waits for every answer. */
async function request(socket: Socket, count: number, atOnce: number): Promise<void> {
  for (let sent = 0; sent < count; sent += atOnce) {
    let answers = ''
    const all = new Promise<void>(resolve => {
      const count = (chunk: string) => {
        answers += chunk
        if (answers.split('HTTP/1.1 200 OK').length - 1 < atOnce || !answers.endsWith('\r\n\r\nx')) return
        socket.off('data', count)
        resolve()
      }
      socket.on('data', count)
    })
    socket.write(get.repeat(atOnce))
    await all
  }
}

function client({ port }: Started): Socket {
  return connect(port, '127.0.0.1').setEncoding('latin1')
}

function listeners(socket: Socket): Record<string, number> {
  return Object.fromEntries(socket.eventNames().map(name => [String(name), socket.listenerCount(name)]))
}

test('a connection has as many listeners after 10 000 requests as after one', async () => {
  const warnings: Error[] = []
  const warned = (warning: Error) => warnings.push(warning)
  process.on('warning', warned)
  let ends = 0
  const listen = (_exchange: unknown) => ends++
  const app = composed([]).wrap((req, res) => {
    exchangeOf(req).onEnd(listen)
    res.writeHead(200, { 'Content-Length': 1 }).end('x')
  })
  const server = await start(app)
  const socket = client(server)
  await request(socket, 1, 1)
  const before = listeners(server.sockets[0])
  await request(socket, 5_000, 1)
  await request(socket, 5_000, 50)
  await until(() => ends > 10_000)
  assert.deepEqual(listeners(server.sockets[0]), before)
  assert.equal(server.sockets.length, 1)
  assert.equal(ends, 10_001)
  socket.destroy()
  await server.stop()
  await new Promise(resolve => setImmediate(resolve))
  process.off('warning', warned)
  assert.deepEqual(warnings, [])
})

describe('exchanges are collected while their connection lives on', () => {
  for (const asyncContext of [false, true]) {
    test(`with asyncContext: ${asyncContext}`, async () => {
      const references: WeakRef<object>[] = []
      const timers: NodeJS.Timeout[] = []
      const app = composed([], { asyncContext }).wrap((req, res) => {
        references.push(new WeakRef(exchangeOf(req)))
        exchangeOf(req).onEnd(() => {})
        void exchangeOf(req).signal
        // Outlives the request, and remembers the context it was started in.
        timers.push(setTimeout(() => {}, 1_000_000))
        res.end('x')
      })
      const server = await start(app)
      const socket = client(server)
      await request(socket, 200, 1)
      await request(socket, 200, 50)
      let alive = references.length
      for (let round = 0; round < 200 && alive > 1; round++) {
        await new Promise(resolve => setTimeout(resolve, 5))
        collectGarbage()
        alive = references.filter(reference => reference.deref() !== undefined).length
      }
      // The parser of a connection may hold the last request it made.
      assert.ok(alive <= 1, `${alive} of ${references.length} are alive`)
      for (const timer of timers) clearTimeout(timer)
      socket.destroy()
      await server.stop()
    })
  }
})

test('thousands of pipelined requests that wait all end when the client leaves', async () => {
  let open = 0
  let ended = 0
  const count = () => ended++
  const app = composed([]).wrap(req => {
    open++
    exchangeOf(req).onEnd(count)
  })
  const server = await start(app)
  const socket = client(server)
  socket.on('error', () => {})
  socket.write(get.repeat(20_000))
  while (open < 10_000) await new Promise(resolve => setTimeout(resolve, 5))
  const closed = new Promise(resolve => server.sockets[0].on('close', resolve))
  socket.resetAndDestroy()
  await closed
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(ended, open)
  await server.stop()
})
