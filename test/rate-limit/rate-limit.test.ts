import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import { type TestContext, test } from 'node:test'
import { parseList } from 'structured-headers'
import type { Exchange, Identity } from '../../lib/http/exchange.ts'
import { type Middleware, pipeline, stageMiddleware } from '../../lib/http/pipeline.ts'
import { rateLimit } from '../../lib/rate-limit/rate-limit.ts'
import { listen } from '../support/server.ts'

const ok: RequestListener = (_req, res) => {
  res.end('ok')
}

async function serve(t: TestContext, handler: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(t, createServer(handler))}`
}

/** Says who the caller is, as authentication would have. */
function authenticated(identify: (exchange: Exchange) => Partial<Identity>): Middleware {
  return stageMiddleware({
    name: 'authenticated',
    enter(exchange) {
      exchange.user = identify(exchange) as Identity
      return true
    }
  })
}

test('what fits passes, what does not is a 429 that says when', async t => {
  let time = 1_000
  let handled = 0
  const limited = rateLimit({ maxRequests: 2, windowSeconds: 60, clock: () => time }).wrap((_req, res) => {
    handled++
    res.end('ok')
  })
  const url = await serve(t, limited)

  const first = await fetch(url)
  assert.equal(first.status, 200)
  assert.equal(first.headers.get('ratelimit-policy'), '"default";q=2;w=60')
  assert.equal(first.headers.get('ratelimit'), '"default";r=1;t=60')
  assert.equal(first.headers.get('x-ratelimit-limit'), '2')
  assert.equal(first.headers.get('x-ratelimit-remaining'), '1')
  const reset = Number(first.headers.get('x-ratelimit-reset'))
  assert.ok(
    reset >= Date.now() / 1_000 + 59 && reset <= Date.now() / 1_000 + 61,
    `reset is epoch seconds: ${reset}`
  )
  assert.equal(first.headers.get('retry-after'), null)

  time += 30_000
  assert.equal((await fetch(url)).status, 200)
  time += 500.5
  const refused = await fetch(url)
  assert.equal(refused.status, 429)
  assert.equal(refused.headers.get('retry-after'), '30')
  assert.equal(refused.headers.get('cache-control'), 'no-store')
  assert.equal(refused.headers.get('content-type'), 'application/problem+json')
  assert.equal(refused.headers.get('ratelimit'), '"default";r=0;t=30')
  assert.equal(refused.headers.get('x-ratelimit-remaining'), '0')
  assert.deepEqual(await refused.json(), {
    type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
    title: 'Quota Exceeded',
    status: 429,
    detail: 'Rate limit exceeded. Max 2 requests per 60s',
    'violated-policies': ['default']
  })
  assert.equal(handled, 2)

  time = 61_000
  assert.equal((await fetch(url)).status, 200)
})

test('a verified caller is the key, not the address', async t => {
  const stages = pipeline(
    authenticated(({ req }) => ({ key: `user:${req.headers['x-user']}` })),
    rateLimit({ maxRequests: 1, windowSeconds: 60 })
  )
  const url = await serve(t, stages.wrap(ok))
  const as = async (user: string) => (await fetch(url, { headers: { 'x-user': user } })).status
  assert.deepEqual([await as('a'), await as('b'), await as('a')], [200, 200, 429])
})

test('several windows: all or nothing, both in the list fields, the tightest in the trio', async t => {
  let time = 0
  const limits = [
    { maxRequests: 1, windowSeconds: 1, name: 'burst' },
    { maxRequests: 10, windowSeconds: 60, name: 'minute' }
  ]
  const url = await serve(t, rateLimit({ limits, clock: () => time }).wrap(ok))
  const statuses: number[] = []
  let last = await fetch(url)
  for (let i = 1; i < 10; i++) {
    statuses.push(last.status)
    time += 10
    last = await fetch(url)
  }
  assert.deepEqual(statuses, [200, 429, 429, 429, 429, 429, 429, 429, 429])
  assert.equal(last.headers.get('ratelimit'), '"burst";r=0;t=1, "minute";r=9;t=60')
  const policies = parseList(last.headers.get('ratelimit-policy') as string)
  assert.deepEqual(
    policies.map(([name, parameters]) => [name, Object.fromEntries(parameters)]),
    [
      ['burst', { q: 1, w: 1 }],
      ['minute', { q: 10, w: 60 }]
    ]
  )
  assert.equal(last.headers.get('x-ratelimit-limit'), '1')
  assert.equal(last.headers.get('retry-after'), '1')
  assert.deepEqual(((await last.json()) as { 'violated-policies': string[] })['violated-policies'], ['burst'])
})
