import assert from 'node:assert/strict'
import { createServer, type Server, type ServerResponse } from 'node:http'
import {
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
  createServer as createHttp2Server
} from 'node:http2'
import { connect, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import type { Exchange } from '../../lib/http/exchange.ts'
import { composed, type RequestHandler, type Stage } from '../../lib/http/pipeline.ts'
import { answerProblem, type Problem, refuse } from '../../lib/http/problem.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { listen } from '../support/server.ts'
import { bytesFor, until } from './wire.ts'

const unauthorized: Problem = {
  status: 401,
  detail: 'No token, no service. ✓',
  extensions: { code: 'no_token' },
  headers: { 'WWW-Authenticate': 'Bearer' }
}

function refusing(ends: Exchange[] = [], prepare: (res: ServerResponse) => void = () => {}): RequestHandler {
  const stage: Stage = {
    name: 'door',
    enter(exchange) {
      exchange.onEnd(ended => ends.push(ended))
      prepare(exchange.res)
      return refuse(exchange, 'door', 'no_token', unauthorized)
    }
  }
  return composed([stage], { reporter: new Reporter({ onReport() {} }) }).wrap(() =>
    assert.fail('nobody gets here')
  )
}

function serverOf(handler: RequestHandler): Server {
  return createServer(handler as (req: unknown, res: unknown) => void)
}

const closing = (method: string, rest = '') =>
  `${method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${rest}\r\n`

describe('a refusal', () => {
  test('is a problem detail that no cache keeps', async t => {
    const ends: Exchange[] = []
    const port = await listen(t, serverOf(refusing(ends)))
    const [head, body] = (await bytesFor(port, closing('GET'))).split('\r\n\r\n')
    assert.equal(
      head,
      [
        'HTTP/1.1 401 Unauthorized',
        'Content-Type: application/problem+json',
        `Content-Length: ${Buffer.byteLength(body, 'latin1')}`,
        'Cache-Control: no-store',
        'WWW-Authenticate: Bearer',
        'Date: …',
        'Connection: close'
      ].join('\r\n')
    )
    assert.deepEqual(JSON.parse(Buffer.from(body, 'latin1').toString()), {
      type: 'about:blank',
      title: 'Unauthorized',
      status: 401,
      detail: 'No token, no service. ✓',
      code: 'no_token'
    })
    assert.deepEqual(ends[0].denial, { stage: 'door', reason: 'no_token' })
    assert.equal(ends[0].outcome, 'completed')
  })

  test('has no body for HEAD, but its length', async t => {
    const port = await listen(t, serverOf(refusing()))
    const [head, body] = (await bytesFor(port, closing('HEAD'))).split('\r\n\r\n')
    assert.match(head, /^Content-Length: [1-9]\d+\r$/m)
    assert.equal(body, '')
  })

  test('drops what was said about another body, and nothing else', async t => {
    const prepare = (res: ServerResponse) => {
      res.setHeader('Content-Encoding', 'gzip')
      res.setHeader('Content-Length', 99)
      res.setHeader('ETag', '"a"')
      res.setHeader('Cache-Control', 'public')
      res.setHeader('Content-Security-Policy', "default-src 'none'")
      res.setHeader('Set-Cookie', ['a=1', 'b=2'])
    }
    const port = await listen(t, serverOf(refusing([], prepare)))
    const [head, body] = (await bytesFor(port, closing('GET'))).split('\r\n\r\n')
    assert.doesNotMatch(head, /content-encoding|etag|public/i)
    assert.match(head, /^Content-Security-Policy: default-src 'none'\r$/m)
    assert.equal(head.match(/^Set-Cookie: /gm)?.length, 2)
    assert.match(head, new RegExp(`^Content-Length: ${Buffer.byteLength(body, 'latin1')}\r?$`, 'm'))
  })

  test('keeps the connection when the request is whole', async t => {
    const ends: Exchange[] = []
    const port = await listen(t, serverOf(refusing(ends)))
    const small = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc'
    const bytes = await bytesFor(port, small + small + closing('GET'))
    assert.equal(bytes.match(/HTTP\/1\.1 401/g)?.length, 3)
    assert.equal(ends.length, 3)
  })
})

test('when the head is out the connection is destroyed, not corrupted', async t => {
  const ends: Exchange[] = []
  const handler = composed([]).wrap((_req, res) => {
    res.writeHead(200, { 'Content-Length': 1000 })
    res.write('part')
    setImmediate(() => answerProblem(ends[0], { status: 500 }))
  })
  const stage: Stage = {
    name: 'watch',
    enter(exchange) {
      ends.push(exchange)
      return true
    }
  }
  const port = await listen(t, serverOf(composed([stage]).wrap(handler)))
  const bytes = await bytesFor(port, closing('GET'))
  assert.match(bytes, /^HTTP\/1\.1 200 OK\r\n/)
  assert.ok(bytes.endsWith('\r\n\r\npart'), 'nothing after what the handler wrote')
})

test('an answer that is whole stays as it is', async t => {
  const handler = composed([]).wrap((_req, res) => {
    res.end('whole')
    throw new Error('late')
  })
  const quiet = composed([], { reporter: new Reporter({ onReport() {} }) }).wrap(handler)
  const port = await listen(t, serverOf(quiet))
  assert.match(await bytesFor(port, closing('GET')), /whole$/)
})

/** Sends a head, then as much body as it can until the connection closes or `limit` is reached. */
async function pour(
  port: number,
  head: string,
  chunk: Buffer,
  limit: number
): Promise<{ sent: number; answer: string; ended: boolean }> {
  const socket = connect(port, '127.0.0.1').setEncoding('latin1') as Socket
  let answer = ''
  let ended = false
  let gone = false
  socket.on('data', (text: unknown) => {
    answer += text
  })
  socket.on('end', () => {
    ended = true
  })
  socket.on('error', () => {})
  const closed = new Promise<void>(resolve =>
    socket.on('close', () => {
      gone = true
      resolve()
    })
  )
  socket.write(head)
  while (!gone && !ended && socket.bytesWritten < limit) {
    const room = socket.write(chunk)
    if (!room) await Promise.race([closed, new Promise(resolve => socket.once('drain', resolve))])
    else await new Promise(resolve => setImmediate(resolve))
  }
  const sent = socket.bytesWritten
  socket.destroy()
  return { sent, answer, ended }
}

describe('a body that is still arriving when its request is refused', () => {
  const bodies: [string, string, (data: Buffer) => Buffer][] = [
    ['of a gigabyte', 'Content-Length: 1000000000\r\n', data => data],
    [
      'in chunks without an end',
      'Transfer-Encoding: chunked\r\n',
      data => Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')])
    ]
  ]
  for (const [name, header, framed] of bodies) {
    test(`${name} is cut off after a bounded drain`, async t => {
      const ends: Exchange[] = []
      const server = serverOf(refusing(ends))
      let received: number | undefined
      server.on('connection', socket =>
        socket.on('close', () => {
          received = socket.bytesRead
        })
      )
      const port = await listen(t, server)
      const head = `POST / HTTP/1.1\r\nHost: x\r\n${header}\r\n`
      const { sent, answer } = await pour(port, head, framed(Buffer.alloc(65_536)), 1_000_000_000)
      await until(() => received !== undefined)
      assert.match(answer, /^HTTP\/1\.1 401 [\s\S]*Connection: close[\s\S]*"no_token"}$/)
      assert.ok(sent < 100_000_000, `${sent} bytes left the client`)
      assert.ok(received! < 2_000_000, `${received} bytes reached the server`)
      assert.deepEqual(
        ends.map(({ statusCode }) => statusCode),
        [401]
      )
    })
  }

  test('slowly, or not at all, does not hold the connection', async t => {
    const port = await listen(t, serverOf(refusing()))
    const bytes = await bytesFor(port, 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc')
    assert.match(bytes, /^HTTP\/1\.1 401 [\s\S]*"no_token"}$/)
  })

  test('and that waits for a word to go on gets the answer instead', async t => {
    const handler = refusing() as never
    const server = createServer(handler).on('checkContinue', handler)
    const port = await listen(t, server)
    const bytes = await bytesFor(
      port,
      'POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n'
    )
    assert.match(bytes, /^HTTP\/1\.1 401 /)
    assert.doesNotMatch(bytes, /100 Continue/)
  })

  test('and is short may still arrive: the answer does not wait for it, the connection stays', async t => {
    const ends: Exchange[] = []
    const port = await listen(t, serverOf(refusing(ends)))
    const socket = connect(port, '127.0.0.1').setEncoding('latin1')
    const answers = ['', '']
    let at = 0
    const isWhole = () => /^HTTP\/1\.1 401 [\s\S]*"no_token"}$/.test(answers[at])
    socket.on('data', (chunk: unknown) => {
      answers[at] += chunk
    })
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc')
    await until(isWhole)
    at = 1
    socket.write(`defghij${closing('GET')}`)
    await until(isWhole)
    for (const answer of answers) assert.equal(answer.match(/^HTTP\/1\.1 401/gm)?.length, 1)
    assert.equal(ends.length, 2)
  })

  test('to HEAD as well', async t => {
    const port = await listen(t, serverOf(refusing()))
    const bytes = await bytesFor(port, 'HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc')
    assert.match(bytes, /^HTTP\/1\.1 401 [\s\S]*\r\n\r\n$/)
  })

  test('from a client that leaves ends the exchange at once', async t => {
    // The time that the body has to arrive does not pass.
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const ends: Exchange[] = []
    const server = serverOf(refusing(ends))
    const gone = new Promise(resolve => server.on('connection', socket => socket.on('close', resolve)))
    const port = await listen(t, server)
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc')
    socket.once('data', () => socket.resetAndDestroy())
    await gone
    await until(() => ends.length > 0)
    const [{ statusCode, outcome }] = ends
    assert.deepEqual({ statusCode, outcome }, { statusCode: 401, outcome: 'aborted' })
  })
})

describe('refusals on http/2', () => {
  async function answerTo(
    t: Parameters<typeof listen>[0],
    talk: (stream: ClientHttp2Stream) => void,
    headers: Record<string, string>
  ) {
    const ends: Exchange[] = []
    const server = createHttp2Server(refusing(ends) as never)
    const port = await listen(t, server as unknown as Server)
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    t.after(() => session.destroy())
    const stream = session.request({ ':path': '/', ...headers }, { endStream: false })
    let body = ''
    let status: unknown
    let fields: Record<string, unknown> = {}
    stream.setEncoding('utf8')
    stream.on('response', all => {
      status = all[':status']
      fields = all
    })
    stream.on('data', chunk => {
      body += chunk
    })
    stream.on('error', () => {})
    talk(stream)
    await new Promise(resolve => stream.on('close', resolve))
    // The server may see the end of the stream after the client.
    await until(() => ends.length > 0)
    return { status, body, fields, code: stream.rstCode, ends }
  }

  test('are whole, and reset a body that nobody wants', async t => {
    const chunk = Buffer.alloc(16_384)
    const pump = (stream: ClientHttp2Stream) => {
      const more = () => {
        while (!stream.destroyed && !stream.writableEnded && stream.write(chunk)) {}
      }
      stream.on('drain', more)
      more()
    }
    const { status, body, fields, code, ends } = await answerTo(t, pump, { ':method': 'POST' })
    assert.equal(status, 401)
    assert.equal(fields['cache-control'], 'no-store')
    assert.equal(fields['www-authenticate'], 'Bearer')
    assert.equal(JSON.parse(body).code, 'no_token')
    assert.equal(code, constants.NGHTTP2_NO_ERROR)
    assert.deepEqual(
      ends.map(({ statusCode, outcome }) => ({ statusCode, outcome })),
      [{ statusCode: 401, outcome: 'completed' }]
    )
  })

  test('have no body for HEAD', async t => {
    const { status, body, ends } = await answerTo(t, stream => stream.end(), { ':method': 'HEAD' })
    assert.equal(status, 401)
    assert.equal(body, '')
    assert.equal(ends.length, 1)
  })

  test('of a stream that was reset in the meantime are dropped quietly', async t => {
    const reporter = new Reporter({ onReport() {} })
    let arrived: () => void = () => {}
    const outcome = new Promise<Exchange>(resolve => {
      const stage: Stage = {
        name: 'door',
        enter: exchange => {
          exchange.onEnd(resolve)
          arrived()
          return new Promise(decide => {
            const { stream } = exchange.res as unknown as { stream: ClientHttp2Stream }
            stream.on('aborted', () => decide(refuse(exchange, 'door', 'no_token', unauthorized)))
          })
        }
      }
      const server = createHttp2Server(composed([stage], { reporter }).wrap(() => {}) as never)
      void listen(t, server as unknown as Server).then(port => {
        const session = connectHttp2(`http://127.0.0.1:${port}`)
        t.after(() => session.destroy())
        const stream = session.request({ ':path': '/' })
        stream.on('error', () => {})
        arrived = () => stream.close(constants.NGHTTP2_CANCEL)
      })
    })
    assert.equal((await outcome).outcome, 'aborted')
    assert.equal(reporter.counts.size, 0)
  })
})
