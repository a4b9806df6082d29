import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { describe, type TestContext, test } from 'node:test'
import { connect, type TLSSocket } from 'node:tls'
import { exchangeOf } from '../../lib/http/exchange.ts'
import { localhostCertificate, localhostKey } from '../support/localhost-certificate.ts'
import { listen } from '../support/server.ts'
import { type Handler, twice, Watch } from './wire.ts'

const get = 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n'

async function clientOf(t: TestContext, handler: Handler): Promise<TLSSocket> {
  const server = createServer(
    { key: localhostKey, cert: localhostCertificate },
    handler as (req: IncomingMessage, res: ServerResponse) => void
  )
  const socket = connect({ host: '127.0.0.1', port: await listen(t, server), ca: localhostCertificate })
  socket.on('error', () => {})
  t.after(() => socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}

test('heads over TLS equal those of a bare server', async t => {
  const handler: Handler = (req, res) => {
    res.setHeader('X-Encrypted', String((req.socket as TLSSocket).encrypted))
    res.writeHead(201, { 'Set-Cookie': ['a=1', 'b=2'] }).end('x')
  }
  const watch = new Watch()
  const answers: string[] = []
  for (const app of [handler, watch.over(handler, exchange => exchange.setHeader('X-Ostiary', 'here'))]) {
    const socket = await clientOf(t, app)
    socket.setEncoding('latin1')
    let answer = ''
    socket.on('data', (chunk: string) => {
      answer += chunk
    })
    socket.write(twice())
    await new Promise(resolve => socket.on('close', resolve))
    answers.push(answer.replace(/^Date: .*$/gm, ''))
  }
  await watch.ended(2)
  assert.equal(answers[1].match(/^X-Ostiary: here\r\n/gm)?.length, 2)
  assert.equal(answers[1].replaceAll('X-Ostiary: here\r\n', ''), answers[0])
  assert.deepEqual(
    watch.sightings.map(({ statusCode, outcome }) => [statusCode, outcome]),
    [
      [201, 'completed'],
      [201, 'completed']
    ]
  )
})

describe('endings over TLS', () => {
  const table: [string, Handler, (socket: TLSSocket, watch: Watch) => unknown, number, string][] = [
    [
      'the client leaves before the head',
      () => {},
      async (socket, watch) => {
        await watch.opened(1)
        socket.destroy()
      },
      0,
      'aborted'
    ],
    [
      'more than any buffer holds to a client that stopped reading and then leaves',
      (_req, res) => res.end(Buffer.alloc(64_000_000)),
      socket => socket.once('readable', () => setTimeout(() => socket.destroy(), 50)),
      200,
      'aborted'
    ],
    [
      '30 MB to a client that reads on',
      (_req, res) => res.end(Buffer.alloc(30_000_000)),
      socket => socket.once('readable', () => setTimeout(() => socket.resume(), 50)),
      200,
      'completed'
    ],
    [
      'the handler destroys the socket in the body',
      (req, res) => {
        res.write('part')
        setImmediate(() => req.socket.destroy())
      },
      () => {},
      200,
      'aborted'
    ]
  ]
  for (const [name, handler, talk, statusCode, outcome] of table) {
    test(name, async t => {
      const watch = new Watch()
      const socket = await clientOf(
        t,
        watch.over(handler, exchange => assert.equal(exchange.clientAddress, '127.0.0.1'))
      )
      socket.write(get)
      void talk(socket, watch)
      assert.deepEqual(await watch.ended(1), [{ path: '/a', statusCode, outcome, ends: 1 }])
    })
  }
})

test('requests of one TLS connection share what is remembered of it', async t => {
  const connections = new Set<unknown>()
  const watch = new Watch()
  const socket = await clientOf(
    t,
    watch.over((req, res) => {
      connections.add(exchangeOf(req).connection)
      res.end()
    })
  )
  socket.write(get + get + get)
  await watch.ended(3)
  assert.equal(connections.size, 1)
})
