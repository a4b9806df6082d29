import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import type { Identity } from '../../lib/http/exchange.ts'
import { type Middleware, pipeline, type Stage, stageMiddleware } from '../../lib/http/pipeline.ts'
import { refuse } from '../../lib/http/problem.ts'
import {
  type FailedAttemptLimitOptions,
  failedAttemptLimit
} from '../../lib/rate-limit/failed-attempt-limit.ts'
import { listen } from '../support/server.ts'

const turn = () => new Promise(resolve => setImmediate(resolve))

/** Takes a while, as the verification of a signature does: until all are there who are to come. Knows one token. */
function authentication(tried: string[], allThere = () => true): Stage {
  return {
    name: 'authentication',
    async enter(exchange) {
      const token = String(exchange.req.headers.authorization)
      tried.push(token)
      do await turn()
      while (!allThere())
      if (token !== 'Bearer right')
        return refuse(exchange, 'authentication', 'invalid_token', { status: 401 })
      exchange.user = { key: 'user:a' } as Identity
      return true
    }
  }
}

test('a hundred guesses at once: no more are tried than the limit, and the rest is told when', async t => {
  const tried: string[] = []
  const limit = failedAttemptLimit({ maxRequests: 5, windowSeconds: 60, clock: () => 0 })
  let come = 0
  const counted: Middleware = (_req, _res, next) => {
    come++
    next()
  }
  const authenticated = stageMiddleware(authentication(tried, () => come >= 100))
  const stages = pipeline(counted, limit, authenticated, limit.passed)
  const url = `http://127.0.0.1:${await listen(t, createServer(stages.wrap((_req, res) => res.end('ok'))))}`
  const guess = async (i: number) => {
    const response = await fetch(url, { headers: { authorization: `Bearer wrong-${i}` } })
    return [response.status, response.headers.get('retry-after')]
  }
  const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => guess(i)))
  assert.equal(tried.length, 5)
  assert.equal(answers.filter(([status]) => status === 401).length, 5)
  assert.ok(answers.every(([status, after]) => status === 401 || (status === 429 && after === '60')))
  assert.deepEqual(limit.stage.stats, { failed: 5, refused: 95, waiting: 0 })
  const right = await fetch(url, { headers: { authorization: 'Bearer right' } })
  assert.equal(right.status, 429, 'the address is shut out, whatever it brings')
})

test('who is right is never limited, one after the other or while a response goes on', async t => {
  let now = 0
  const tried: string[] = []
  const open: ServerResponse[] = []
  const limit = failedAttemptLimit({ maxRequests: 2, windowSeconds: 60, clock: () => now })
  for (const stages of [
    pipeline(limit, stageMiddleware(authentication(tried)), limit.passed),
    pipeline(limit, stageMiddleware(authentication(tried)))
  ]) {
    const handler = stages.wrap((_req, res) => {
      res.writeHead(200).write('on and on')
      open.push(res)
    })
    const url = `http://127.0.0.1:${await listen(t, createServer(handler))}`
    for (let i = 0; i < 6; i++) {
      assert.equal((await fetch(url, { headers: { authorization: 'Bearer right' } })).status, 200)
    }
    assert.equal((await fetch(url, { headers: { authorization: 'Bearer wrong' } })).status, 401)
    now += 60_000
  }
  for (const res of open) res.end()
  assert.equal(limit.stage.stats.refused, 0)
})

test('fifty right ones at once wait for each other, and none is refused, then or later', async t => {
  const tried: string[] = []
  const limit = failedAttemptLimit({ maxRequests: 5, windowSeconds: 60 })
  let mostWaiting = 0
  const allThere = () => {
    mostWaiting = Math.max(mostWaiting, limit.stage.stats.waiting)
    return mostWaiting === 45
  }
  const stages = pipeline(limit, stageMiddleware(authentication(tried, allThere)), limit.passed)
  const url = `http://127.0.0.1:${await listen(t, createServer(stages.wrap((_req, res) => res.end('ok'))))}`
  const ask = async (token: string) =>
    (await fetch(url, { headers: { authorization: `Bearer ${token}` } })).status
  const mixed = Array.from({ length: 50 }, (_, i) => ask(i % 25 === 7 ? 'wrong' : 'right'))
  const statuses = await Promise.all(mixed)
  assert.equal(statuses.filter(status => status === 200).length, 48)
  assert.equal(statuses.filter(status => status === 401).length, 2)
  assert.equal(await ask('right'), 200)
  assert.deepEqual(limit.stage.stats, { failed: 2, refused: 0, waiting: 0 })
})

test('who leaves while waiting is not tried', async t => {
  const open: ServerResponse[] = []
  const limit = failedAttemptLimit({ maxRequests: 1, windowSeconds: 60 })
  const handler = limit.wrap((_req, res) => {
    open.push(res)
  })
  const port = await listen(t, createServer(handler))
  const url = `http://127.0.0.1:${port}`
  const first = fetch(url)
  while (open.length === 0) await turn()
  const socket = connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  while (limit.stage.stats.waiting === 0) await turn()
  socket.destroy()
  while (limit.stage.stats.waiting === 1) await turn()
  const last = fetch(url)
  while (limit.stage.stats.waiting === 0) await turn()
  open[0].end()
  assert.equal((await first).status, 200)
  while (open.length === 1) await turn()
  open[1].end()
  assert.equal((await last).status, 200)
  assert.equal(open.length, 2)
})

test('without authentication in between, the status decides: a login', async t => {
  let status = 200
  const limit = failedAttemptLimit({
    maxRequests: 2,
    windowSeconds: 60,
    identifier: req => `login:${req.headers['u']}`
  })
  const url = `http://127.0.0.1:${await listen(t, createServer(limit.wrap((_req, res) => res.writeHead(status).end())))}`
  const as = async (u: string) => (await fetch(url, { headers: { u } })).status
  for (let i = 0; i < 4; i++) assert.equal(await as('a'), 200)
  status = 404
  for (let i = 0; i < 4; i++) assert.equal(await as('a'), 404)
  status = 401
  assert.deepEqual([await as('a'), await as('a'), await as('a'), await as('b')], [401, 401, 429, 401])
})

test('who hangs up before the answer has had the attempt all the same', async t => {
  let reached = 0
  const limit = failedAttemptLimit({ maxRequests: 3, windowSeconds: 60 })
  const port = await listen(
    t,
    createServer(
      limit.wrap(() => {
        reached++
      })
    )
  )
  for (let i = 0; i < 6; i++) {
    const socket = connect(port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    const before = reached + limit.stage.stats.refused
    while (reached + limit.stage.stats.refused === before) await turn()
    socket.destroy()
    await once(socket, 'close')
  }
  assert.equal(reached, 3)
  assert.equal(limit.stage.stats.refused, 3)
})

test('options are checked', () => {
  for (const [options, message] of [
    [
      { maxRequests: 0, windowSeconds: 1 },
      /^failedAttemptLimit: maxRequests must be a positive integer, got 0$/
    ],
    [{ maxRequests: 1, windowSeconds: 1e15 }, /^failedAttemptLimit: windowSeconds must be at most /],
    [
      { maxRequests: 1, windowSeconds: 1, identifier: 1 },
      /failedAttemptLimit: identifier must be a function, got 1/
    ]
  ] as [FailedAttemptLimitOptions, RegExp][]) {
    assert.throws(() => failedAttemptLimit(options), { name: 'TypeError', message })
  }
})
