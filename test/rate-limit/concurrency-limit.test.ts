import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { parseList } from 'structured-headers'
import { ClientAddress } from '../../lib/http/client-address.ts'
import { composed } from '../../lib/http/pipeline.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import {
  type ConcurrencyLimitMiddleware,
  type ConcurrencyLimitOptions,
  concurrencyLimit
} from '../../lib/rate-limit/concurrency-limit.ts'
import { listen } from '../support/server.ts'

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setImmediate(resolve))
}

/** A server whose handler keeps every response open until the test ends it. */
async function holding(t: TestContext, limited: ConcurrencyLimitMiddleware) {
  const open: ServerResponse[] = []
  const port = await listen(
    t,
    createServer(
      limited.wrap((_req, res) => {
        open.push(res)
      })
    )
  )
  return { open, url: `http://127.0.0.1:${port}`, port }
}

async function send(port: number, headers = ''): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(`GET / HTTP/1.1\r\nHost: x\r\n${headers}\r\n`)
  return socket
}

test('options are checked by name, with the value shown', () => {
  const bad: [object, RegExp][] = [
    [{}, /^concurrencyLimit: max must be a positive integer, got undefined$/],
    [{ max: 0 }, /max must be a positive integer, got 0/],
    [{ max: 1.5 }, /max must be a positive integer, got 1.5/],
    [{ max: Infinity }, /max must be a positive integer, got Infinity/],
    [{ max: 1, perKey: 0 }, /perKey must be a positive integer, got 0/],
    [{ max: 1, queue: -1 }, /queue must be a non-negative integer, got -1/],
    [{ max: 1, queueTimeoutMs: 0 }, /queueTimeoutMs must be a positive integer, got 0/],
    [
      { max: 1, queueTimeoutMs: 2 ** 31 },
      /queueTimeoutMs must be a positive integer up to 2147483647, got 2147483648/
    ],
    [{ max: 2 ** 53 - 1 }, /max must be a positive integer up to 2147483647, got 9007199254740991/],
    [{ max: 1, identifier: 'ip' }, /identifier must be a function, got "ip"/],
    [{ max: 1, name: '' }, /^concurrencyLimit: name must have 1 to 128 characters, got ""$/],
    [{ max: 1, name: 'é' }, /^concurrencyLimit: name must be printable ASCII, got "é"$/],
    [{ max: 1, headers: ['x-ratelimit'] }, /headers must be \['draft-11'\] or \[\], got \["x-ratelimit"\]/],
    [{ max: 1, headers: true }, /headers must be \['draft-11'\] or \[\], got true/]
  ]
  for (const [options, message] of bad) {
    assert.throws(() => concurrencyLimit(options as ConcurrencyLimitOptions), { name: 'TypeError', message })
  }
})

test('over the limit: 503 with Retry-After, and a place as soon as one is free', async t => {
  const limited = concurrencyLimit({ max: 2 })
  const { open, url } = await holding(t, limited)
  const first = fetch(url)
  await until(() => open.length === 1)
  const second = fetch(url)
  await until(() => open.length === 2)
  const refused = await fetch(url)
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [503, '1'])
  assert.equal(refused.headers.get('cache-control'), 'no-store')
  const { type } = (await refused.json()) as { type: string }
  assert.match(type, /#temporary-reduced-capacity$/)
  open[0].end()
  await (await first).text()
  const third = fetch(url)
  await until(() => open.length === 3)
  for (const res of open) res.end()
  assert.deepEqual([(await second).status, (await third).status], [200, 200])
  await until(() => limited.stage.stats.active === 0)
  assert.deepEqual(limited.stage.stats, { active: 0, waiting: 0, refused: 1, timedOut: 0 })
})

test('a place is free exactly once, whatever becomes of the request', async t => {
  const limited = concurrencyLimit({ max: 3 })
  const big = Buffer.alloc(32 * 1024 * 1024)
  const reporter = new Reporter({ onReport: () => undefined })
  const behaviours: Record<string, RequestListener> = {
    '/throw': () => {
      throw new Error('oops')
    },
    '/reject': async () => {
      throw new Error('oops')
    },
    '/end': (_req, res) => res.end('ok'),
    '/destroy': (_req, res) => res.destroy(),
    '/error': (_req, res) => res.destroy(new Error('oops')),
    '/half': (_req, res) => {
      res.write('half')
      res.destroy()
    },
    '/never': () => undefined,
    '/big': (_req, res) => res.end(big)
  }
  const stages = composed([limited.stage], { clientAddress: new ClientAddress(), reporter })
  const port = await listen(
    t,
    createServer(stages.wrap((req, res) => behaviours[req.url as string](req, res)))
  )
  for (let round = 0; round < 3; round++) {
    for (const path of ['/throw', '/reject', '/end', '/destroy', '/error', '/half']) {
      await fetch(`http://127.0.0.1:${port}${path}`).then(
        response => response.text().catch(() => undefined),
        () => undefined
      )
      await until(() => limited.stage.stats.active === 0)
    }
    for (const path of ['/never', '/big']) {
      const socket = connect(port, '127.0.0.1')
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
      await until(() => limited.stage.stats.active === 1)
      // A client that never reads keeps its place until it leaves.
      socket.pause()
      await new Promise(resolve => setImmediate(resolve))
      socket.destroy()
      await until(() => limited.stage.stats.active === 0)
    }
  }
  assert.equal(limited.stage.stats.refused, 0)
})

test('the queue: in order, bounded, and left when the client leaves', async t => {
  const limited = concurrencyLimit({ max: 1, queue: 2, queueTimeoutMs: 3_600_000 })
  const { open, url, port } = await holding(t, limited)
  const first = fetch(url)
  await until(() => open.length === 1)
  const gone = await send(port)
  await until(() => limited.stage.stats.waiting === 1)
  const second = fetch(url)
  await until(() => limited.stage.stats.waiting === 2)
  assert.equal((await fetch(url)).status, 503)
  gone.destroy()
  await until(() => limited.stage.stats.waiting === 1)
  const third = fetch(url)
  await until(() => limited.stage.stats.waiting === 2)
  open[0].end('1')
  await until(() => open.length === 2)
  open[1].end('2')
  await until(() => open.length === 3)
  open[2].end('3')
  assert.deepEqual(await Promise.all([first, second, third].map(async answer => (await answer).text())), [
    '1',
    '2',
    '3'
  ])
  await until(() => limited.stage.stats.active === 0)
  assert.equal(open.length, 3, 'who left was not served')
})

test('who waits too long is refused, and its place in the queue is free', async t => {
  const limited = concurrencyLimit({ max: 1, queue: 1, queueTimeoutMs: 20 })
  const { open, url } = await holding(t, limited)
  const first = fetch(url)
  await until(() => open.length === 1)
  assert.equal((await fetch(url)).status, 503)
  assert.deepEqual(limited.stage.stats, { active: 1, waiting: 0, refused: 0, timedOut: 1 })
  open[0].end()
  assert.equal((await first).status, 200)
})

test('perKey: one client has not all places, and does not hold up the others in the queue', async t => {
  const limited = concurrencyLimit({
    max: 3,
    perKey: 1,
    queue: 5,
    queueTimeoutMs: 3_600_000,
    identifier: req => String(req.headers['u'])
  })
  const { open, url } = await holding(t, limited)
  const ask = (u: string) => fetch(url, { headers: { u } })
  const of = (u: string) => open.filter(res => res.req.headers['u'] === u)
  const answers = [ask('a')]
  await until(() => open.length === 1)
  answers.push(ask('a'))
  await until(() => limited.stage.stats.waiting === 1)
  answers.push(ask('b'), ask('c'))
  await until(() => open.length === 3)
  answers.push(ask('d'))
  await until(() => limited.stage.stats.waiting === 2)
  of('b')[0].end()
  await until(() => of('d').length === 1)
  assert.equal(of('a').length, 1, 'a waits behind itself')
  of('a')[0].end()
  await until(() => of('a').length === 2)
  for (const res of open) res.end()
  for (const answer of answers) assert.equal((await answer).status, 200)
  await until(() => limited.stage.stats.active === 0)
})

test('perKey goes by address when nothing else is said', async t => {
  const limited = concurrencyLimit({ max: 5, perKey: 1 })
  const { open, url } = await holding(t, limited)
  const first = fetch(url)
  await until(() => open.length === 1)
  assert.equal((await fetch(url)).status, 503)
  open[0].end()
  assert.equal((await first).status, 200)
})

/** The list fields as a parser of structured fields reads them. */
function fieldsOf(response: Response) {
  const [[policy, parameters]] = parseList(response.headers.get('ratelimit-policy') as string)
  const [[name, state]] = parseList(response.headers.get('ratelimit') as string)
  return { policy, parameters: Object.fromEntries(parameters), name, state: Object.fromEntries(state) }
}

test('the headers say how many at a time, and how many more', async t => {
  const limited = concurrencyLimit({
    max: 3,
    perKey: 2,
    queue: 1,
    queueTimeoutMs: 3_600_000,
    name: 'at once'
  })
  const { open, url } = await holding(t, limited)
  const responses: Promise<Response>[] = []
  for (let i = 1; i <= 2; i++) {
    responses.push(fetch(url))
    await until(() => open.length === i)
  }
  const queued = fetch(url)
  await until(() => limited.stage.stats.waiting === 1)
  const refused = await fetch(url)
  open[1].end()
  await until(() => open.length === 3)
  for (const res of open) res.end()
  const parameters = { q: 2, qu: 'concurrent-requests' }
  for (const [response, r] of [
    [await responses[0], 1],
    [await responses[1], 0],
    [await queued, 0],
    [refused, 0]
  ] as const) {
    assert.deepEqual(fieldsOf(response), { policy: 'at once', parameters, name: 'at once', state: { r } })
    assert.equal(response.headers.get('x-ratelimit-remaining'), null)
  }
  assert.equal(refused.status, 503)
})

test('no headers when none are wanted; without perKey the limit is that of all', async t => {
  const silent = await holding(t, concurrencyLimit({ max: 1, headers: [] }))
  const first = fetch(silent.url)
  await until(() => silent.open.length === 1)
  const refused = await fetch(silent.url)
  assert.deepEqual([refused.status, refused.headers.get('ratelimit-policy')], [503, null])
  silent.open[0].end()
  assert.equal((await first).headers.get('ratelimit'), null)

  const wide = await holding(t, concurrencyLimit({ max: 7 }))
  const answer = fetch(wide.url)
  await until(() => wide.open.length === 1)
  wide.open[0].end()
  const { policy, parameters, state } = fieldsOf(await answer)
  assert.deepEqual(
    [policy, parameters, state],
    ['concurrency', { q: 7, qu: 'concurrent-requests' }, { r: 6 }]
  )
})
