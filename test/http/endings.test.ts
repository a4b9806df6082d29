import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { type Exchange, openExchange } from '../../lib/http/exchange.ts'
import { type Handler, type Sighting, start, until, Watch } from './wire.ts'

const get = 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n'
const post = (length: number) => `POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`

/** Connects a client that counts nothing and survives resets. */
function client(port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  return socket
}

/** More than the buffers of both sockets hold, however the system was tuned. The pages are never written to, and cost nothing. */
const endless = 256_000_000

interface Ending {
  handler: Handler
  /** Talks to the server until the exchanges are bound to end. */
  talk(socket: Socket, watch: Watch): Promise<unknown> | unknown
  expected: Omit<Sighting, 'path' | 'ends'>[]
}

/** Pairs of a handler and a client, and how their exchanges end: each exactly once. */
const endings: Record<string, Ending> = {
  'the client leaves before the head': {
    handler: () => {},
    async talk(socket, watch) {
      socket.write(get)
      await watch.opened(1)
      socket.destroy()
    },
    expected: [{ statusCode: 0, outcome: 'aborted' }]
  },
  'the client leaves before the head, the handler answers all the same': (() => {
    let answered = false
    return {
      handler: (req, res) => {
        req.on('aborted', () =>
          setImmediate(() => {
            res.writeHead(200).end('late')
            answered = true
          })
        )
      },
      async talk(socket, watch) {
        socket.write(get)
        await watch.opened(1)
        socket.destroy()
        await until(() => answered)
      },
      expected: [{ statusCode: 0, outcome: 'aborted' }]
    }
  })(),
  'the client leaves in the body': {
    handler: (_req, res) => res.writeHead(206).write('part'),
    async talk(socket) {
      socket.write(get)
      await once(socket, 'data')
      socket.destroy()
    },
    expected: [{ statusCode: 206, outcome: 'aborted' }]
  },
  'the client resets in the body': {
    handler: (_req, res) => res.writeHead(206).write('part'),
    async talk(socket) {
      socket.write(get)
      await once(socket, 'data')
      socket.resetAndDestroy()
    },
    expected: [{ statusCode: 206, outcome: 'aborted' }]
  },
  'the client half-closes before the answer': {
    handler: () => {},
    talk: socket => socket.end(get),
    expected: [{ statusCode: 0, outcome: 'aborted' }]
  },
  'the client half-closes while it sends a body': {
    handler: req => req.resume(),
    talk: socket => socket.end(`${post(9)}abc`),
    expected: [{ statusCode: 0, outcome: 'aborted' }]
  },
  'a large body to a client that stopped reading and then leaves': {
    handler: (_req, res) => res.end(Buffer.alloc(endless)),
    async talk(socket) {
      socket.write(get)
      await once(socket, 'readable')
      setTimeout(() => socket.destroy(), 50)
    },
    expected: [{ statusCode: 200, outcome: 'aborted' }]
  },
  'a large body to a client that stopped reading and then resets': {
    handler: (_req, res) => res.end(Buffer.alloc(endless)),
    async talk(socket) {
      socket.write(get)
      await once(socket, 'readable')
      setTimeout(() => socket.resetAndDestroy(), 50)
    },
    expected: [{ statusCode: 200, outcome: 'aborted' }]
  },
  '30 MB to a client that reads on': {
    handler: (_req, res) => res.end(Buffer.alloc(30_000_000)),
    async talk(socket) {
      socket.write(get)
      await once(socket, 'readable')
      setTimeout(() => socket.resume(), 50)
    },
    expected: [{ statusCode: 200, outcome: 'completed' }]
  },
  'the client leaves as soon as it has read everything': {
    handler: (_req, res) => res.writeHead(200, { 'Content-Length': 2 }).end('ab'),
    async talk(socket) {
      socket.write(get)
      await once(socket, 'data')
      socket.resetAndDestroy()
    },
    expected: [{ statusCode: 200, outcome: 'completed' }]
  },
  'res.destroy() before the head': {
    handler: (_req, res) => res.destroy(),
    talk: socket => socket.write(get),
    expected: [{ statusCode: 0, outcome: 'aborted' }]
  },
  'res.destroy(error) in the body': {
    handler: (_req, res) => {
      res.write('part')
      setImmediate(() => res.destroy(new Error('broken')))
    },
    talk: socket => socket.write(get),
    expected: [{ statusCode: 200, outcome: 'failed' }]
  },
  'socket.destroy() in the body': {
    handler: (req, res) => {
      res.write('part')
      setImmediate(() => req.socket.destroy())
    },
    talk: socket => socket.write(get),
    expected: [{ statusCode: 200, outcome: 'aborted' }]
  },
  'the handler destroys the socket when its answer is finished': {
    handler: (req, res) => res.end('x', () => req.socket.destroy()),
    talk: socket => socket.write(get),
    expected: [{ statusCode: 200, outcome: 'completed' }]
  },
  'the handler throws before the head': {
    handler: () => {
      throw new Error('broken')
    },
    talk: socket => socket.write(get),
    expected: [{ statusCode: 500, outcome: 'completed' }]
  },
  'the handler rejects before the head': {
    handler: async () => {
      throw Object.assign(new Error('no such thing'), { statusCode: 404 })
    },
    talk: socket => socket.write(get),
    expected: [{ statusCode: 404, outcome: 'completed' }]
  },
  'the handler throws in the body': {
    handler: (_req, res) => {
      res.write('part')
      throw new Error('broken')
    },
    talk: socket => socket.write(get),
    expected: [{ statusCode: 200, outcome: 'failed' }]
  },
  'the handler throws after the end': {
    handler: (_req, res) => {
      res.end('whole')
      throw new Error('broken')
    },
    talk: socket => socket.write(get),
    expected: [{ statusCode: 200, outcome: 'completed' }]
  },
  'a request body is consumed long before the answer': {
    handler: (req, res) => {
      req.resume()
      req.on('close', () => setTimeout(() => res.writeHead(201).end('late'), 30))
    },
    talk: socket => socket.write(`${post(3)}abc`),
    expected: [{ statusCode: 201, outcome: 'completed' }]
  },
  'pipelined, the second answers first': {
    handler: (() => {
      let first: ServerResponse | undefined
      return (_req: IncomingMessage, res: ServerResponse) => {
        if (first === undefined) first = res
        else {
          res.writeHead(202).end('second')
          setImmediate(() => first?.writeHead(201).end('first'))
        }
      }
    })(),
    talk: socket => socket.write(get + get),
    expected: [
      { statusCode: 201, outcome: 'completed' },
      { statusCode: 202, outcome: 'completed' }
    ]
  },
  'pipelined, the client leaves while the first is pending': {
    handler: (() => {
      let seen = 0
      return (_req: IncomingMessage, res: ServerResponse) => {
        if (++seen === 2) res.writeHead(202).end('second')
      }
    })(),
    async talk(socket, watch) {
      socket.write(get + get + get)
      await watch.opened(3)
      socket.destroy()
    },
    expected: [
      { statusCode: 0, outcome: 'aborted' },
      { statusCode: 202, outcome: 'aborted' },
      { statusCode: 0, outcome: 'aborted' }
    ]
  },
  'strictly measured bodies: the handler is told, and nothing is sent': {
    handler: (_req, res) => {
      res.strictContentLength = true
      res.writeHead(200, { 'Content-Length': 9 })
      assert.throws(() => res.end('abc'), { code: 'ERR_HTTP_CONTENT_LENGTH_MISMATCH' })
      res.destroy()
    },
    talk: socket => socket.write(get),
    expected: [{ statusCode: 200, outcome: 'aborted' }]
  },
  'the answer comes in later ticks': {
    handler: (_req, res) => {
      setTimeout(() => {
        res.writeHead(200)
        setTimeout(() => res.end('x'), 10)
      }, 10)
    },
    talk: socket => socket.write(get),
    expected: [{ statusCode: 200, outcome: 'completed' }]
  }
}

describe('every way an exchange can end', () => {
  for (const [name, { handler, talk, expected }] of Object.entries(endings)) {
    test(name, async () => {
      const watch = new Watch()
      const server = await start(watch.over(handler))
      const socket = client(server.port)
      await talk(socket, watch)
      const sightings = await watch.ended(expected.length)
      // Whatever else the socket has to say has been said by now.
      socket.destroy()
      await server.stop()
      assert.deepEqual(
        sightings,
        expected.map(sighting => ({ path: '/a', ...sighting, ends: 1 }))
      )
    })
  }
})

test('the head and the end have a time each', async () => {
  const watch = new Watch()
  const times: number[] = []
  const server = await start(
    watch.over(
      (_req, res) => {
        res.flushHeaders()
        setTimeout(() => res.end(), 20)
      },
      exchange =>
        exchange.onEnd(({ startedAt, headAt, endedAt, durationMs }) => {
          assert.equal(durationMs, endedAt - startedAt)
          times.push(startedAt, headAt, endedAt)
        })
    )
  )
  client(server.port).write(get)
  await watch.ended(1)
  await server.stop()
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b)
  )
  assert.ok(times[1] < times[2], 'the head went out before the end')
})

test('a head that comes too late is not recorded', async () => {
  const watch = new Watch()
  let seen: Exchange | undefined
  let answered: () => void = () => {}
  const late = new Promise<void>(resolve => {
    answered = resolve
  })
  const server = await start(
    watch.over(
      (req, res) => {
        req.socket.on('close', () =>
          setImmediate(() => {
            res.writeHead(200).end('late')
            setImmediate(answered)
          })
        )
      },
      exchange => {
        seen = exchange
      }
    )
  )
  const socket = client(server.port)
  socket.write(get)
  await watch.opened(1)
  socket.destroy()
  await late
  await server.stop()
  assert.deepEqual([seen?.statusCode, seen?.headAt, seen?.outcome], [0, 0, 'aborted'])
})

test('an exchange that is opened after the end has ended', async () => {
  const watch = new Watch()
  const server = await start((req, res) => {
    res.end('x')
    res.on('finish', () => watch.add(openExchange(req, res)))
  })
  client(server.port).write(get)
  assert.deepEqual(await watch.ended(1), [{ path: '/a', statusCode: 200, outcome: 'completed', ends: 1 }])
  await server.stop()
})

test('an exchange that is opened when the client has gone has ended', async () => {
  const watch = new Watch()
  const socket: Socket[] = []
  const server = await start((req, res) => {
    req.socket.on('close', () => setImmediate(() => watch.add(openExchange(req, res))))
    socket[0].destroy()
  })
  socket.push(client(server.port))
  socket[0].write(get)
  assert.deepEqual(await watch.ended(1), [{ path: '/a', statusCode: 0, outcome: 'aborted', ends: 1 }])
  await server.stop()
})

describe('signal', () => {
  const ends: Record<string, { handler: Handler; leaves: boolean; aborted: boolean }> = {
    'stays quiet when the answer is complete': {
      handler: (_req, res) => res.end('x'),
      leaves: false,
      aborted: false
    },
    'fires when the client leaves': { handler: () => {}, leaves: true, aborted: true }
  }
  for (const [name, { handler, leaves, aborted }] of Object.entries(ends)) {
    test(name, async () => {
      const watch = new Watch()
      const signals: AbortSignal[] = []
      const server = await start(
        watch.over(handler, exchange => {
          signals.push(exchange.signal)
          assert.equal(exchange.signal, signals[0], 'one signal an exchange')
          exchange.onEnd(({ signal }) => assert.equal(signal.aborted, aborted))
        })
      )
      const socket = client(server.port)
      socket.write(get)
      await watch.opened(1)
      if (leaves) socket.destroy()
      await watch.ended(1)
      await server.stop()
      assert.equal(signals[0].aborted, aborted)
      assert.equal(signals[0].reason?.name, aborted ? 'AbortError' : undefined)
    })
  }

  test('has fired for whoever asks after the client left', async () => {
    const watch = new Watch()
    let late: AbortSignal | undefined
    const server = await start(
      watch.over(
        () => {},
        exchange =>
          exchange.onEnd(seen => {
            late = seen.signal
          })
      )
    )
    const socket = client(server.port)
    socket.write(get)
    await watch.opened(1)
    socket.destroy()
    await watch.ended(1)
    await server.stop()
    assert.equal(late?.aborted, true)
  })
})
