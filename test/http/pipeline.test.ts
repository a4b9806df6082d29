import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as immediately, setTimeout as sleep } from 'node:timers/promises'
import { currentExchange } from '../../lib/http/async-context.ts'
import { ClientAddress } from '../../lib/http/client-address.ts'
import { type Exchange, exchangeOf } from '../../lib/http/exchange.ts'
import { PathFilter } from '../../lib/http/path-filter.ts'
import {
  composed,
  type Middleware,
  type PipelineContext,
  pipeline,
  type Stage,
  stageMiddleware
} from '../../lib/http/pipeline.ts'
import { refuse } from '../../lib/http/problem.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { bytesFor, type Handler, start, until } from './wire.ts'

const once = 'GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
const quiet = () => new Reporter({ onReport: () => {} })

function stage(name: string, enter: Stage['enter']): Stage {
  return { name, enter }
}

const go = stage('go', () => true)
const goLater = stage('go later', async () => true)
const stop = stage('stop', exchange => refuse(exchange, 'stop', 'no', { status: 403 }))
const stopLater = stage('stop later', async exchange => refuse(exchange, 'stop', 'no', { status: 403 }))
const fault = stage('fault', () => {
  throw new Error('secret')
})
const faultLater = stage('fault later', async () => {
  throw new Error('secret')
})
const faultOfNothing = stage('fault of nothing', () => {
  throw undefined
})
const teapot = stage('teapot', () => {
  throw Object.assign(new Error('secret'), { statusCode: 418 })
})
const wrongAnswer = stage('wrong', () => 'yes' as unknown as boolean)

async function statusOf(handler: Handler, request = once): Promise<{ status: number; bytes: string }> {
  const server = await start(handler)
  const bytes = await bytesFor(server.port, request)
  await server.stop()
  return { status: Number(bytes.slice(9, 12)), bytes }
}

describe('stages', () => {
  const table: [string, (Stage | Middleware)[], number][] = [
    ['none', [], 200],
    ['one that goes on', [go], 200],
    ['several that go on, at once and later', [go, goLater, go, goLater], 200],
    ['one that refuses', [go, stop, fault], 403],
    ['one that refuses later', [goLater, stopLater, fault], 403],
    ['one that throws', [fault], 500],
    ['one that rejects', [faultLater], 500],
    ['one that throws nothing', [faultOfNothing], 500],
    ['one that throws a status', [teapot], 418],
    ['one that answers neither', [wrongAnswer], 500],
    ['middleware that goes on', [(_req, _res, next) => next()], 200],
    ['middleware that goes on with null', [(_req, _res, next) => next(null)], 200],
    ['middleware that goes on later', [(_req, _res, next) => setImmediate(next)], 200],
    ['middleware that goes on twice', [(_req, _res, next) => [next(), next()]], 200],
    ['middleware that fails', [(_req, _res, next) => next(new Error('secret'))], 500],
    ['middleware that answers', [(_req, res) => res.writeHead(202).end()], 202],
    [
      'middleware that throws',
      [
        () => {
          throw new Error('secret')
        }
      ],
      500
    ],
    [
      'middleware that rejects',
      [
        (async () => {
          throw new Error('secret')
        }) as Middleware
      ],
      500
    ],
    [
      'middleware that goes on and throws',
      [
        (_req, _res, next) => {
          next()
          throw new Error('secret')
        }
      ],
      200
    ]
  ]
  for (const [name, steps, expected] of table) {
    test(`${name}, in front of a handler`, async () => {
      let calls = 0
      const { status, bytes } = await statusOf(
        composed(steps, { reporter: quiet() }).wrap((_req, res) => {
          calls++
          res.end('x')
        })
      )
      assert.equal(status, expected)
      assert.equal(calls, expected === 200 ? 1 : 0)
      assert.ok(!bytes.includes('secret'), 'the answer tells nothing')
    })

    test(`${name}, in a stack`, async () => {
      const errors: unknown[] = []
      let calls = 0
      const app = composed(steps, { reporter: quiet() })
      const { status } = await statusOf((req, res) =>
        app(req, res, error => {
          calls++
          if (error !== undefined) errors.push(error)
          const named = (error as { statusCode?: number } | undefined)?.statusCode
          res.writeHead(error === undefined ? 200 : (named ?? 500)).end()
        })
      )
      assert.equal(status, expected)
      const passedOn = expected !== 403 && expected !== 202
      assert.equal(calls, passedOn ? 1 : 0)
      assert.equal(errors.length, passedOn && expected !== 200 ? 1 : 0)
    })
  }
})

test('what middleware throws after it went on is counted', async () => {
  const reporter = quiet()
  const app = composed(
    [
      (_req, _res, next) => {
        next()
        throw new Error('late')
      }
    ],
    { reporter }
  )
  await statusOf(app.wrap((_req, res) => res.end()))
  assert.equal(reporter.counts.get('middleware_after_next'), 1)
})

test("what a stack's own next throws stays the stack's", async () => {
  const app = composed([(_req, _res, next) => next()])
  const { status } = await statusOf((req, res) => {
    try {
      app(req, res, () => {
        throw new Error('from the stack')
      })
    } catch (error) {
      assert.equal((error as Error).message, 'from the stack')
      res.writeHead(599).end()
    }
  })
  assert.equal(status, 599)
})

test('a client that leaves while a stage decides is not served', async () => {
  let decide: (passed: boolean) => void = () => {}
  let calls = 0
  let left: () => void = () => {}
  const gone = new Promise<void>(resolve => {
    left = resolve
  })
  const app = composed([
    stage('slow', exchange => {
      exchange.onEnd(left)
      exchange.req.socket.destroy()
      return new Promise(resolve => {
        decide = resolve
      })
    })
  ])
  const server = await start(app.wrap(() => calls++))
  await bytesFor(server.port, once)
  await gone
  decide(true)
  await immediately()
  await server.stop()
  assert.equal(calls, 0)
})

describe('a handler that stops because its client left', () => {
  const waits: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
    'by the reason of the signal': signal =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    'by an error around it': signal => sleep(1_000_000, undefined, { signal }),
    'before it began': async signal => {
      await new Promise(resolve => signal.addEventListener('abort', resolve))
      await immediately()
      signal.throwIfAborted()
    }
  }
  for (const [name, wait] of Object.entries(waits)) {
    test(`${name}, is at no fault`, async () => {
      const reporter = quiet()
      let stopped: () => void = () => {}
      const over = new Promise<void>(resolve => {
        stopped = resolve
      })
      const app = composed([], { reporter }).wrap(async (req, _res) => {
        const { signal } = exchangeOf(req)
        setTimeout(() => req.socket.destroy(), 5)
        try {
          await wait(signal)
        } finally {
          setImmediate(stopped)
        }
      })
      const server = await start(app)
      await bytesFor(server.port, once)
      await over
      await server.stop()
      assert.equal(reporter.counts.size, 0)
    })
  }
})

test('the pipeline steps aside on skipped paths, mounted pipelines share the exchange', async () => {
  const seen: Exchange[] = []
  const app = composed([stop], { skip: new PathFilter({ exact: ['/a'] }) })
  const { status } = await statusOf(
    app.wrap(
      pipeline(stageMiddleware(go)).wrap((req, res) => {
        seen.push(exchangeOf(req))
        res.end()
      })
    )
  )
  assert.equal(status, 200)
  assert.equal(seen.length, 1)
})

test('one part of a context leaves the others at their defaults', async () => {
  const contexts: PipelineContext[] = [
    { clientAddress: new ClientAddress({ trustProxy: 1 }) },
    { reporter: quiet() }
  ]
  const addresses: unknown[] = []
  for (const context of contexts) {
    const app = composed([], context).wrap((req, res) => {
      addresses.push(exchangeOf(req).clientAddress)
      res.end()
    })
    await statusOf(app, once.replace('Host', 'X-Forwarded-For: 192.0.2.1\r\nHost'))
  }
  assert.deepEqual(addresses, ['192.0.2.1', '127.0.0.1'])
})

test('a listener that throws reaches neither the handler nor another listener', async () => {
  const reporter = quiet()
  let heard = 0
  const loud = () => {
    throw new Error('a listener')
  }
  const app = composed(
    [
      stage('listen', exchange => {
        exchange.onHead(loud)
        exchange.onHead(() => heard++)
        exchange.onEnd(loud)
        exchange.onEnd(() => heard++)
        return true
      })
    ],
    { reporter }
  )
  const { status } = await statusOf(app.wrap((_req, res) => res.end()))
  assert.equal(status, 200)
  assert.equal(heard, 2)
  assert.equal(reporter.counts.get('exchange_listener'), 2)
})

test('an asynchronous listener that rejects is counted, and no unhandled rejection', async () => {
  const reporter = quiet()
  const later = async () => {
    throw new Error('a listener')
  }
  const app = composed(
    [
      stage('listen', exchange => {
        exchange.onHead(later)
        exchange.onEnd(later)
        return true
      })
    ],
    { reporter }
  )
  const { status } = await statusOf(app.wrap((_req, res) => res.end()))
  assert.equal(status, 200)
  while (reporter.counts.get('exchange_listener') !== 2) await immediately()
})

describe('wrong arguments are named', () => {
  const table: [string, () => unknown, RegExp][] = [
    ['pipeline', () => pipeline(7 as never), /pipeline: middleware must be a function, got 7/],
    ['wrap', () => pipeline().wrap(undefined as never), /wrap: handler must be a function, got undefined/],
    ['upgrade', () => pipeline().upgrade({} as never), /upgrade: handler must be a function, got \[object/]
  ]
  for (const [name, make, message] of table) {
    test(name, () => assert.throws(make, { name: 'TypeError', message }))
  }

  test('exchangeOf', async () => {
    await statusOf((req, res) => {
      assert.throws(() => exchangeOf(req), /no Ostiary middleware has seen this request/)
      res.end()
    })
  })
})

describe('currentExchange', () => {
  test('is found anywhere below the handler, one for each request', async () => {
    const below = async (path: string) => {
      await immediately()
      await new Promise(resolve => setTimeout(resolve, 5))
      assert.equal(currentExchange()?.path, path)
    }
    const app = composed([goLater], { asyncContext: true }).wrap(async (req, res) => {
      await Promise.all([below(exchangeOf(req).path), below(exchangeOf(req).path)])
      res.end()
    })
    const server = await start(app)
    const answers = await Promise.all(
      ['/a', '/b', '/c'].map(path => bytesFor(server.port, once.replace('/a', path)))
    )
    await server.stop()
    for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 200/)
    assert.equal(currentExchange(), undefined)
  })

  test('is found in a stack', async () => {
    const app = composed([], { asyncContext: true })
    const { status } = await statusOf((req, res) =>
      app(req, res, () =>
        setImmediate(() => res.writeHead(currentExchange() === undefined ? 500 : 204).end())
      )
    )
    assert.equal(status, 204)
  })

  test('is gone when the exchange has ended, so that nothing keeps it alive', async () => {
    const later: unknown[] = []
    let end: () => void = () => {}
    const over = new Promise<void>(resolve => {
      end = resolve
    })
    const app = composed([], { asyncContext: true }).wrap((req, res) => {
      exchangeOf(req).onEnd(() => setImmediate(() => later.push(currentExchange())))
      // Started in the request's context, and there when it has ended.
      void over.then(() => later.push(currentExchange()))
      res.end()
    })
    await statusOf(app)
    end()
    await until(() => later.length === 2)
    assert.deepEqual(later, [undefined, undefined])
  })

  test('is off by default', async () => {
    let seen: unknown = 'unset'
    await statusOf(
      composed([]).wrap((_req, res) => {
        seen = currentExchange()
        res.end()
      })
    )
    assert.equal(seen, undefined)
  })
})

describe('path', () => {
  const table: [string, string][] = [
    ['/a?b', '/a'],
    ['/?', '/'],
    ['//', '//'],
    ['//a/b', '//a/b'],
    ['*', '*'],
    ['http://host', '/'],
    ['http://host?q', '/'],
    ['http://host/x?q', '/x'],
    ['http://user:secret@host/x', '/x'],
    ['HTTP://host:80/x', '/x'],
    ['/%2e%2e/%41', '/%2e%2e/%41'],
    ['/http://host/x', '/http://host/x']
  ]
  for (const [target, path] of table) {
    test(`${target} is ${path}`, async () => {
      let seen: string | undefined
      const request = `${target === '*' ? 'OPTIONS' : 'GET'} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`
      const { status } = await statusOf(
        pipeline().wrap((req, res) => {
          seen = exchangeOf(req).path
          res.end()
        }),
        request
      )
      assert.equal(status, 200)
      assert.equal(seen, path)
    })
  }
})
