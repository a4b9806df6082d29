import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { createServer, IncomingMessage, type RequestListener, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { describe, test } from 'node:test'
import { createGzip } from 'node:zlib'
import lightMyRequest from 'light-my-request'
import { type Exchange, exchangeOf, openExchange } from '../../lib/http/exchange.ts'
import { pipeline } from '../../lib/http/pipeline.ts'
import { assertSameWire, bytesFor, type Handler, start, twice, Watch } from './wire.ts'

type AnyWriteHead = (...args: unknown[]) => ServerResponse

/** A wrapper of `writeHead` as on-headers up to 1.0 makes it: arrays are read as pairs, and headers become `setHeader` calls. */
function onHeadersOfOld(res: ServerResponse, listener: (res: ServerResponse) => void): void {
  const writeHead = res.writeHead as AnyWriteHead
  let fired = false
  res.writeHead = function (this: ServerResponse, ...args: unknown[]) {
    const headers = args.length > 1 && typeof args[1] === 'string' ? args[2] : args[1]
    if (Array.isArray(headers)) for (const [name, value] of headers) if (name) res.setHeader(name, value)
    if (headers !== undefined && headers !== null && !Array.isArray(headers)) {
      for (const [name, value] of Object.entries(headers as Record<string, string>))
        res.setHeader(name, value)
    }
    if (!fired) {
      fired = true
      listener(res)
    }
    return writeHead.call(this, ...args.slice(0, typeof args[1] === 'string' ? 2 : 1))
  } as typeof res.writeHead
}

/** A wrapper of `write` and `end` that transforms the body, as compression does. */
function compressing(res: ServerResponse): void {
  const write = res.write.bind(res) as (chunk: Buffer) => boolean
  const end = res.end.bind(res) as () => void
  const gzip = createGzip()
  onHeadersOfOld(res, () => {
    res.removeHeader('Content-Length')
    res.setHeader('Content-Encoding', 'gzip')
    gzip.on('data', write)
    gzip.on('end', end)
  })
  const into = (chunk: unknown) => {
    if (!res.headersSent) res.writeHead(res.statusCode)
    return chunk === undefined ? undefined : gzip.write(chunk as string)
  }
  res.write = ((chunk: unknown) => into(chunk)) as typeof res.write
  res.end = ((chunk: unknown) => {
    into(chunk)
    gzip.end()
  }) as unknown as typeof res.end
}

/** The handler with `wrap` applied to the response before Ostiary sees it. */
async function behind(wrap: (res: ServerResponse) => void, handler: Handler): Promise<[string, string]> {
  const watch = new Watch()
  const inner = watch.over(handler, exchange => exchange.setHeader('X-Ostiary', 'here'))
  const answers: string[] = []
  for (const app of [handler, inner]) {
    const server = await start((req, res) => {
      wrap(res)
      return app(req, res)
    })
    answers.push(await bytesFor(server.port, twice()))
    await server.stop()
  }
  assert.deepEqual(
    (await watch.ended(2)).map(({ statusCode, outcome }) => ({ statusCode, outcome })),
    Array(2).fill({ statusCode: 201, outcome: 'completed' })
  )
  assert.equal(answers[1].match(/^X-Ostiary: here\r\n/gim)?.length, 2, 'own header lines')
  return [answers[0], answers[1].replace(/^X-Ostiary: here\r\n/gim, '')]
}

describe('other wrappers of the response', () => {
  const stamp = (res: ServerResponse) => onHeadersOfOld(res, seen => seen.setHeader('X-Stamp', '1'))
  const handlers: Record<string, Handler> = {
    'implicit head': (_req, res) => {
      res.statusCode = 201
      res.end('x')
    },
    'writeHead(code)': (_req, res) => res.writeHead(201).end('x'),
    'writeHead(code, object)': (_req, res) => res.writeHead(201, { 'X-A': '1' }).end('x'),
    'writeHead(code, reason, object)': (_req, res) => res.writeHead(201, 'Made', { 'X-A': '1' }).end('x')
  }
  for (const [name, handler] of Object.entries(handlers)) {
    test(`one that was there before, ${name}`, async () => {
      const [bare, watched] = await behind(stamp, handler)
      assert.equal(watched, bare)
    })
    test(`one that came after, ${name}`, () =>
      assertSameWire({
        handler(req, res) {
          stamp(res)
          return handler(req, res)
        }
      }))
    test(`a compressing one before, ${name}`, async () => {
      const [bare, watched] = await behind(compressing, handler)
      assert.equal(watched, bare)
    })
    test(`a compressing one after, ${name}`, () =>
      assertSameWire({
        handler(req, res) {
          compressing(res)
          return handler(req, res)
        }
      }))
  }
})

test('what is mounted twice is hooked once and ends once', async () => {
  let runs = 0
  const ends: Exchange[] = []
  const counted = pipeline((req, _res, next) => {
    runs++
    exchangeOf(req).onEnd(exchange => ends.push(exchange))
    next()
  })
  const server = await start(counted.wrap(counted.wrap((_req, res) => res.end('x'))))
  await bytesFor(server.port, twice())
  await server.stop()
  assert.equal(runs, 2)
  assert.equal(ends.length, 2)
})

describe('a response that has an exchange already', () => {
  test('under another request keeps it while it is open', async () => {
    const watch = new Watch()
    const seen = new Set<Exchange>()
    const app = watch.over((req, res) => {
      seen.add(exchangeOf(req))
      // As adapters do: the same exchange, another object.
      const adapted = Object.assign(new IncomingMessage(req.socket), { url: '/adapted', method: 'GET' })
      adapted.httpVersionMajor = 1
      seen.add(openExchange(adapted, res))
      seen.add(exchangeOf(adapted))
      res.writeHead(201).end('x')
    })
    const server = await start(app)
    assert.match(await bytesFor(server.port, twice()), /^HTTP\/1\.1 201 /)
    await server.stop()
    assert.equal(seen.size, 2, 'one for each of two requests')
    assert.equal(watch.sightings.length, 2)
  })

  test('gets a new one when it is used again', () => {
    const socket = new EventEmitter() as Socket
    const res = new ServerResponse(new IncomingMessage(socket))
    const first = openExchange(new IncomingMessage(socket), res)
    res.emit('close')
    const second = openExchange(new IncomingMessage(socket), res)
    res.writeHead(204)
    assert.notEqual(second, first)
    assert.deepEqual([first.statusCode, second.statusCode], [0, 204])
  })
})

describe('requests without a socket of their own', () => {
  test('injected by light-my-request', async () => {
    const watch = new Watch()
    const app = watch.over(
      (req, res) => res.writeHead(201).end(exchangeOf(req as IncomingMessage).clientAddress),
      exchange => exchange.setHeader('X-Ostiary', 'here')
    )
    const response = await lightMyRequest(app as never, {
      method: 'GET',
      url: '/a?b=c',
      remoteAddress: '192.0.2.7'
    })
    assert.equal(response.statusCode, 201)
    assert.equal(response.headers['x-ostiary'], 'here')
    assert.equal(response.body, '192.0.2.7')
    assert.deepEqual(await watch.ended(1), [{ path: '/a', statusCode: 201, outcome: 'completed', ends: 1 }])
  })

  const sockets: Record<string, unknown> = {
    'no socket': undefined,
    'null for a socket': null,
    'an empty object': {},
    'an emitter': new EventEmitter(),
    'a socket that was never connected': new Socket()
  }
  for (const [name, socket] of Object.entries(sockets)) {
    test(name, () => {
      const req = new IncomingMessage(socket as Socket)
      const res = new ServerResponse(req)
      const exchange = openExchange(req, res)
      assert.equal(exchange.clientAddress, undefined)
      assert.equal(exchange.clientAddressKey, undefined)
      let ends = 0
      exchange.onEnd(() => ends++)
      res.writeHead(204)
      res.emit('close')
      if (!(socket instanceof Socket)) assert.equal(ends, 1)
      assert.equal(exchange.statusCode, 204)
    })
  }
})

test('a connection that is no network socket', async () => {
  const watch = new Watch()
  const server = createServer(watch.over((_req, res) => res.end('x')) as RequestListener)
  const [ours, theirs] = channel()
  server.emit('connection', ours)
  theirs.setEncoding('latin1')
  theirs.write('GET /a HTTP/1.1\r\nHost: x\r\n\r\n')
  const [answer] = await once(theirs, 'data')
  assert.match(answer, /^HTTP\/1\.1 200 /)
  assert.deepEqual(await watch.ended(1), [{ path: '/a', statusCode: 200, outcome: 'completed', ends: 1 }])
  theirs.destroy()
})

test('a connection that is no network socket and goes away', async () => {
  const watch = new Watch()
  const server = createServer(watch.over((_req, res) => res.write('x')) as RequestListener)
  const [ours, theirs] = channel()
  server.emit('connection', ours)
  theirs.write('GET /a HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(theirs, 'data')
  theirs.destroy()
  ours.destroy()
  assert.deepEqual(await watch.ended(1), [{ path: '/a', statusCode: 200, outcome: 'aborted', ends: 1 }])
})

/** Two ends of a connection in memory. */
function channel(): [Duplex, Duplex] {
  const end = (other: () => Duplex) =>
    new Duplex({
      read() {},
      write(chunk, _encoding, callback) {
        other().push(chunk)
        callback()
      }
    })
  const ours: Duplex = end(() => theirs)
  const theirs: Duplex = end(() => ours)
  return [ours, theirs]
}
