import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { inject } from 'light-my-request'
import { ClientAddress } from '../../lib/http/client-address.ts'
import { observeEnded } from '../../lib/http/ended-exchanges.ts'
import { type Exchange, openExchange } from '../../lib/http/exchange.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { converse, listen } from '../support/server.ts'

const ask = (path: string, close = false) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\n${close ? 'Connection: close\r\n' : ''}\r\n`

/** What a request handler does with its exchange; then it answers. */
async function answering(t: TestContext, see: (exchange: Exchange) => void): Promise<number> {
  const handler = (req: IncomingMessage, res: ServerResponse) => {
    see(openExchange(req, res))
    res.end(req.url)
  }
  return listen(t, createServer(handler))
}

test('an answered request is shown to its observers at the end of the turn, in their order', async t => {
  const seen: string[] = []
  const atEnd: string[][] = []
  const port = await answering(t, exchange => {
    exchange.onEndObserve(({ path, outcome }) => seen.push(`first ${path} ${outcome}`))
    exchange.onEndObserve(({ path, outcome }) => seen.push(`second ${path} ${outcome}`))
    exchange.onEnd(() => atEnd.push([...seen]))
  })
  await converse(port, ask('/a') + ask('/b', true))
  while (atEnd.length < 2) await turn()
  await turn()
  assert.deepEqual(atEnd[0], [])
  assert.deepEqual(seen, [
    ...['first /a completed', 'second /a completed'],
    ...['first /b completed', 'second /b completed']
  ])
})

test('more requests than may wait: each is shown once, in order', async t => {
  const paths = Array.from({ length: 1_000 }, (_, i) => `/${i}`)
  const seen: string[] = []
  const port = await answering(t, exchange => exchange.onEndObserve(({ path }) => seen.push(path)))
  await converse(port, paths.map((path, i) => ask(path, i === paths.length - 1)).join(''))
  while (seen.length < paths.length) await turn()
  await turn()
  assert.deepEqual(seen, paths)
})

test('whoever is about to read has them shown now; so may an observer, in the midst of them', async t => {
  const seen: string[] = []
  const atOnce: number[] = []
  const port = await answering(t, exchange => {
    exchange.onEndObserve(({ path }) => {
      if (path === '/0') observeEnded()
      seen.push(path)
    })
    exchange.onEnd(({ path }) => {
      if (path === '/3') atOnce.push(seen.length)
    })
    if (exchange.path === '/3') {
      exchange.res.on('finish', () => {
        observeEnded()
        atOnce.push(seen.length)
      })
    }
  })
  await converse(port, ask('/0') + ask('/1') + ask('/2') + ask('/3', true))
  while (atOnce.length < 2) await turn()
  await turn()
  assert.equal(atOnce[1], 4)
  assert.deepEqual([...seen].sort(), ['/0', '/1', '/2', '/3'])
})

test('what broke off is shown at once, after all that were answered before', async t => {
  const seen: string[] = []
  let seenAtOnce: string[] = []
  let leaving: Exchange | undefined
  const handler = (req: IncomingMessage, res: ServerResponse) => {
    const exchange = openExchange(req, res)
    exchange.onEndObserve(({ path, outcome }) => seen.push(`${path} ${outcome}`))
    if (req.url === '/left') {
      leaving = exchange
      return
    }
    // In the turn in which this one is answered.
    res.on('finish', () => {
      leaving?.end(false)
      seenAtOnce = [...seen]
    })
    res.end()
  }
  const port = await listen(t, createServer(handler))
  const client = connect(port, '127.0.0.1')
  client.write(ask('/left'))
  while (leaving === undefined) await turn()
  await converse(port, ask('/answered', true))
  assert.deepEqual(seenAtOnce, ['/answered completed', '/left aborted'])
  client.destroy()
  await once(client, 'close')
})

test('a request without a socket of its own is shown at once', async () => {
  const seen: string[] = []
  let atEnd = ''
  await inject(
    (req, res) => {
      const exchange = openExchange(req as IncomingMessage, res as ServerResponse)
      exchange.onEndObserve(({ outcome }) => seen.push(outcome))
      exchange.onEnd(() => process.nextTick(() => (atEnd = seen.join())))
      res.end()
    },
    { url: '/' }
  )
  await turn()
  assert.equal(atEnd, 'completed')
})

test('who comes when it has ended is shown it at once', async t => {
  const seen: string[] = []
  const port = await answering(t, exchange => {
    exchange.onEnd(ended => ended.onEndObserve(({ outcome }) => seen.push(outcome)))
  })
  await converse(port, ask('/', true))
  while (seen.length === 0) await turn()
  assert.deepEqual(seen, ['completed'])
})

test('an observer that fails is counted, and the others see the request', async t => {
  const reporter = new Reporter({ onReport: () => undefined })
  const seen: string[] = []
  const handler = (req: IncomingMessage, res: ServerResponse) => {
    const exchange = openExchange(req, res, { clientAddress: new ClientAddress(), reporter })
    exchange.onEndObserve(() => {
      throw new Error('observer')
    })
    exchange.onEndObserve(({ path }) => seen.push(path))
    res.end()
  }
  const port = await listen(t, createServer(handler))
  await converse(port, ask('/a') + ask('/b', true))
  while (seen.length < 2) await turn()
  assert.deepEqual(seen, ['/a', '/b'])
  assert.equal(reporter.counts.get('exchange_listener'), 2)
})

test('observers run in no request’s async context', async t => {
  const storage = new AsyncLocalStorage<string>()
  const stores: unknown[] = []
  const handler = (req: IncomingMessage, res: ServerResponse) => {
    storage.enterWith(req.url as string)
    openExchange(req, res).onEndObserve(() => stores.push(storage.getStore()))
    res.end()
  }
  const port = await listen(t, createServer(handler))
  await converse(port, ask('/a') + ask('/b', true))
  while (stores.length < 2) await turn()
  assert.deepEqual(stores, [undefined, undefined])
})
