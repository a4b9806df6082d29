import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type IncomingHttpHeaders
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { describe, test } from 'node:test'
import { type Exchange, exchangeOf } from '../../lib/http/exchange.ts'
import { type Handler, type Sighting, until, Watch } from './wire.ts'

type Http2Handler = (req: Http2ServerRequest, res: Http2ServerResponse) => unknown
type Expected = Omit<Sighting, 'path' | 'ends'>

interface Running {
  session: ClientHttp2Session
  stop(): Promise<void>
}

async function start(handler: Handler): Promise<Running> {
  const server: Http2Server = createServer(handler as unknown as Http2Handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  session.on('error', () => {})
  return {
    session,
    async stop() {
      session.destroy()
      server.close()
      await once(server, 'close')
    }
  }
}

/** Status, headers and body of one answer. */
async function answerOf(stream: ClientHttp2Stream): Promise<{ headers: IncomingHttpHeaders; body: string }> {
  stream.setEncoding('latin1')
  let body = ''
  stream.on('data', chunk => {
    body += chunk
  })
  const [[headers]] = (await Promise.all([once(stream, 'response'), once(stream, 'close')])) as [
    [IncomingHttpHeaders],
    unknown
  ]
  const { date: _date, ...rest } = headers
  return { headers: { ...rest }, body }
}

const answers: Record<string, { handler: Http2Handler; method?: string; expected: Expected; own?: false }> = {
  'implicit end': {
    handler: (_req, res) => res.end('x'),
    expected: { statusCode: 200, outcome: 'completed' }
  },
  'implicit write': {
    handler: (_req, res) => {
      res.write('a')
      res.end('b')
    },
    expected: { statusCode: 200, outcome: 'completed' }
  },
  'implicit flushHeaders': {
    handler: (_req, res) => {
      res.statusCode = 202
      ;(res as unknown as { flushHeaders(): void }).flushHeaders()
      setImmediate(() => res.end('x'))
    },
    expected: { statusCode: 202, outcome: 'completed' }
  },
  'writeHead with an object': {
    handler: (_req, res) => res.writeHead(201, { 'X-A': '1', 'set-cookie': ['a=1', 'b=2'] }).end('x'),
    expected: { statusCode: 201, outcome: 'completed' }
  },
  'writeHead with a flat array': {
    handler: (_req, res) =>
      res.writeHead(201, ['set-cookie', 'a=1', 'x-a', '1', 'set-cookie', 'b=2'] as never).end('x'),
    expected: { statusCode: 201, outcome: 'completed' }
  },
  'writeHead with pairs': {
    handler: (_req, res) =>
      res
        .writeHead(201, [
          ['set-cookie', 'a=1'],
          ['set-cookie', 'b=2']
        ] as never)
        .end('x'),
    expected: { statusCode: 201, outcome: 'completed' }
  },
  'setHeader and writeHead': {
    handler: (_req, res) => {
      res.setHeader('X-A', '1')
      res.setHeader('X-B', '1')
      res.writeHead(404, { 'x-a': '2' }).end('x')
    },
    expected: { statusCode: 404, outcome: 'completed' }
  },
  'writeHead twice': {
    handler: (_req, res) => {
      res.writeHead(200)
      assert.throws(() => res.writeHead(500), { code: 'ERR_HTTP2_HEADERS_SENT' })
      res.end('x')
    },
    expected: { statusCode: 200, outcome: 'completed' }
  },
  'an informational status, then a good one': {
    handler: (_req, res) => {
      assert.throws(() => {
        res.statusCode = 103
      })
      res.writeHead(203).end()
    },
    expected: { statusCode: 203, outcome: 'completed' }
  },
  'early hints': {
    handler: (_req, res) => {
      res.writeEarlyHints({ link: '</a.css>; rel=preload' })
      res.end('x')
    },
    expected: { statusCode: 200, outcome: 'completed' }
  },
  'HEAD with a body': {
    handler: (_req, res) => res.writeHead(200, { 'content-length': 3 }).end('abc'),
    method: 'HEAD',
    expected: { statusCode: 200, outcome: 'completed' }
  },
  'HEAD, refused by the handler late': {
    handler: (_req, res) => {
      setTimeout(() => res.writeHead(403).end(), 10)
    },
    method: 'HEAD',
    expected: { statusCode: 403, outcome: 'completed' }
  },
  '204': {
    handler: (_req, res) => res.writeHead(204).end(),
    expected: { statusCode: 204, outcome: 'completed' }
  },
  'stream.respond(), past the hook': {
    handler: (_req, res) => {
      res.stream.respond({ ':status': 418 })
      res.stream.end('teapot')
    },
    expected: { statusCode: 418, outcome: 'completed' },
    own: false
  },
  'stream.respondWithFile(), past the hook': {
    handler: (_req, res) => res.stream.respondWithFile(import.meta.filename, { ':status': 203 }),
    expected: { statusCode: 203, outcome: 'completed' },
    own: false
  },
  trailers: {
    handler: (_req, res) => {
      res.write('a')
      ;(res as unknown as { setTrailer(name: string, value: string): void }).setTrailer('x-sum', '1')
      res.end()
    },
    expected: { statusCode: 200, outcome: 'completed' }
  }
}

describe('http/2 answers equal those of a bare server', () => {
  for (const [name, { handler, method = 'GET', expected, own = true }] of Object.entries(answers)) {
    test(name, async () => {
      const bare = await start(handler as unknown as Handler)
      const plain = await answerOf(bare.session.request({ ':path': '/a', ':method': method }))
      await bare.stop()
      for (const prepare of [undefined, (exchange: Exchange) => exchange.setHeader('X-Ostiary', 'here')]) {
        const watch = new Watch()
        const running = await start(watch.over(handler as unknown as Handler, prepare))
        const { headers, body } = await answerOf(
          running.session.request({ ':path': '/a', ':method': method })
        )
        assert.deepEqual(await watch.ended(1), [{ path: '/a', ...expected, ends: 1 }])
        await running.stop()
        assert.equal(headers['x-ostiary'], prepare !== undefined && own ? 'here' : undefined)
        delete headers['x-ostiary']
        assert.deepEqual({ headers, body }, plain)
      }
    })
  }
})

const endings: Record<
  string,
  { handler: Http2Handler; talk(running: Running, watch: Watch): unknown; expected: Expected }
> = {
  'reset before the head': {
    handler: () => {},
    async talk({ session }, watch) {
      const stream = session.request({ ':path': '/a' })
      stream.on('error', () => {})
      await watch.opened(1)
      stream.close(constants.NGHTTP2_CANCEL)
    },
    expected: { statusCode: 0, outcome: 'aborted' }
  },
  'reset before the head, the handler answers all the same': (() => {
    let answered = false
    return {
      handler: (_req, res) => {
        res.stream.on('close', () =>
          setImmediate(() => {
            res.writeHead(200).end('late')
            answered = true
          })
        )
      },
      async talk({ session }, watch) {
        const stream = session.request({ ':path': '/a' })
        stream.on('error', () => {})
        await watch.opened(1)
        stream.close(constants.NGHTTP2_CANCEL)
        await until(() => answered)
      },
      expected: { statusCode: 0, outcome: 'aborted' }
    }
  })(),
  'the head is written while the stream is being closed': {
    handler: (_req, res) => {
      res.stream.on('aborted', () => res.writeHead(200))
    },
    async talk({ session }, watch) {
      const stream = session.request({ ':path': '/a' })
      stream.on('error', () => {})
      await watch.opened(1)
      stream.close(constants.NGHTTP2_CANCEL)
    },
    expected: { statusCode: 0, outcome: 'aborted' }
  },
  'reset in the body': {
    handler: (_req, res) => {
      res.writeHead(206)
      res.write('part')
    },
    talk({ session }) {
      const stream = session.request({ ':path': '/a' })
      stream.on('error', () => {})
      stream.once('data', () => stream.close(constants.NGHTTP2_CANCEL))
    },
    expected: { statusCode: 206, outcome: 'aborted' }
  },
  'HEAD, reset before the head': {
    handler: () => {},
    async talk({ session }, watch) {
      const stream = session.request({ ':path': '/a', ':method': 'HEAD' })
      stream.on('error', () => {})
      await watch.opened(1)
      session.destroy()
    },
    expected: { statusCode: 0, outcome: 'aborted' }
  },
  'the session goes away': {
    handler: (_req, res) => res.write('part'),
    talk({ session }) {
      const stream = session.request({ ':path': '/a' })
      stream.on('error', () => {})
      stream.once('data', () => session.destroy())
    },
    expected: { statusCode: 200, outcome: 'aborted' }
  },
  'the handler throws in the body': {
    handler: (_req, res) => {
      res.write('part')
      throw new Error('broken')
    },
    talk({ session }) {
      session.request({ ':path': '/a' }).on('error', () => {})
    },
    expected: { statusCode: 200, outcome: 'failed' }
  },
  'the handler throws before the head': {
    handler: () => {
      throw new Error('broken')
    },
    talk({ session }) {
      session.request({ ':path': '/a' }).resume()
    },
    expected: { statusCode: 500, outcome: 'completed' }
  },
  'a request body that never ends': {
    handler: (_req, res) => res.writeHead(200).end('enough'),
    talk({ session }) {
      const stream = session.request({ ':path': '/a', ':method': 'POST' })
      stream.on('error', () => {}).resume()
      stream.write('a')
    },
    expected: { statusCode: 200, outcome: 'completed' }
  }
}

describe('every way an http/2 exchange can end', () => {
  for (const [name, { handler, talk, expected }] of Object.entries(endings)) {
    test(name, async () => {
      const watch = new Watch()
      const running = await start(watch.over(handler as unknown as Handler))
      await talk(running, watch)
      const sightings = await watch.ended(1)
      await running.stop()
      assert.deepEqual(sightings, [{ path: '/a', ...expected, ends: 1 }])
    })
  }
})

test('many streams of one session end one by one, and share their connection', async () => {
  const watch = new Watch()
  const connections = new Set<unknown>()
  const running = await start(
    watch.over((req, res) => {
      connections.add(exchangeOf(req).connection)
      assert.equal(exchangeOf(req).clientAddress, '127.0.0.1')
      setTimeout(() => res.end(req.url), (Number(req.url?.slice(1)) * 7) % 20)
    })
  )
  const bodies = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const { body } = await answerOf(running.session.request({ ':path': `/${i}` }))
      return body === `/${i}`
    })
  )
  const sightings = await watch.ended(200)
  await running.stop()
  assert.ok(bodies.every(Boolean))
  assert.equal(connections.size, 1)
  assert.equal(new Set(sightings.map(({ path }) => path)).size, 200)
  assert.ok(sightings.every(({ outcome, ends }) => outcome === 'completed' && ends === 1))
})

test('an exchange that is opened when the session has gone has ended, without an address', async () => {
  const watch = new Watch()
  const addresses: unknown[] = []
  let arrive: () => void = () => {}
  const arrived = new Promise<void>(resolve => {
    arrive = resolve
  })
  const seen = watch.over(
    () => {},
    exchange => addresses.push(exchange.clientAddress, exchange.clientAddressKey)
  )
  const running = await start((req, res) => {
    res.on('close', () => setImmediate(() => seen(req, res)))
    arrive()
  })
  const stream = running.session.request({ ':path': '/a' })
  stream.on('error', () => {})
  await arrived
  running.session.destroy()
  assert.deepEqual(await watch.ended(1), [{ path: '/a', statusCode: 0, outcome: 'aborted', ends: 1 }])
  assert.deepEqual(addresses, [undefined, undefined])
  await running.stop()
})
