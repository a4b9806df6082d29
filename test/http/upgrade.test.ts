import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { WebSocket, WebSocketServer } from 'ws'
import type { Exchange } from '../../lib/http/exchange.ts'
import { composed, type Stage } from '../../lib/http/pipeline.ts'
import { refuse } from '../../lib/http/problem.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import type { UpgradeHandler } from '../../lib/http/upgrade.ts'
import { listen } from '../support/server.ts'
import { until } from './wire.ts'

const handshake =
  'GET /chat?x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

/** Lets in who has the word. */
function doorkeeper(ends: Exchange[], when = 'at once'): Stage {
  return {
    name: 'doorkeeper',
    enter(exchange) {
      exchange.onEnd(ended => ends.push(ended))
      exchange.setHeader('X-Ostiary', 'here')
      const decide = () =>
        exchange.req.headers.authorization === 'Bearer word' ||
        refuse(exchange, 'doorkeeper', 'no_word', {
          status: 401,
          headers: { 'WWW-Authenticate': 'Bearer' }
        })
      return when === 'at once' ? decide() : new Promise(resolve => setTimeout(() => resolve(decide()), 5))
    }
  }
}

function guarded(
  stages: Stage[],
  handler: UpgradeHandler,
  reporter = new Reporter({ onReport() {} })
): Server {
  return createServer().on('upgrade', composed(stages, { reporter }).upgrade(handler))
}

/** Everything the server says on one connection, until it closes it. `ends`: the client closes its side after the request. */
async function conversation(port: number, request: string, ends = false): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1')
  let answer = ''
  socket.on('data', (chunk: string) => {
    answer += chunk
  })
  socket.on('error', () => {})
  if (ends) socket.end(request)
  else socket.write(request)
  // `once` would reject on a reset.
  await new Promise(resolve => socket.on('close', resolve))
  return answer
}

describe('a WebSocket server behind a pipeline', () => {
  for (const when of ['at once', 'later']) {
    test(`who is let in ${when} talks to the handler`, async t => {
      const ends: Exchange[] = []
      const sockets = new WebSocketServer({ noServer: true })
      sockets.on('connection', (socket, req) =>
        socket.on('message', text => socket.send(`${req.url} ${text}`))
      )
      const keeper = doorkeeper(ends, when)
      const port = await listen(
        t,
        guarded([keeper], (req, socket, head) =>
          sockets.handleUpgrade(req, socket, head, webSocket => sockets.emit('connection', webSocket, req))
        )
      )
      const client = new WebSocket(`ws://127.0.0.1:${port}/chat`, {
        headers: { authorization: 'Bearer word' }
      })
      await once(client, 'open')
      client.send('hello')
      const [message] = await once(client, 'message')
      assert.equal(String(message), '/chat hello')
      assert.equal(ends.length, 1, 'the handshake is the exchange')
      assert.equal(ends[0].statusCode, 101)
      assert.equal(ends[0].outcome, 'completed')
      assert.equal(ends[0].path, '/chat')
      client.close()
      await once(client, 'close')
      assert.equal(ends.length, 1)
    })

    test(`who is refused ${when} gets an HTTP answer, then the end`, async t => {
      const ends: Exchange[] = []
      const keeper = doorkeeper(ends, when)
      const port = await listen(
        t,
        guarded([keeper], () => assert.fail('nobody gets here'))
      )
      const client = new WebSocket(`ws://127.0.0.1:${port}/chat`)
      client.on('error', () => {})
      const [, response] = await once(client, 'unexpected-response')
      assert.equal(response.statusCode, 401)
      assert.equal(response.headers['www-authenticate'], 'Bearer')
      assert.equal(response.headers['content-type'], 'application/problem+json')
      assert.equal(response.headers['connection'], 'close')
      assert.equal(response.headers['x-ostiary'], 'here')
      assert.deepEqual(
        ends.map(({ statusCode, outcome, denial }) => ({ statusCode, outcome, denial })),
        [{ statusCode: 401, outcome: 'completed', denial: { stage: 'doorkeeper', reason: 'no_word' } }]
      )
    })
  }
})

test('a refusal closes the connection, also one whose client keeps sending', async t => {
  const ends: Exchange[] = []
  const port = await listen(
    t,
    guarded([doorkeeper(ends)], () => {})
  )
  const answer = await conversation(port, handshake)
  const [head, body] = answer.split('\r\n\r\n')
  assert.match(head, /^HTTP\/1\.1 401 Unauthorized\r\n/)
  assert.equal(JSON.parse(body).status, 401)
  const flooding = await conversation(port, handshake + 'x'.repeat(5_000_000))
  assert.ok(flooding === '' || flooding.startsWith('HTTP/1.1 401'), 'cut off')
  assert.equal(ends.length, 2)
})

test('a stage that throws is a 500', async t => {
  const port = await listen(
    t,
    guarded(
      [
        {
          name: 'fault',
          enter() {
            throw new Error('secret')
          }
        }
      ],
      () => {}
    )
  )
  const answer = await conversation(port, handshake)
  assert.match(answer, /^HTTP\/1\.1 500 /)
  assert.ok(!answer.includes('secret'))
})

describe('what the handler does with the socket', () => {
  const table: [string, UpgradeHandler, { statusCode: number; outcome: string }, RegExp][] = [
    [
      'refuses by itself',
      (_req, socket) => socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n'),
      { statusCode: 404, outcome: 'completed' },
      /^HTTP\/1\.1 404/
    ],
    [
      'accepts in bytes',
      (_req, socket) => {
        socket.write(Buffer.from('HTTP/1.1 101 Switching Protocols\r\n\r\n'))
        socket.write('hello')
        socket.end()
      },
      { statusCode: 101, outcome: 'completed' },
      /\r\n\r\nhello$/
    ],
    [
      'says something else',
      (_req, socket) => socket.end('HELO'),
      { statusCode: 0, outcome: 'completed' },
      /^HELO$/
    ],
    ['destroys it', (_req, socket) => socket.destroy(), { statusCode: 0, outcome: 'aborted' }, /^$/],
    [
      'throws',
      () => {
        throw new Error('broken')
      },
      { statusCode: 0, outcome: 'failed' },
      /^$/
    ],
    [
      'rejects',
      async () => {
        throw new Error('broken')
      },
      { statusCode: 0, outcome: 'failed' },
      /^$/
    ]
  ]
  for (const [name, handler, expected, bytes] of table) {
    test(name, async t => {
      const ends: Exchange[] = []
      const reporter = new Reporter({ onReport() {} })
      const port = await listen(t, guarded([doorkeeper(ends)], handler, reporter))
      const request = handshake.replace('Host', 'Authorization: Bearer word\r\nHost')
      assert.match(await conversation(port, request), bytes)
      // Of a socket that the server destroys it may hear after the client.
      await until(() => ends.length > 0)
      assert.deepEqual(
        ends.map(({ statusCode, outcome }) => ({ statusCode, outcome })),
        [expected]
      )
      assert.equal(reporter.counts.get('request_exception'), expected.outcome === 'failed' ? 1 : undefined)
    })
  }
})

test('the handler gets the socket as Node would have given it', async t => {
  const listeners = (socket: Socket) =>
    socket.eventNames().map(name => [String(name), socket.listenerCount(name)])
  const seen: unknown[] = []
  for (const wrapped of [false, true]) {
    const handler: UpgradeHandler = (_req, socket, head) => {
      const own = listeners(socket as Socket).filter(([name]) => name !== 'close')
      const message = (socket as { _httpMessage?: unknown })._httpMessage ?? null
      // How much of what follows the request comes with it is the network's choice.
      let early = head.toString()
      socket.on('data', chunk => {
        early += chunk
      })
      socket.on('end', () => {
        seen.push({ own, early, message })
        socket.end()
      })
    }
    const server = wrapped ? guarded([], handler) : createServer().on('upgrade', handler)
    const port = await listen(t, server)
    await conversation(port, `${handshake}early bytes`, true)
  }
  assert.equal(seen.length, 2)
  assert.deepEqual(seen[1], seen[0])
})

test('CONNECT goes the same way', async t => {
  const ends: Exchange[] = []
  const server = createServer().on(
    'connect',
    composed([doorkeeper(ends)]).upgrade((_req, socket) =>
      socket.end('HTTP/1.1 200 Connection Established\r\n\r\ntunnel')
    )
  )
  const port = await listen(t, server)
  const request = 'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n'
  assert.match(await conversation(port, `${request}\r\n`), /^HTTP\/1\.1 401 /)
  assert.match(
    await conversation(port, `${request}Authorization: Bearer word\r\n\r\n`),
    /^HTTP\/1\.1 200 .*tunnel$/s
  )
  assert.deepEqual(
    ends.map(({ statusCode, path }) => ({ statusCode, path })),
    [
      { statusCode: 401, path: 'example.com:443' },
      { statusCode: 200, path: 'example.com:443' }
    ]
  )
})

test('a client that leaves before the answer ends the exchange', async t => {
  let arrived: () => void = () => {}
  const ended = new Promise<Exchange>(resolve => {
    const port = listen(
      t,
      guarded(
        [
          {
            name: 'slow',
            enter(exchange) {
              exchange.onEnd(resolve)
              arrived()
              exchange.req.socket.resume()
              return new Promise(() => {})
            }
          }
        ],
        () => {}
      )
    )
    void port.then(async known => {
      const socket = connect(known, '127.0.0.1')
      socket.write(handshake)
      arrived = () => socket.resetAndDestroy()
    })
  })
  const { statusCode, outcome } = await ended
  assert.deepEqual({ statusCode, outcome }, { statusCode: 0, outcome: 'aborted' })
})
