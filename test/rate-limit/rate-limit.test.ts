import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type RequestListener } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { parseList } from 'structured-headers'
import { ClientAddress } from '../../lib/http/client-address.ts'
import { type Exchange, type Identity, openExchange } from '../../lib/http/exchange.ts'
import {
  composed,
  type Pipeline,
  pipeline,
  type StageMiddleware,
  stageMiddleware
} from '../../lib/http/pipeline.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import type { Identify } from '../../lib/rate-limit/limit-windows.ts'
import type { LimitOptions } from '../../lib/rate-limit/limits.ts'
import { type RateLimitOptions, type RateLimitRefusal, rateLimit } from '../../lib/rate-limit/rate-limit.ts'
import { type Limiter, LimiterUnavailableError } from '../../lib/rate-limit/rate-limit-decision.ts'
import type { RateLimitHeaderFormat } from '../../lib/rate-limit/rate-limit-headers.ts'
import { RateLimiter } from '../../lib/rate-limit/rate-limiter.ts'
import { converse, listen } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const ok: RequestListener = (_req, res) => {
  res.end('ok')
}

async function serve(t: TestContext, handler: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(t, createServer(handler))}`
}

const oneKey = { keys: 1, reclaimed: 0, overflowed: 0 }

/** A pipeline whose faults warn nobody. */
function quiet(...stages: StageMiddleware[]): Pipeline {
  const context = {
    clientAddress: new ClientAddress(),
    reporter: new Reporter({ onReport: () => undefined })
  }
  return composed(
    stages.map(({ stage }) => stage),
    context
  )
}

/** Says who the caller is, as authentication would have. */
function authenticated(identify: (exchange: Exchange) => Partial<Identity>): StageMiddleware {
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

  const before = Date.now()
  const first = await fetch(url)
  const after = Date.now()
  assert.equal(first.status, 200)
  assert.equal(first.headers.get('ratelimit-policy'), '"default";q=2;w=60')
  assert.equal(first.headers.get('ratelimit'), '"default";r=1;t=60')
  assert.equal(first.headers.get('x-ratelimit-limit'), '2')
  assert.equal(first.headers.get('x-ratelimit-remaining'), '1')
  const reset = Number(first.headers.get('x-ratelimit-reset'))
  assert.ok(reset >= before / 1_000 + 59 && reset <= after / 1_000 + 61, `reset is epoch seconds: ${reset}`)
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

test('options are checked by name, with the value shown', () => {
  const base = { maxRequests: 1, windowSeconds: 1 }
  const bad: [object, RegExp][] = [
    [{}, /^rateLimit: windowSeconds must be a positive number, got undefined$/],
    [{ ...base, maxRequests: 0 }, /^rateLimit: maxRequests must be a positive integer, got 0$/],
    [{ ...base, cost: -1 }, /^rateLimit: cost must be a non-negative integer, got -1$/],
    [{ ...base, cost: Number.NaN }, /cost must be a non-negative integer, got NaN/],
    [{ ...base, identifier: 'ip' }, /identifier must be a function, got "ip"/],
    [{ ...base, onLimit: 1 }, /onLimit must be a function, got 1/],
    [{ ...base, skip: 'x' }, /skip must be a function, got "x"/],
    [{ ...base, skip: { prefix: ['/a'] } }, /PathFilter: prefix entries must/],
    [{ ...base, shadow: 1 }, /shadow must be a boolean, got 1/],
    [
      { ...base, headers: ['draft-7'] },
      /headers must be a list of 'draft-11' and 'x-ratelimit', got \["draft-7"\]/
    ],
    [{ ...base, headers: true }, /headers must be a list/],
    [{ ...base, name: '' }, /name must have 1 to 128 characters, got ""/],
    [{ ...base, name: 'é' }, /name must be printable ASCII, got "é"/],
    [{ ...base, name: 'a\r\nX: y' }, /name must be printable ASCII/],
    [{ ...base, name: 'x'.repeat(300) }, /name must have 1 to 128 characters/],
    [{ ...base, limits: [base] }, /limits stand instead of maxRequests, windowSeconds and limiter/],
    [{ limits: [] }, /limits must be a list of windows/],
    [{ limits: 'many' }, /limits must be a list of windows, got "many"/],
    [{ limits: [null] }, /limits must be a list of windows/],
    [{ limits: [{ ...base, maxRequests: 1.5 }] }, /maxRequests must be a positive integer, got 1.5/],
    [{ limits: [{ ...base, match: { exact: ['/a'] } }] }, /match belongs in tiers, not in limits/],
    [{ limits: [base, base] }, /names of limits must differ, got "1s" twice/],
    [{ limits: [{ ...base, identifier: 1 }] }, /identifier must be a function, got 1/],
    [{ limiter: {} }, /limiter must be a limiter/],
    [{ ...base, refundOn: 'abort' }, /refundOn must be 'failure' or 'success', got "abort"/],
    [{ ...base, allow: '127.0.0.1' }, /allow must be a list/],
    [
      { ...base, allow: ['10.0.0.0/33'] },
      /allow must hold identifiers, addresses and CIDRs, got "10.0.0.0\/33"/
    ],
    [{ ...base, allow: ['::1/'] }, /allow must hold/],
    [{ ...base, allow: [5] }, /allow must hold/],
    [
      { ...base, block: { after: 0, forSeconds: 1 } },
      /^rateLimit: block.after must be a positive integer, got 0$/
    ],
    [
      { ...base, block: { after: 1 } },
      /^rateLimit: block.forSeconds must be a positive number, got undefined$/
    ],
    [
      { ...base, block: { after: 1, forSeconds: 1, withinSeconds: -1 } },
      /^rateLimit: block.withinSeconds must be a positive number, got -1$/
    ],
    [{ ...base, block: null }, /block must be an object, got null/],
    [{ ...base, block: false }, /block must be an object, got false/],
    [{ ...base, refundOn: '' }, /refundOn must be 'failure' or 'success', got ""/],
    [{ ...base, allow: null }, /allow must be a list, got null/],
    [{ ...base, allow: ['10.0.0/8'] }, /allow must hold identifiers, addresses and CIDRs, got "10.0.0\/8"/],
    [{ ...base, allow: ['2001:db8::1::/64'] }, /allow must hold/],
    [{ ...base, skip: null }, /skip must be a function, got null/],
    [{ tiers: [null] }, /tiers must be a list of limits, got \[null\]/],
    [{ tiers: [base] }, /match must be an object, got undefined/],
    [{ ...base, tiers: {} }, /tiers must be a list/],
    [{ tiers: [{ match: {}, ...base }] }, /match must have exact, prefix or methods/],
    [
      { tiers: [{ match: { exact: ['login'] }, ...base }] },
      /match.exact entries must start with a slash, got "login"/
    ],
    [
      { tiers: [{ match: { prefix: ['/a'] }, ...base }] },
      /match.prefix entries must start and end with a slash/
    ],
    [
      { tiers: [{ match: { methods: ['post'] }, ...base }] },
      /match.methods entries must be in capitals, got "post"/
    ]
  ]
  for (const [options, message] of bad) {
    assert.throws(
      () => rateLimit(options as RateLimitOptions),
      { name: 'TypeError', message },
      String(message)
    )
  }
})

test('names and numbers survive a parser of structured fields', async t => {
  const name = 'a"b\\c; q=1, "d"'
  const url = await serve(t, rateLimit({ maxRequests: 2_147_483_647, windowSeconds: 0.5, name }).wrap(ok))
  const { headers } = await fetch(url)
  assert.deepEqual(parseList(headers.get('ratelimit-policy') as string), [
    [
      name,
      new Map([
        ['q', 2_147_483_647],
        ['w', 1]
      ])
    ]
  ])
  assert.deepEqual(parseList(headers.get('ratelimit') as string), [
    [
      name,
      new Map([
        ['r', 2_147_483_646],
        ['t', 1]
      ])
    ]
  ])
})

test('headers: as configured, on every answer, never instead of the handler’s own', async t => {
  for (const [headers, present] of [
    [['draft-11'], ['ratelimit', 'ratelimit-policy']],
    [['x-ratelimit'], ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset']],
    [[], []]
  ] as [RateLimitHeaderFormat[], string[]][]) {
    const url = await serve(t, rateLimit({ maxRequests: 1, windowSeconds: 60, headers }).wrap(ok))
    for (const response of [await fetch(url), await fetch(url)]) {
      const names = [...response.headers.keys()].filter(name => name.includes('ratelimit'))
      assert.deepEqual(names.sort(), present)
    }
  }
})

test('two limiters on one request: both in the lists, the tightest in the trio', async t => {
  const stages = pipeline(
    rateLimit({ maxRequests: 3, windowSeconds: 60, name: 'tight' }),
    rateLimit({ maxRequests: 100, windowSeconds: 60, name: 'wide' }),
    rateLimit({ maxRequests: 2, windowSeconds: 60, name: 'tightest' })
  )
  const url = await serve(t, stages.wrap(ok))
  const { headers } = await fetch(url)
  assert.equal(headers.get('ratelimit'), '"tight";r=2;t=60, "wide";r=99;t=60, "tightest";r=1;t=60')
  assert.equal(headers.get('ratelimit-policy'), '"tight";q=3;w=60, "wide";q=100;w=60, "tightest";q=2;w=60')
  assert.equal(headers.get('x-ratelimit-limit'), '2')
  assert.equal(headers.get('x-ratelimit-remaining'), '1')
})

test('a cost from the request; what is no cost is a 500 and charges nothing', async t => {
  let cost: unknown
  const limited = rateLimit({
    maxRequests: 10,
    windowSeconds: 60,
    cost: () => cost as number,
    clock: () => 0
  })
  const url = await serve(t, quiet(limited).wrap(ok))
  for (cost of [undefined, null, Number.NaN, -1, 0.5, Infinity, '3', 2 ** 53]) {
    assert.equal((await fetch(url)).status, 500, String(cost))
  }
  cost = 7
  assert.equal((await fetch(url)).headers.get('x-ratelimit-remaining'), '3')
  cost = 4
  assert.equal((await fetch(url)).status, 429)
  cost = 11
  const never = await fetch(url)
  assert.deepEqual([never.status, never.headers.get('retry-after')], [429, null])
  cost = 0
  assert.equal((await fetch(url)).headers.get('x-ratelimit-remaining'), '3')
  cost = 3
  assert.equal((await fetch(url)).headers.get('ratelimit'), '"default";r=0;t=60')
})

test('limits by plan: a lower one holds at once, a higher one too, and what is no limit is a 500', async t => {
  let limits: unknown = [{ maxRequests: 100, windowSeconds: 60, name: 'plan' }]
  const seen: (string | undefined)[] = []
  const stages = quiet(
    authenticated(() => ({ key: 'user:a', name: 'a' })),
    rateLimit({
      limits: identity => {
        seen.push(identity?.key)
        return (typeof limits === 'function' ? limits() : limits) as LimitOptions[]
      }
    })
  )
  const url = await serve(t, stages.wrap(ok))
  for (let i = 0; i < 5; i++) assert.equal((await fetch(url)).status, 200)
  assert.deepEqual(new Set(seen), new Set(['user:a']))

  limits = [{ maxRequests: 3, windowSeconds: 60, name: 'plan' }]
  const lowered = await fetch(url)
  assert.equal(lowered.status, 429)
  assert.equal(lowered.headers.get('ratelimit-policy'), '"plan";q=3;w=60')
  assert.equal(lowered.headers.get('x-ratelimit-remaining'), '0')

  limits = Promise.resolve([{ maxRequests: 7, windowSeconds: 60, name: 'plan' }])
  const raised = await fetch(url)
  assert.deepEqual([raised.status, raised.headers.get('x-ratelimit-remaining')], [200, '1'])

  const windowSeconds = 60
  for (limits of [
    ...[undefined, null, 5, [], [{}], () => Promise.reject(new Error('no plan')), Promise.resolve(undefined)],
    ...[undefined, Number.NaN, null, '3', Infinity, -1, 0].map(maxRequests => [
      { maxRequests, windowSeconds }
    ])
  ]) {
    const broken = await fetch(url)
    assert.equal(broken.status, 500, String(limits))
    assert.equal(broken.headers.get('ratelimit'), null)
  }
  for (let i = 1; i <= 100; i++) {
    limits = [{ maxRequests: 7, windowSeconds: i, name: `plan-${i}` }]
    assert.equal((await fetch(url)).status, i === 100 ? 500 : 200, 'a leak of windows is an error')
  }
})

test('limits for a caller that have one name twice are a 500: they would be one window, charged twice', async t => {
  const limits = [
    { maxRequests: 10, windowSeconds: 60 },
    { maxRequests: 5, windowSeconds: 60 }
  ]
  const limited = rateLimit({ limits: () => limits })
  const url = await serve(t, quiet(limited).wrap(ok))
  assert.equal((await fetch(url)).status, 500)
  assert.equal(limited.stage.stats.keys, 0)
})

test('tiers by path and method: no spelling gets around the strict one', async t => {
  const limited = rateLimit({
    maxRequests: 1_000,
    windowSeconds: 60,
    tiers: [
      {
        match: { exact: ['/login'], methods: ['POST'] },
        maxRequests: 2,
        windowSeconds: 60,
        name: 'critical'
      },
      { match: { prefix: ['/tokens/'] }, maxRequests: 3, windowSeconds: 60 },
      { match: { methods: ['GET'], exact: ['/tools'] }, limits: [{ maxRequests: 5, windowSeconds: 60 }] }
    ]
  })
  const port = await listen(t, createServer(limited.wrap(ok)))
  const policyOf = async (method: string, path: string) => {
    const answer = await converse(
      port,
      `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`
    )
    return /RateLimit-Policy: "([^"]+)"/.exec(answer)?.[1]
  }
  for (const path of [
    ...[
      '/login',
      '/login/',
      '/LOGIN',
      '/login?x=1',
      '//login',
      '/./login',
      '/x/../login',
      '/%6cogin',
      '/%256Cogin'
    ],
    ...['/login;v=1', '/x\\..\\login', '/x/%2e%2e/login', '/login%2F'],
    ...[
      '/login#x',
      '/login#/../y',
      '/x#/../login',
      '/login/#',
      'http://x/LOGIN#?x',
      '/login%3Fx',
      '/login%23x'
    ]
  ]) {
    assert.equal(await policyOf('POST', path), 'critical', path)
  }
  for (const path of ['/tokens/', '/tokens', '/tokens/7', '/Tokens/x', '/x/..%2ftokens/9']) {
    assert.equal(await policyOf('DELETE', path), 'tier-2', path)
  }
  assert.equal(await policyOf('HEAD', '/tools'), '60s')
  assert.equal(await policyOf('GET', '/login'), 'default')
  assert.equal(await policyOf('POST', '/logins'), 'default')
  assert.equal(await policyOf('POST', '/%zz'), 'default')
})

test('only tiers: what is in none is not limited', async t => {
  const limited = rateLimit({ tiers: [{ match: { exact: ['/a'] }, maxRequests: 1, windowSeconds: 60 }] })
  const url = await serve(t, limited.wrap(ok))
  const statuses = []
  for (const path of ['/a', '/a', '/b', '/b']) statuses.push((await fetch(url + path)).status)
  assert.deepEqual(statuses, [200, 429, 200, 200])
})

test('windows with identifiers of their own: one user from two addresses, one address with two users', async t => {
  const header = (name: string) => (req: IncomingMessage) => `${name}:${req.headers[name]}`
  const limits = [
    {
      maxRequests: 2,
      windowSeconds: 60,
      name: 'pair',
      identifier: (req: IncomingMessage) => `${req.headers['u']} ${req.headers['a']}`
    },
    { maxRequests: 3, windowSeconds: 60, name: 'user', identifier: header('u') },
    { maxRequests: 4, windowSeconds: 60, name: 'address', identifier: header('a') }
  ]
  const url = await serve(t, rateLimit({ limits }).wrap(ok))
  const violated = async (u: string, a: string) => {
    const response = await fetch(url, { headers: { u, a } })
    const body = response.status === 429 ? ((await response.json()) as Record<string, unknown>) : {}
    return body['violated-policies'] ?? 'passed'
  }
  assert.equal(await violated('u', 'a'), 'passed')
  assert.equal(await violated('u', 'a'), 'passed')
  assert.deepEqual(await violated('u', 'a'), ['pair'])
  assert.equal(await violated('u', 'b'), 'passed', 'a lock of the pair is none of the user')
  assert.deepEqual(await violated('u', 'c'), ['user'])
  assert.equal(await violated('v', 'a'), 'passed')
  assert.equal(await violated('w', 'a'), 'passed')
  assert.deepEqual(await violated('x', 'a'), ['address'])
})

test('skip, allow and shadow', async t => {
  const refusals: RateLimitRefusal[] = []
  const make = (options: Partial<RateLimitOptions>) =>
    rateLimit({ maxRequests: 1, windowSeconds: 60, ...options })
  const statuses = async (limited: Pipeline, ...paths: string[]) => {
    const url = await serve(t, limited.wrap(ok))
    const seen: number[] = []
    for (const path of paths) seen.push((await fetch(url + path)).status)
    return seen
  }
  assert.deepEqual(
    await statuses(make({ skip: { exact: ['/s'] } }), '/s', '/s', '/a', '/s', '/a'),
    [200, 200, 200, 200, 429]
  )
  assert.deepEqual(
    await statuses(make({ skip: req => req.url === '/s' }), '/s', '/s', '/a', '/a'),
    [200, 200, 200, 429]
  )
  assert.deepEqual(await statuses(make({ allow: ['127.0.0.0/8'] }), '/', '/'), [200, 200])
  assert.deepEqual(await statuses(make({ allow: ['10.0.0.1', '::1', 'user:b'] }), '/', '/'), [200, 429])
  assert.deepEqual(await statuses(make({ allow: ['ip:127.0.0.1'] }), '/', '/'), [200, 200])

  const shadow = make({ shadow: true, onLimit: (_req, _exchange, refusal) => refusals.push(refusal) })
  const enforced = make({ maxRequests: 2 })
  assert.deepEqual(await statuses(pipeline(shadow, enforced), '/', '/', '/'), [200, 200, 429])
  assert.deepEqual(
    refusals.map(({ identifier, violatedPolicies, shadow, lockedOut }) => [
      identifier,
      violatedPolicies,
      shadow,
      lockedOut
    ]),
    [
      ['ip:127.0.0.1', ['default'], true, false],
      ['ip:127.0.0.1', ['default'], true, false]
    ]
  )
  assert.deepEqual(shadow.stage.stats, {
    allowed: 1,
    refused: 0,
    lockedOut: 0,
    shadowed: 2,
    unavailable: 0,
    ...oneKey
  })
  assert.deepEqual(enforced.stage.stats, {
    allowed: 2,
    refused: 1,
    lockedOut: 0,
    shadowed: 0,
    unavailable: 0,
    ...oneKey
  })
})

test('onLimit may answer itself, and what it throws is reported', async t => {
  const own = rateLimit({
    maxRequests: 1,
    windowSeconds: 60,
    onLimit: (_req, { res }) => res.writeHead(420).end('calm down')
  })
  const url = await serve(t, own.wrap(ok))
  await fetch(url)
  const response = await fetch(url)
  assert.deepEqual([response.status, await response.text()], [420, 'calm down'])

  const reporter = new Reporter({ onReport: () => undefined })
  const throwing = rateLimit({
    maxRequests: 1,
    windowSeconds: 60,
    onLimit: () => {
      throw new Error('oops')
    }
  })
  const stages = composed([throwing.stage], { clientAddress: new ClientAddress(), reporter })
  const other = await serve(t, stages.wrap(ok))
  await fetch(other)
  assert.equal((await fetch(other)).status, 429)
  assert.equal(reporter.counts.get('rate_limit_listener'), 1)
})

test('an identifier that is none is a 500, not a key that all share', async t => {
  for (const identifier of [() => undefined, () => '', () => 5, async () => 'a'] as unknown as Identify[]) {
    const url = await serve(t, quiet(rateLimit({ maxRequests: 9, windowSeconds: 60, identifier })).wrap(ok))
    assert.equal((await fetch(url)).status, 500)
  }
})

test('a Unix socket has no address: 500 without a trusted proxy, and with one the client it names', async t => {
  const path = join(temporaryFolder(), 's')
  let trustProxy = 0
  const server = createServer((req, res) => {
    const context = {
      clientAddress: new ClientAddress({ trustProxy }),
      reporter: new Reporter({ onReport: () => undefined })
    }
    composed([limited.stage], context).wrap(ok)(req, res)
  })
  const limited = rateLimit({ maxRequests: 1, windowSeconds: 60 })
  server.listen(path)
  await once(server, 'listening')
  t.after(() => server.close())
  const status = (headers: Record<string, string> = {}) =>
    new Promise(resolve =>
      get({ socketPath: path, headers, agent: false }, res => resolve(res.resume().statusCode))
    )
  assert.equal(await status(), 500)
  trustProxy = 1
  assert.equal(await status({ 'x-forwarded-for': '203.0.113.1' }), 200)
  assert.equal(await status({ 'x-forwarded-for': '203.0.113.1' }), 429)
  assert.equal(await status({ 'x-forwarded-for': '203.0.113.2' }), 200)
})

test('a socket that is gone is not charged, and nothing is thrown', async t => {
  const limited = rateLimit({ maxRequests: 1, windowSeconds: 60 })
  let entered: boolean | Promise<boolean> | undefined
  const gone = new Promise<void>(resolve => {
    const server = createServer((req, res) => {
      req.socket.destroy()
      Object.defineProperty(req.socket, 'remoteAddress', { value: undefined })
      entered = limited.stage.enter(openExchange(req, res))
      resolve()
    })
    void listen(t, server).then(port => fetch(`http://127.0.0.1:${port}`).catch(() => undefined))
  })
  await gone
  assert.equal(entered, false)
  assert.equal(limited.stage.stats.allowed, 0)
})

test('unverified credentials make no new keys: what rotates is the token, not the budget', async t => {
  const url = await serve(t, rateLimit({ maxRequests: 2, windowSeconds: 60 }).wrap(ok))
  const statuses = []
  for (let i = 0; i < 4; i++) {
    const headers = {
      authorization: `Bearer x${i}`,
      'x-api-key': `k${i}`,
      'x-forwarded-for': `203.0.113.${i}`
    }
    statuses.push((await fetch(url, { headers })).status)
  }
  assert.deepEqual(statuses, [200, 200, 429, 429])
})

test('every request counts once: unrouted, HEAD, OPTIONS, and a hundred pipelined on one socket', async t => {
  const limited = rateLimit({ maxRequests: 60, windowSeconds: 60 })
  const handler = limited.wrap((_req, res) => res.writeHead(404).end())
  const port = await listen(t, createServer(handler))
  const requests = Array.from({ length: 100 }, (_, i) => {
    const method = ['GET', 'HEAD', 'OPTIONS', 'DELETE'][i % 4]
    return `${method} /${i} HTTP/1.1\r\nHost: x\r\n${i === 99 ? 'Connection: close\r\n' : ''}\r\n`
  })
  const answer = await converse(port, requests.join(''))
  assert.equal(answer.match(/HTTP\/1\.1 404/g)?.length, 60)
  assert.equal(answer.match(/HTTP\/1\.1 429/g)?.length, 40)
  assert.equal(limited.stage.stats.allowed, 60)
})

test('refunds: by outcome, once, and never for who hangs up', async t => {
  let status = 500
  let handled = 0
  const limited = rateLimit({ maxRequests: 3, windowSeconds: 60, refundOn: 'failure' })
  const url = await serve(
    t,
    limited.wrap((_req, res) => {
      handled++
      res.writeHead(status).end()
    })
  )
  for (let i = 0; i < 10; i++) assert.equal((await fetch(url)).status, 500)
  status = 200
  const statuses = []
  for (let i = 0; i < 4; i++) statuses.push((await fetch(url)).status)
  assert.deepEqual(statuses, [200, 200, 200, 429])
  assert.equal(handled, 13)

  let reached = 0
  const slow = rateLimit({ maxRequests: 5, windowSeconds: 60, refundOn: 'failure' }).wrap((_req, res) => {
    reached++
    res.writeHead(500).write('slowly')
  })
  const server = createServer(slow)
  const port = await listen(t, server)
  for (let i = 0; i < 20; i++) {
    const socket = connect(port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(socket, 'data')
    socket.destroy()
    await once(socket, 'close')
  }
  assert.equal(reached, 5, 'an abort is no failure')

  const logins = rateLimit({ maxRequests: 2, windowSeconds: 60, refundOn: 'success' })
  status = 200
  const login = await serve(
    t,
    logins.wrap((_req, res) => res.writeHead(status).end())
  )
  for (let i = 0; i < 5; i++) assert.equal((await fetch(login)).status, 200)
  status = 403
  assert.deepEqual(
    [(await fetch(login)).status, (await fetch(login)).status, (await fetch(login)).status],
    [403, 403, 429]
  )
})

test('block: who is refused again and again is shut out for longer than a window', async t => {
  let now = 0
  const refusals: RateLimitRefusal[] = []
  const limited = rateLimit({
    maxRequests: 1,
    windowSeconds: 1,
    block: { after: 3, forSeconds: 60, withinSeconds: 10 },
    clock: () => now,
    identifier: req => String(req.headers['u']),
    onLimit: (_req, _exchange, refusal) => refusals.push(refusal)
  })
  const url = await serve(t, limited.wrap(ok))
  const as = async (u: string) => {
    const response = await fetch(url, { headers: { u } })
    return [response.status, response.headers.get('retry-after')]
  }
  assert.deepEqual(await as('a'), [200, null])
  assert.deepEqual(await as('a'), [429, '1'])
  assert.deepEqual(await as('a'), [429, '1'])
  assert.deepEqual(await as('a'), [429, '60'], 'the third violation')
  now = 30_000
  assert.deepEqual(await as('a'), [429, '30'], 'trying makes it no longer')
  assert.deepEqual(await as('b'), [200, null])
  assert.equal(limited.stage.stats.lockedOut, 1)
  assert.deepEqual(
    refusals.map(({ lockedOut }) => lockedOut),
    [false, false, false, true]
  )
  now = 60_000
  assert.deepEqual(await as('a'), [200, null])
  assert.deepEqual(await as('a'), [429, '1'], 'and starts anew')
})

test('block in shadow mode shuts nobody out', async t => {
  const limited = rateLimit({
    maxRequests: 1,
    windowSeconds: 60,
    block: { after: 1, forSeconds: 60 },
    shadow: true
  })
  const url = await serve(t, limited.wrap(ok))
  for (let i = 0; i < 4; i++) assert.equal((await fetch(url)).status, 200)
  assert.deepEqual(limited.stage.stats, {
    allowed: 1,
    refused: 0,
    lockedOut: 2,
    shadowed: 3,
    unavailable: 0,
    ...oneKey
  })
})

/** A limiter that answers later, as one on a server does. */
class LaterLimiter implements Limiter {
  readonly inner: RateLimiter
  readonly maxRequests: number
  readonly windowMs: number
  failure: Error | undefined
  constructor(maxRequests: number) {
    this.inner = new RateLimiter({ maxRequests, windowSeconds: 60, clock: () => 0 })
    this.maxRequests = maxRequests
    this.windowMs = 60_000
  }
  async #later<T>(answer: () => T): Promise<T> {
    await new Promise(resolve => setImmediate(resolve))
    if (this.failure !== undefined) throw this.failure
    return answer()
  }
  consume = (key: string, cost?: number) => this.#later(() => this.inner.consume(key, cost))
  peek = (key: string) => this.#later(() => this.inner.peek(key))
  isAllowed = (key: string) => this.#later(() => this.inner.isAllowed(key))
  getRemaining = (key: string) => this.#later(() => this.inner.getRemaining(key))
  reset = (key: string) => this.#later(() => this.inner.reset(key))
  clearAll = () => this.#later(() => this.inner.clearAll())
  reserve = (key: string, cost?: number) => this.#later(() => this.inner.reserve(key, cost))
}

test('a limiter that answers with promises; when it cannot, 503 and not 429', async t => {
  const limiter = new LaterLimiter(2)
  const limited = rateLimit({ limiter })
  const stages = quiet(limited)
  const url = await serve(t, stages.wrap(ok))
  const first = await fetch(url)
  assert.deepEqual([first.status, first.headers.get('ratelimit')], [200, '"default";r=1'])
  assert.equal((await fetch(url)).status, 200)
  const refused = await fetch(url)
  assert.deepEqual([refused.status, refused.headers.get('ratelimit')], [429, '"default";r=0;t=60'])

  limiter.failure = new LimiterUnavailableError('no answer', 2_500)
  const unavailable = await fetch(url)
  assert.deepEqual([unavailable.status, unavailable.headers.get('retry-after')], [503, '3'])
  assert.equal(((await unavailable.json()) as { title: string }).title, 'Temporary Reduced Capacity')
  limiter.failure = new Error('a bug')
  assert.equal((await fetch(url)).status, 500)
  assert.equal(limited.stage.stats.unavailable, 1)
})

test('several limiters with promises: none keeps what another refused, nor what nobody answered', async t => {
  const wide = new LaterLimiter(10)
  const tight = new LaterLimiter(1)
  const limited = rateLimit({
    limits: [
      { limiter: wide, name: 'wide' },
      { limiter: tight, name: 'tight' },
      { maxRequests: 50, windowSeconds: 60, name: 'local' }
    ]
  })
  const url = await serve(t, quiet(limited).wrap(ok))
  const statuses = []
  for (let i = 0; i < 4; i++) statuses.push((await fetch(url)).status)
  assert.deepEqual(statuses, [200, 429, 429, 429])
  assert.equal(wide.inner.getRemaining('ip:127.0.0.1'), 9)
  tight.failure = new LimiterUnavailableError('no answer')
  assert.equal((await fetch(url)).status, 503)
  assert.equal(wide.inner.getRemaining('ip:127.0.0.1'), 9)
  const { reserve: _, ...without } = wide
  assert.throws(
    () => rateLimit({ limits: [{ limiter: without }, { limiter: tight, name: 't' }] } as RateLimitOptions),
    /several limits need a limiter with reserve\(\)/
  )
  assert.throws(
    () => rateLimit({ limiter: without, refundOn: 'failure' } as RateLimitOptions),
    /refunds need a limiter with reserve\(\)/
  )
})

test('several local limiters in parallel: never a partial charge', async t => {
  const wide = new RateLimiter({ maxRequests: 100, windowSeconds: 60 })
  const tight = new RateLimiter({ maxRequests: 5, windowSeconds: 60 })
  const limits = [
    { limiter: wide, name: 'wide' },
    { limiter: tight, name: 'tight' }
  ]
  const url = await serve(t, rateLimit({ limits, refundOn: 'failure' }).wrap(ok))
  const statuses = await Promise.all(Array.from({ length: 50 }, async () => (await fetch(url)).status))
  assert.equal(statuses.filter(status => status === 200).length, 5)
  assert.equal(wide.getRemaining('ip:127.0.0.1'), 95)
})

test('in a Connect stack: next once, and nothing is thrown when the head is out already', async t => {
  const limited = rateLimit({ maxRequests: 1, windowSeconds: 60 })
  let next = 0
  const url = await serve(t, (req, res) => {
    if (req.url === '/early') res.writeHead(200).write('early')
    limited(req, res, error => {
      next++
      assert.equal(error, undefined)
      res.end()
    })
  })
  assert.equal((await fetch(url)).status, 200)
  assert.equal((await fetch(url)).status, 429)
  await assert.rejects(async () => (await fetch(`${url}/early`)).text())
  assert.equal(next, 1)
})

test('a flood of addresses: the victim stays blocked, and the metrics show the overflow', async t => {
  const limited = rateLimit({
    maxRequests: 1,
    windowSeconds: 60,
    maxKeys: 3,
    identifier: req => String(req.headers['u'])
  })
  const url = await serve(t, limited.wrap(ok))
  const as = async (u: string) => (await fetch(url, { headers: { u } })).status
  assert.deepEqual([await as('victim'), await as('victim')], [200, 429])
  for (let i = 0; i < 20; i++) await as(`fresh-${i}`)
  assert.equal(await as('victim'), 429)
  const { keys, reclaimed, overflowed } = limited.stage.stats
  assert.deepEqual({ keys, reclaimed, overflowed }, { keys: 3, reclaimed: 0, overflowed: 18 })
})

test('a plan that depends on the caller has its keys counted too', async t => {
  const limited = rateLimit({ limits: () => [{ maxRequests: 5, windowSeconds: 60 }] })
  const url = await serve(t, limited.wrap(ok))
  await fetch(url)
  assert.equal(limited.stage.stats.keys, 1)
})

test('a limiter that does not say its numbers is shown with those that are given', async t => {
  const inner = new RateLimiter({ maxRequests: 3, windowSeconds: 60 })
  const limiter = { consume: async (key: string) => inner.consume(key) } as unknown as Limiter
  const url = await serve(t, rateLimit({ limiter, maxRequests: 3, windowSeconds: 60 }).wrap(ok))
  const { headers } = await fetch(url)
  assert.equal(headers.get('ratelimit-policy'), '"default";q=3;w=60')
  assert.throws(() => rateLimit({ limiter }), /windowSeconds must be a positive number/)
})
