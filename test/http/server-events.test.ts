import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, type TestContext, test } from 'node:test'
import { WebSocket, WebSocketServer } from 'ws'
import { type Exchange, exchangeOf } from '../../lib/http/exchange.ts'
import { composed, type Stage } from '../../lib/http/pipeline.ts'
import { observeServer } from '../../lib/http/server-events.ts'
import type { UpgradeHandler } from '../../lib/http/upgrade.ts'
import { listen } from '../support/server.ts'
import { bytesFor, until } from './wire.ts'

interface Seen {
  method: string | undefined
  path: string
  statusCode: number
  outcome: string
  reason: string | undefined
}

/** Notes what an observer such as a metrics stage would, for each exchange once. */
class Notes {
  readonly seen: Seen[] = []
  readonly observe = (exchange: Exchange): void => exchange.onEnd(this.#note)
  readonly stage: Stage = {
    name: 'notes',
    enter: exchange => {
      this.observe(exchange)
      return true
    }
  }

  /** Resolves when so many have ended: the server may hear of it after the client. */
  noted(count: number): Promise<void> {
    return until(() => this.seen.length >= count)
  }

  readonly #note = ({ req, path, statusCode, outcome, denial }: Exchange): void => {
    this.seen.push({ method: req.method, path, statusCode, outcome, reason: denial?.reason })
  }
}

async function observed(
  t: TestContext,
  options: ServerOptions = {},
  handler: RequestListener = (_req, res) => res.end('x')
): Promise<{ notes: Notes; server: Server; port: number; stop: () => void }> {
  const notes = new Notes()
  const server = createServer(options, composed([notes.stage]).wrap(handler as never))
  const stop = observeServer(server, notes.observe)
  t.after(stop)
  return { notes, server, port: await listen(t, server), stop }
}

const plain = 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n'
const done = { outcome: 'completed', reason: undefined }

describe('answers of core', () => {
  const table: [string, ServerOptions, string, Seen[]][] = [
    [
      'no Host',
      {},
      'GET /a?b HTTP/1.1\r\n\r\n',
      [{ method: 'GET', path: '/a', statusCode: 400, outcome: 'completed', reason: 'missing_host' }]
    ],
    [
      'an unknown expectation',
      {},
      'GET /a HTTP/1.1\r\nHost: x\r\nExpect: bogus\r\nConnection: close\r\n\r\n',
      [{ method: 'GET', path: '/a', statusCode: 417, outcome: 'completed', reason: 'unknown_expectation' }]
    ],
    [
      'no Host where none is needed',
      { requireHostHeader: false },
      'GET /a HTTP/1.1\r\nConnection: close\r\n\r\n',
      [{ method: 'GET', path: '/a', statusCode: 200, ...done }]
    ]
  ]
  for (const [name, options, request, expected] of table) {
    test(`${name}, byte for byte as without an observer`, async t => {
      const bare = await listen(
        t,
        createServer(options, (_req, res) => res.end('x'))
      )
      const { notes, port } = await observed(t, options)
      assert.equal(await bytesFor(port, request), await bytesFor(bare, request))
      assert.deepEqual(notes.seen, expected)
    })
  }

  test('one request too many on a connection', async t => {
    const { notes, server, port } = await observed(t)
    server.maxRequestsPerSocket = 1
    const socket = connect(port, '127.0.0.1')
    socket.write(plain + plain.replace('/a', '/b'))
    await notes.noted(2)
    socket.destroy()
    assert.deepEqual(notes.seen, [
      { method: 'GET', path: '/a', statusCode: 200, ...done },
      {
        method: 'GET',
        path: '/b',
        statusCode: 503,
        outcome: 'completed',
        reason: 'too_many_requests_on_connection'
      }
    ])
  })

  test('what a handler without a pipeline answers is not counted', async t => {
    const notes = new Notes()
    const server = createServer({ requireHostHeader: true }, (_req, res) => res.writeHead(503).end())
    t.after(observeServer(server, notes.observe))
    const port = await listen(t, server)
    assert.match(await bytesFor(port, plain.replace('Host', 'Connection: close\r\nHost')), /^HTTP\/1\.1 503/)
    assert.deepEqual(notes.seen, [])
  })

  test('another server is not counted, nor is anything after the end of it', async t => {
    const { notes, port, stop } = await observed(t)
    const other = await listen(
      t,
      createServer(() => {})
    )
    await bytesFor(other, 'GET /a HTTP/1.1\r\n\r\n')
    stop()
    await bytesFor(port, 'GET /a HTTP/1.1\r\n\r\n')
    assert.deepEqual(notes.seen, [])
  })
})

describe('broken requests', () => {
  const broken = (statusCode: number, reason: string): Seen[] => [
    { method: '-', path: '-', statusCode, outcome: 'completed', reason }
  ]
  const table: [string, string, Seen[]][] = [
    ['noise', 'EHLO example.com\r\n\r\n', broken(400, 'malformed_request')],
    ['a TLS handshake', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', broken(400, 'malformed_request')],
    ['a method unknown to Node', 'BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n', broken(400, 'malformed_request')],
    [
      'a header with a space before the colon',
      'GET / HTTP/1.1\r\nHost : x\r\n\r\n',
      broken(400, 'malformed_request')
    ],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na',
      broken(400, 'malformed_request')
    ],
    [
      'a length and chunks',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      broken(400, 'malformed_request')
    ],
    [
      'a header of 20 KiB',
      `GET / HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(20_480)}\r\n\r\n`,
      broken(431, 'header_overflow')
    ],
    [
      'a head of a megabyte',
      `GET / HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(1_000_000)}\r\n\r\n`,
      broken(431, 'header_overflow')
    ]
  ]
  for (const [name, request, expected] of table) {
    test(`${name} is answered with a problem and counted once`, async t => {
      const { notes, port } = await observed(t)
      const [head, body] = (await bytesFor(port, request)).split('\r\n\r\n')
      assert.ok(head.startsWith(`HTTP/1.1 ${expected[0].statusCode} `), head)
      assert.match(head, /^Connection: close$/m)
      assert.equal(JSON.parse(body).status, expected[0].statusCode)
      assert.deepEqual(notes.seen, expected)
    })
  }

  test('after a good request that was answered', async t => {
    const { notes, port } = await observed(t)
    const bytes = await bytesFor(port, `${plain}nonsense\r\n\r\n`)
    assert.match(bytes, /^HTTP\/1\.1 200 [\s\S]*\r\n\r\nxHTTP\/1\.1 400 /)
    assert.deepEqual(notes.seen, [
      { method: 'GET', path: '/a', statusCode: 200, ...done },
      ...broken(400, 'malformed_request')
    ])
  })

  const chunked = 'POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
  test('in the body of a request that waits for it: the answer to that request', async t => {
    const signals: AbortSignal[] = []
    const { notes, port } = await observed(t, {}, req => {
      signals.push(exchangeOf(req).signal)
      req.resume()
    })
    const bytes = await bytesFor(port, `${chunked}zz\r\n`)
    await notes.noted(1)
    assert.match(bytes, /^HTTP\/1\.1 400 /)
    assert.deepEqual(notes.seen, [
      { method: 'POST', path: '/a', statusCode: 400, outcome: 'aborted', reason: 'malformed_request' }
    ])
    assert.equal(signals[0].aborted, true)
  })

  test('in the body of a request whose answer has begun: the connection is destroyed', async t => {
    const { notes, port } = await observed(t, {}, (_req, res) => {
      res.write('part')
    })
    const socket = connect(port, '127.0.0.1').setEncoding('latin1')
    let bytes = ''
    socket.on('error', () => {})
    socket.on('data', (chunk: string) => {
      bytes += chunk
      socket.write('zz\r\n')
    })
    socket.write(chunked)
    await new Promise(resolve => socket.on('close', resolve))
    await notes.noted(1)
    assert.equal(bytes.match(/HTTP\/1\.1/g)?.length, 1)
    assert.deepEqual(notes.seen, [
      { method: 'POST', path: '/a', statusCode: 200, outcome: 'aborted', reason: undefined }
    ])
  })

  test('too long a chunk extension', async t => {
    const { notes, port } = await observed(t, {}, req => {
      req.resume()
    })
    const bytes = await bytesFor(port, `${chunked}1;${'a'.repeat(20_000)}\r\na\r\n`)
    await notes.noted(1)
    assert.match(bytes, /^HTTP\/1\.1 413 /)
    assert.equal(notes.seen[0].reason, 'chunk_extensions_overflow')
  })

  test('a head that does not arrive in time', async t => {
    const { notes, port } = await observed(t, {
      headersTimeout: 50,
      requestTimeout: 60,
      connectionsCheckingInterval: 20
    })
    const bytes = await bytesFor(port, 'GET /slow HTTP/1.1\r\nHo')
    assert.match(bytes, /^HTTP\/1\.1 408 /)
    assert.deepEqual(notes.seen, broken(408, 'request_timeout'))
  })

  test('a client that just goes away is no request', async t => {
    const { notes, server, port } = await observed(t)
    const gone = new Promise(resolve =>
      server.on('connection', (socket: Socket) => socket.on('close', resolve))
    )
    const socket = connect(port, '127.0.0.1')
    socket.write(`${plain}GET / HT`)
    await notes.noted(1)
    // A reset, and nothing else: the end of its side would make the second request a truncated one.
    socket.resetAndDestroy()
    await gone
    assert.deepEqual(notes.seen, [{ method: 'GET', path: '/a', statusCode: 200, ...done }])
  })

  test('a client that closes its side in the middle of a head', async t => {
    const { notes, port } = await observed(t)
    const socket = connect(port, '127.0.0.1').setEncoding('latin1')
    let bytes = ''
    socket.on('data', (chunk: string) => {
      bytes += chunk
    })
    socket.end('GET / HTTP/1.1\r\nHo')
    await once(socket, 'close')
    assert.match(bytes, /^HTTP\/1\.1 400 /)
    assert.deepEqual(notes.seen, broken(400, 'truncated_request'))
  })

  test("a server's own clientError listener keeps the word, and is counted", async t => {
    const { notes, server, port } = await observed(t)
    server.on('clientError', (_error, socket) => socket.end('HTTP/1.1 422 Own Words\r\n\r\n'))
    assert.equal(await bytesFor(port, 'nonsense\r\n\r\n'), 'HTTP/1.1 422 Own Words\r\n\r\n')
    assert.deepEqual(notes.seen, broken(422, 'malformed_request'))
  })

  test('a server without a pipeline is not disturbed in its answers', async t => {
    const notes = new Notes()
    const server = createServer((_req, res) => res.write('part'))
    t.after(observeServer(server, notes.observe))
    const port = await listen(t, server)
    const gone = new Promise(resolve => server.on('connection', socket => socket.on('close', resolve)))
    const socket = connect(port, '127.0.0.1').setEncoding('latin1')
    let bytes = ''
    socket.on('error', () => {})
    socket.on('data', (chunk: string) => {
      bytes += chunk
      socket.write('nonsense\r\n\r\n')
    })
    socket.write(plain)
    await gone
    await new Promise(resolve => setImmediate(resolve))
    assert.equal(bytes.match(/HTTP\/1\.1/g)?.length, 1)
    assert.equal(notes.seen.length, 1)
    assert.equal(notes.seen[0].statusCode, 0)
  })
})

describe('upgrades', () => {
  test('are requests like any other while nobody listens', async t => {
    const { notes, port } = await observed(t)
    const request = plain.replace('Host', 'Connection: upgrade, close\r\nUpgrade: websocket\r\nHost')
    assert.match(await bytesFor(port, request), /^HTTP\/1\.1 200 /)
    assert.deepEqual(notes.seen, [{ method: 'GET', path: '/a', statusCode: 200, ...done }])
  })

  for (const when of ['before', 'after']) {
    test(`of a listener without a pipeline, added ${when} the observer`, async t => {
      const notes = new Notes()
      const sockets = new WebSocketServer({ noServer: true })
      const server = createServer()
      const upgrade: UpgradeHandler = (req, socket, head) =>
        sockets.handleUpgrade(req, socket as Socket, head, webSocket => webSocket.send('hello'))
      if (when === 'before') server.on('upgrade', upgrade)
      t.after(observeServer(server, notes.observe))
      if (when === 'after') server.on('upgrade', upgrade)
      const port = await listen(t, server)
      const client = new WebSocket(`ws://127.0.0.1:${port}/chat?x`)
      await new Promise(resolve => client.on('message', resolve))
      client.terminate()
      assert.deepEqual(notes.seen, [{ method: 'GET', path: '/chat', statusCode: 101, ...done }])
      server.off('upgrade', upgrade)
      assert.equal(server.listenerCount('upgrade'), 0, 'ours goes with the last of the others')
    })
  }

  test('of a listener that answers late', async t => {
    const notes = new Notes()
    const server = createServer().on('upgrade', (_req, socket) =>
      setTimeout(() => socket.end('HTTP/1.1 403 No\r\n\r\n'), 20)
    )
    t.after(observeServer(server, notes.observe))
    const port = await listen(t, server)
    const request = plain.replace('Host', 'Connection: upgrade\r\nUpgrade: websocket\r\nHost')
    assert.match(await bytesFor(port, request), /^HTTP\/1\.1 403 /)
    assert.deepEqual(notes.seen, [{ method: 'GET', path: '/a', statusCode: 403, ...done }])
  })

  test('behind a pipeline are counted once', async t => {
    const notes = new Notes()
    const server = createServer()
    t.after(observeServer(server, notes.observe))
    server.on(
      'upgrade',
      composed([notes.stage]).upgrade((_req, socket) =>
        socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n')
      )
    )
    const port = await listen(t, server)
    const request = plain.replace('Host', 'Connection: upgrade\r\nUpgrade: websocket\r\nHost')
    assert.match(await bytesFor(port, request), /^HTTP\/1\.1 101 /)
    assert.deepEqual(notes.seen, [{ method: 'GET', path: '/a', statusCode: 101, ...done }])
  })

  test('CONNECT requests too', async t => {
    const notes = new Notes()
    const server = createServer().on('connect', (_req, socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'))
    t.after(observeServer(server, notes.observe))
    const port = await listen(t, server)
    await bytesFor(port, 'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n')
    assert.deepEqual(notes.seen, [{ method: 'CONNECT', path: 'example.com:443', statusCode: 200, ...done }])
  })
})
