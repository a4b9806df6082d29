import assert from 'node:assert/strict'
import { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { describe, test } from 'node:test'
import { assertSameWire, type Handler, twice, type WireCase } from './wire.ts'

const done = (statusCode: number) => ({ statusCode, outcome: 'completed' as const })
const both = (statusCode: number) => [done(statusCode), done(statusCode)]

/** Says in the body that something was thrown, so that the comparison covers it. */
function telling(handler: Handler): Handler {
  return (req, res) => {
    try {
      handler(req, res)
    } catch (error) {
      if (res.headersSent) res.end()
      else {
        res.statusCode = 500
        res.end((error as Error).name)
      }
    }
  }
}

const shapes: Record<string, unknown> = {
  object: Object.freeze({ 'Content-Type': 'text/plain', 'Set-Cookie': Object.freeze(['a=1', 'b=2']) }),
  'object without prototype': Object.assign(Object.create(null), { 'X-A': '1' }),
  'flat array': Object.freeze(['Set-Cookie', 'a=1', 'Content-Type', 'text/plain', 'Set-Cookie', 'b=2']),
  'array of pairs': Object.freeze([
    Object.freeze(['Set-Cookie', 'a=1']),
    Object.freeze(['Set-Cookie', 'b=2']),
    Object.freeze(['X-A', '1'])
  ]),
  'empty object': Object.freeze({}),
  'empty array': Object.freeze([]),
  'odd array': Object.freeze(['X-A', '1', 'X-B']),
  'undefined value': Object.freeze({ 'X-A': undefined }),
  'invalid name': Object.freeze({ 'X A': '1' }),
  'invalid value': Object.freeze({ 'X-A': 'a\r\nb: c' })
}

const overloads: Record<string, (headers: unknown) => unknown[]> = {
  '(code, headers)': headers => [201, headers],
  '(code, reason, headers)': headers => [201, 'Made', headers],
  '(code, undefined, headers)': headers => [201, undefined, headers],
  '(code, null, headers)': headers => [201, null, headers],
  '(code, headers, undefined)': headers => [201, headers, undefined],
  '(code, headers, null)': headers => [201, headers, null]
}

const befores: Record<string, Handler> = {
  'on its own': () => {},
  'after setHeader': (_req, res) => res.setHeader('Set-Cookie', ['c=3', 'd=4']),
  'after setHeader and removeHeader': (_req, res) => {
    res.setHeader('X-Gone', '1')
    res.removeHeader('X-Gone')
  }
}

describe('writeHead overloads, byte for byte', () => {
  for (const [overload, args] of Object.entries(overloads)) {
    for (const [shape, headers] of Object.entries(shapes)) {
      for (const [before, prepare] of Object.entries(befores)) {
        test(`${overload}, ${shape}, ${before}`, async () => {
          await assertSameWire({
            handler: telling((req, res) => {
              prepare(req, res)
              ;(res.writeHead as (...rest: unknown[]) => unknown)(...args(headers))
              res.end('made')
            })
          })
        })
      }
    }
  }
})

const cases: Record<string, WireCase> = {
  'implicit head by end': { handler: (_req, res) => res.end('x'), expected: both(200) },
  'implicit head by an empty end': { handler: (_req, res) => res.end(), expected: both(200) },
  'implicit head by write': {
    handler: (_req, res) => {
      res.write('a')
      res.end('b')
    },
    expected: both(200)
  },
  'implicit head by flushHeaders': {
    handler: (_req, res) => {
      res.statusCode = 202
      res.flushHeaders()
      setImmediate(() => res.end('b'))
    },
    expected: both(202)
  },
  'implicit head by pipe': {
    handler: (_req, res) => Readable.from(['a', 'b', 'c']).pipe(res),
    expected: both(200)
  },
  'a status and a reason set beforehand': {
    handler: (_req, res) => {
      res.statusCode = 418
      res.statusMessage = 'Short and Stout'
      res.end()
    },
    expected: both(418)
  },
  'setHeader, appendHeader, setHeaders, removeHeader': {
    handler: (_req, res) => {
      res.setHeader('X-A', '1')
      res.appendHeader('Set-Cookie', 'a=1')
      res.appendHeader('Set-Cookie', 'b=2')
      res.setHeaders(new Map([['x-b', '2']]))
      res.removeHeader('X-A')
      res.end('x')
    },
    expected: both(200)
  },
  'no Date, no Connection header': {
    handler: (_req, res) => {
      res.sendDate = false
      res.removeHeader('Connection')
      res.end('x')
    },
    request: twice().replace(/^.*\r\n\r\n(?=GET)/s, ''),
    expected: [done(200)]
  },
  'statusCode changed after the head': {
    handler: (_req, res) => {
      res.writeHead(200)
      res.write('x')
      res.statusCode = 500
      res.end()
    },
    expected: both(200)
  },
  'a status given as a string': {
    handler: (_req, res) => res.writeHead('404' as unknown as number).end(),
    expected: both(404)
  },
  'an invalid status, then a good one': {
    handler: telling((_req, res) => res.writeHead(99)),
    expected: both(500)
  },
  'an invalid reason, then a good head': {
    handler: (_req, res) => {
      assert.throws(() => res.writeHead(200, 'a\nb'))
      res.statusMessage = 'OK'
      res.writeHead(503).end()
    },
    expected: both(503)
  },
  'writeHead twice': {
    handler: (_req, res) => {
      res.writeHead(200)
      assert.throws(() => res.writeHead(500), { code: 'ERR_HTTP_HEADERS_SENT' })
      res.end('x')
    },
    expected: both(200)
  },
  'writeHead taken from the response and called': {
    handler: (_req, res) => {
      const { writeHead } = res
      writeHead.call(res, 203, { 'X-A': '1' })
      res.end()
    },
    expected: both(203)
  },
  'writeHead bound': {
    handler: (_req, res) => {
      const head = res.writeHead.bind(res)
      head(203, ['X-A', '1']).end('x')
    },
    expected: both(203)
  },
  'writeHead of the prototype, past the hook': {
    handler: (_req, res) => {
      ServerResponse.prototype.writeHead.call(res, 207, { 'X-A': '1' })
      res.end('x')
    },
    expected: both(207),
    heads: 0
  },
  'a swapped prototype': {
    handler: (_req, res) => {
      Object.setPrototypeOf(res, Object.create(ServerResponse.prototype, { send: { value: res.end } }))
      res.writeHead(200, { 'X-A': '1' })
      ;(res as unknown as { send(body: string): void }).send('x')
    },
    expected: both(200)
  },
  'interim answers before the head': {
    handler: (_req, res) => {
      res.writeContinue()
      res.writeProcessing()
      res.writeEarlyHints({ link: '</a.css>; rel=preload' })
      res.end('x')
    },
    expected: both(200)
  },
  'an interim status as the final one': {
    handler: (_req, res) => {
      res.writeHead(103)
      res.end()
    },
    request: twice().replace(/^.*\r\n\r\n(?=GET)/s, ''),
    expected: [{ statusCode: 0, outcome: 'completed' }]
  },
  'Expect: 100-continue': {
    handler: (req, res) => {
      req.resume().on('end', () => res.end('x'))
    },
    request:
      'POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab',
    expected: [done(200)]
  },
  'HEAD with a body': {
    handler: (_req, res) => res.writeHead(200, { 'Content-Length': 3 }).end('abc'),
    request: twice('HEAD'),
    expected: both(200)
  },
  'HEAD with an implicit head': {
    handler: (_req, res) => res.end('abc'),
    request: twice('HEAD'),
    expected: both(200)
  },
  '204 with a body': { handler: (_req, res) => res.writeHead(204).end('abc'), expected: both(204) },
  '304 with a body': {
    handler: (_req, res) => res.writeHead(304, { ETag: '"a"' }).end('abc'),
    expected: both(304)
  },
  'chunks and trailers': {
    handler: (_req, res) => {
      res.writeHead(200, { Trailer: 'X-Sum' })
      res.write('abc')
      res.addTrailers({ 'X-Sum': '3' })
      res.end()
    },
    expected: both(200)
  },
  'a body longer than its Content-Length says is what the handler wrote': {
    handler: (_req, res) => res.writeHead(200, { 'Content-Length': 2 }).end('abc'),
    request: twice().replace(/^.*\r\n\r\n(?=GET)/s, ''),
    expected: [done(200)]
  },
  'a body shorter than its Content-Length': {
    handler: (_req, res) => res.writeHead(200, { 'Content-Length': 9 }).end('abc'),
    request: twice().replace(/^.*\r\n\r\n(?=GET)/s, ''),
    expected: [done(200)]
  },
  'HTTP/1.0': {
    handler: (_req, res) => res.end('x'),
    request: 'GET / HTTP/1.0\r\n\r\n',
    expected: [done(200)]
  },
  'a request line that claims to be http/2': {
    handler: (_req, res) => res.writeHead(200, { 'X-A': '1' }).end('x'),
    request: 'GET / HTTP/2.0\r\nHost: x\r\nConnection: close\r\n\r\n'
  },
  'an Upgrade header that nobody listens for': {
    handler: (_req, res) => res.end('x'),
    request: 'GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n',
    expected: [done(200)]
  }
}

describe('heads, byte for byte', () => {
  for (const [name, wireCase] of Object.entries(cases)) test(name, () => assertSameWire(wireCase))
})
