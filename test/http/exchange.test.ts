import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Exchange } from '../../lib/http/exchange.ts'
import { bytesFor, type Handler, linesOf as headerLines, start, Watch } from './wire.ts'

const request = 'GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'

/** The head lines of one answer. */
async function headOf(handler: Handler, prepare: (exchange: Exchange) => void): Promise<string[]> {
  const watch = new Watch()
  const server = await start(watch.over(handler, prepare))
  const [head] = (await bytesFor(server.port, request)).split('\r\n\r\n')
  await watch.ended(1)
  await server.stop()
  return head.split('\r\n')
}

/** Lines that name the header, in any case. */
function linesOf(head: string[], name: string): string[] {
  return head.filter(line => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
}

describe("a header that the handler set itself is left alone, whatever the handler's shape", () => {
  const shapes: Record<string, Handler> = {
    setHeader: (_req, res) => {
      res.setHeader('ratelimit', 'theirs')
      res.end()
    },
    object: (_req, res) => res.writeHead(200, { ratelimit: 'theirs' }).end(),
    'object after setHeader': (_req, res) => {
      res.setHeader('X-A', '1')
      res.writeHead(200, { RATELIMIT: 'theirs' }).end()
    },
    'flat array': (_req, res) => res.writeHead(200, ['X-A', '1', 'ratelimit', 'theirs']).end(),
    'flat array after setHeader': (_req, res) => {
      res.setHeader('X-A', '1')
      res.writeHead(200, ['ratelimit', 'theirs']).end()
    },
    'array of pairs': (_req, res) =>
      res
        .writeHead(200, [
          ['X-A', '1'],
          ['ratelimit', 'theirs']
        ] as never)
        .end()
  }
  for (const [name, handler] of Object.entries(shapes)) {
    test(name, async () => {
      const head = await headOf(handler, exchange => {
        exchange.setHeader('RateLimit', 'ours')
        exchange.setHeader('X-Ours', 'too')
      })
      const lines = linesOf(head, 'ratelimit')
      assert.equal(lines.length, 1)
      assert.match(lines[0], /: theirs$/)
      assert.deepEqual(linesOf(head, 'x-ours'), ['X-Ours: too'])
    })
  }
})

describe('pending headers', () => {
  test('a second value of a name, in any case, replaces the first', async () => {
    const head = await headOf(
      (_req, res) => res.end(),
      exchange => {
        assert.equal(exchange.getHeader('RateLimit'), undefined)
        exchange.setHeader('RateLimit', 'one')
        exchange.setHeader('X-Other', 'other')
        exchange.setHeader('ratelimit', 'two')
        assert.equal(exchange.getHeader('RATELIMIT'), 'two')
        assert.equal(exchange.getHeader('X-None'), undefined)
      }
    )
    assert.deepEqual(linesOf(head, 'ratelimit'), ['RateLimit: two'])
  })

  test('as lines yield to the handler, join others, and can be replaced', async () => {
    const ours = headerLines('RateLimit', 'ours')
    const prepare: ((exchange: Exchange) => void)[] = [
      exchange => {
        exchange.setHeader('X-Other', 'other')
        exchange.setHeaderLines(ours)
        exchange.setHeader('x-OTHER', 'more')
        assert.equal(exchange.getHeader('X-Other'), 'more')
      },
      exchange => {
        exchange.setHeaderLines(ours)
        assert.equal(exchange.getHeader('ratelimit'), 'ours')
        exchange.setHeader('X-Other', 'more')
      },
      exchange => {
        exchange.setHeader('ratelimit', 'first')
        exchange.setHeaderLines(ours)
        exchange.setHeader('X-Other', 'more')
      },
      exchange => {
        exchange.setHeaderLines(headerLines('X-Other', 'more'))
        exchange.setHeaderLines(ours)
      }
    ]
    for (const way of prepare) {
      const alone = await headOf((_req, res) => res.end(), way)
      assert.deepEqual(linesOf(alone, 'ratelimit').length, 1)
      assert.match(linesOf(alone, 'ratelimit')[0], /: ours$/)
      assert.match(linesOf(alone, 'x-other').join(), /^x-other: more$/i)
      const beside = await headOf((_req, res) => res.writeHead(200, { RATELIMIT: 'theirs' }).end(), way)
      assert.deepEqual(linesOf(beside, 'ratelimit'), ['RATELIMIT: theirs'])
      assert.match(linesOf(beside, 'x-other').join(), /^x-other: more$/i)
    }
  })

  test('as lines stand once in a head that was tried twice', async () => {
    const head = await headOf(
      (_req, res) => {
        assert.throws(() => res.writeHead(200, { 'X A': '1' }))
        res.setHeader('X-A', '1')
        res.writeHead(200).end()
      },
      exchange => exchange.setHeaderLines(headerLines('RateLimit', 'ours'))
    )
    assert.deepEqual(linesOf(head, 'ratelimit'), ['RateLimit: ours'])
    assert.deepEqual(linesOf(head, 'x-a'), ['X-A: 1'])
  })

  test('as lines go through an own _storeHeader of the application', async () => {
    const head = await headOf(
      (_req, res) => {
        const stored = res as unknown as { _storeHeader(firstLine: string, headers: object): void }
        const { _storeHeader } = stored
        stored._storeHeader = function (firstLine, headers) {
          return _storeHeader.call(this, firstLine, { ...headers, 'X-Stored': '1' })
        }
        res.writeHead(200, { 'X-A': '1' }).end()
      },
      exchange => exchange.setHeaderLines(headerLines('RateLimit', 'ours'))
    )
    assert.deepEqual(linesOf(head, 'ratelimit'), ['RateLimit: ours'])
    assert.deepEqual(linesOf(head, 'x-stored'), ['X-Stored: 1'])
  })

  test('wait for the final head, past interim answers', async () => {
    const server = await start(
      new Watch().over(
        (_req, res) => {
          res.writeEarlyHints({ link: '</a.css>; rel=preload' })
          res.end()
        },
        exchange => exchange.setHeader('RateLimit', 'ours')
      )
    )
    const bytes = await bytesFor(server.port, request)
    await server.stop()
    const [hints, head] = bytes.split('\r\n\r\n')
    assert.match(hints, /^HTTP\/1\.1 103 /)
    assert.doesNotMatch(hints, /RateLimit/)
    assert.match(head, /RateLimit: ours/)
  })

  test('do not touch what the handler passed', async () => {
    const shared = { 'X-A': '1' }
    const pairs = [['X-A', '1']]
    for (const headers of [shared, pairs, ['X-A', '1']]) {
      const before = JSON.stringify(headers)
      const head = await headOf(
        (_req, res) => res.writeHead(200, headers as never).end(),
        exchange => exchange.setHeader('RateLimit', 'ours')
      )
      assert.equal(JSON.stringify(headers), before)
      assert.deepEqual(linesOf(head, 'x-a'), ['X-A: 1'])
    }
  })
})

describe('listeners', () => {
  test('of the head may use setHeader of the response, run once, and not after the head', async () => {
    const calls: string[] = []
    const head = await headOf(
      (_req, res) => {
        res.writeHead(200)
        assert.throws(() => res.writeHead(201))
        res.end()
      },
      exchange => {
        exchange.onHead(({ res, statusCode }) => {
          calls.push(`first ${statusCode}`)
          res.setHeader('X-Late', '1')
          exchange.onEnd(() => {
            exchange.onHead(() => calls.push('never'))
          })
        })
        exchange.onHead(() => calls.push('second'))
      }
    )
    assert.deepEqual(calls, ['first 0', 'second'])
    assert.deepEqual(linesOf(head, 'x-late'), ['X-Late: 1'])
  })

  test('of the end run in order, and at once when it is over', async () => {
    const calls: number[] = []
    let exchange: Exchange | undefined
    await headOf(
      (_req, res) => res.end(),
      seen => {
        exchange = seen
        for (const i of [1, 2, 3, 4, 5, 6]) seen.onEnd(() => calls.push(i))
      }
    )
    exchange?.onEnd(() => calls.push(7))
    assert.deepEqual(calls, [1, 2, 3, 4, 5, 6, 7])
  })
})

test('an owner enters once', async () => {
  await headOf(
    (_req, res) => res.end(),
    exchange => {
      const owners = [{}, {}, {}, {}]
      for (const owner of owners) assert.equal(exchange.enterOnce(owner), true)
      for (const owner of owners) assert.equal(exchange.enterOnce(owner), false)
    }
  )
})

test('state is a bag of its own for each exchange', async () => {
  const bags = new Set<unknown>()
  for (let i = 0; i < 2; i++) {
    await headOf(
      (_req, res) => res.end(),
      exchange => {
        exchange.state['order'] = i
        assert.equal(exchange.state['order'], i)
        bags.add(exchange.state)
      }
    )
  }
  assert.equal(bags.size, 2)
})

test('a second head after one past the hook is an error of the handler, and changes nothing', async () => {
  const watch = new Watch()
  const server = await start(
    watch.over(
      (_req, res) => {
        Object.getPrototypeOf(res).writeHead.call(res, 204)
        assert.throws(() => res.writeHead(500), { code: 'ERR_HTTP_HEADERS_SENT' })
        res.end()
      },
      exchange => exchange.setHeader('RateLimit', 'ours')
    )
  )
  assert.match(await bytesFor(server.port, request), /^HTTP\/1\.1 204 /)
  assert.equal((await watch.ended(1))[0].statusCode, 204)
  await server.stop()
})
