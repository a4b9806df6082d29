import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener, request } from 'node:http'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import connect from 'connect'
import { WebSocket, WebSocketServer } from 'ws'
import { LocalIssuer } from '../examples/local-issuer.ts'
import {
  AuditLogger,
  currentExchange,
  exchangeOf,
  type Gate,
  type GateOptions,
  type GuardedRequest,
  MemoryUsageStore,
  ostiary,
  type Report,
  type RequestHandler,
  requireHuman,
  SealedLog,
  TokenVerifier,
  verifySealedLog
} from '../lib/index.ts'
import { sqliteDriver } from '../lib/usage/sqlite-driver.ts'
import { converse, listen } from './support/server.ts'
import { temporaryFolder } from './support/temporary-folder.ts'

const audience = 'orders-api'
const person = { sub: 'jane', sid: 's-1', name: 'Jane Doe', email: 'jane@example.com', client_id: 'web' }
const machine = { sub: 'cron', client_id: 'cron', gty: 'client-credentials' }
const apiToken = { sub: 'jane', email: 'jane@example.com', token_use: 'api', client_id: 'laptop' }

interface Guarded {
  gate: Gate
  issuer: LocalIssuer
  folder: string
  auditPath: string
  reports: Report[]
  /** Resolves when the answer is here and its exchange has ended. */
  call(path: string, token?: string, headers?: Record<string, string>): Promise<Response>
  events(): Promise<Record<string, unknown>[]>
}

interface Setup {
  options?: GateOptions
  handler?: RequestHandler
  issuer?: LocalIssuer
}

/** A gate with everything on, over a real socket. */
async function guard(t: TestContext, setup: Setup = {}): Promise<Guarded> {
  const issuer = setup.issuer ?? (await LocalIssuer.start({ audience }))
  if (setup.issuer === undefined) t.after(() => issuer.close())
  const folder = temporaryFolder()
  const auditPath = join(folder, 'audit.jsonl')
  const reports: Report[] = []
  const gate = ostiary({
    auth: { issuer: issuer.url, audience, jwksCache: { timeoutMs: 600_000 } },
    rateLimit: { maxRequests: 100, windowSeconds: 60 },
    audit: { path: auditPath },
    usage: { sqlite: join(folder, 'usage.db') },
    metrics: true,
    onReport: report => reports.push(report),
    ...setup.options
  })
  const handler = setup.handler ?? ((req, res) => res.end(`hello ${req.user?.id}\n`))
  const guarded = gate.wrap(handler)
  let ended = 0
  const server = createServer((req, res) => {
    guarded(req, res)
    exchangeOf(req).onEnd(() => ended++)
  })
  const port = await listen(t, server)
  t.after(async () => {
    await gate.close()
  })
  return {
    gate,
    issuer,
    folder,
    auditPath,
    reports,
    async call(path, token, headers = {}) {
      const before = ended
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
        headers: token === undefined ? headers : { ...headers, authorization: `Bearer ${token}` }
      })
      while (ended === before) await turn()
      return answer
    },
    async events() {
      await gate.flush()
      return (await readFile(auditPath, 'utf8'))
        .split('\n')
        .filter(Boolean)
        .map(line => JSON.parse(line))
    }
  }
}

/** The token with another signature. */
function forged(token: string): string {
  const at = token.lastIndexOf('.') + 1
  return `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`
}

async function scrape(t: TestContext, gate: Gate): Promise<string> {
  const port = await listen(t, createServer(gate.metrics))
  const answer = await fetch(`http://127.0.0.1:${port}/`)
  assert.match(String(answer.headers.get('content-type')), /^text\/plain; version=0\.0\.4/)
  return answer.text()
}

test('a request goes from socket to disk: identity, audit, usage, metrics', async t => {
  const { gate, issuer, call, events } = await guard(t)
  await gate.ready()
  const answer = await call('/orders?secret=1', await issuer.issue({ ...apiToken, jti: 'token-1' }), {
    'user-agent': 'a test'
  })
  assert.equal(answer.status, 200)
  assert.equal(await answer.text(), 'hello jane\n')
  assert.equal(answer.headers.get('x-ratelimit-remaining'), '99')

  const [event, ...others] = await events()
  assert.equal(others.length, 0)
  const { timestamp, duration_ms, ...rest } = event
  assert.ok(Math.abs(Date.parse(String(timestamp)) - Date.now()) < 60_000)
  assert.equal(typeof duration_ms, 'number')
  assert.deepEqual(Object.fromEntries(Object.entries(rest).slice(0, 9)), {
    event_type: 'request_success',
    user_id: 'jane',
    client_id: 'laptop',
    is_m2m: true,
    path: '/orders',
    method: 'GET',
    status_code: 200,
    ip_address: '127.0.0.1',
    user_agent: 'a test'
  })

  assert.equal(event.caller_evidence, 'token_use=api')
  assert.equal(event.token_id, 'token-1')

  const stats = await gate.usage?.getTokenUsageStats('jane@example.com', { tokenId: 'token-1' })
  assert.equal(stats?.totalRequests, 1)
  assert.deepEqual(stats?.topEndpoints, [{ endpoint: '/orders', count: 1 }])

  const text = await scrape(t, gate)
  assert.match(
    text,
    /http_server_request_duration_seconds_count\{[^}]*http_response_status_code="200"[^}]*\} 1/
  )
  assert.match(text, /^auth_tokens_validated_total 1$/m)
  assert.match(text, /^ostiary_usage_stored_total 1$/m)
  assert.match(text, /^ostiary_audit_events_total 1$/m)
  assert.match(text, /^ostiary_rate_limit_decisions_total\{decision="allowed"\} 1$/m)
  assert.match(text, /^ostiary_rate_limit_keys 1$/m)
  assert.match(text, new RegExp(`^ostiary_jwks_keys\\{issuer="${issuer.url}"\\} 2$`, 'm'))
})

test('only requests with an API token leave a usage row', async t => {
  const { gate, issuer, call } = await guard(t)
  await (await call('/', await issuer.issue(person))).text()
  await gate.flush()
  assert.equal((await gate.usage?.getTokenUsageStats('jane@example.com'))?.totalRequests, 0)
})

test('every refusal is answered, audited under its type, and counted', async t => {
  const { gate, issuer, call, events } = await guard(t, {
    options: { rateLimit: { maxRequests: 1, windowSeconds: 60, clock: () => 0 } },
    handler: requireHuman().wrap((_req, res) => res.end('a person'))
  })
  const human = await issuer.issue(person)
  const expected: [number, string, string | undefined][] = [
    [401, 'auth_failure', undefined],
    [401, 'auth_failure', forged(human)],
    [200, 'request_success', human],
    [429, 'request_error', human],
    [403, 'access_denied', await issuer.issue(machine)]
  ]
  for (const [status, , token] of expected) {
    const answer = await call('/', token)
    assert.equal(answer.status, status)
    if (status < 400) continue
    assert.equal(answer.headers.get('content-type'), 'application/problem+json')
    assert.equal(answer.headers.get('cache-control'), 'no-store')
    assert.equal(((await answer.json()) as { status: number }).status, status)
    if (status === 401) assert.match(String(answer.headers.get('www-authenticate')), /^Bearer/)
    if (status === 429) assert.equal(answer.headers.get('retry-after'), '60')
  }
  const logged = await events()
  assert.deepEqual(
    logged.map(({ event_type }) => event_type),
    expected.map(([, type]) => type)
  )
  assert.ok(!JSON.stringify(logged).includes(human.slice(0, 30)))
  const text = await scrape(t, gate)
  assert.match(text, /_refusals_total\{[^}]*"rateLimit"[^}]*\} 1/)
  assert.match(text, /_refusals_total\{[^}]*"requireHuman"[^}]*\} 1/)
})

test('what the handler throws is a 500, a request_exception, and told', async t => {
  const { issuer, call, events, reports } = await guard(t, {
    handler: async () => {
      throw new RangeError('the secret of the database')
    }
  })
  const answer = await call('/', await issuer.issue(person))
  assert.equal(answer.status, 500)
  assert.ok(!(await answer.text()).includes('secret'))
  const [event] = await events()
  assert.equal(event.event_type, 'request_exception')
  assert.equal(event.exception_type, 'RangeError')
  assert.deepEqual(
    reports.map(({ what }) => what),
    ['request_exception']
  )
})

test('skipped paths are nobody’s business, unless they could be another path', async t => {
  const { call, events } = await guard(t, { handler: (req, res) => res.end(exchangeOf(req).path) })
  for (const path of ['/health', '/healthz?verbose', '/ready', '/metrics', '/static/app.js']) {
    assert.equal((await call(path)).status, 200, path)
  }
  for (const path of [
    '/health/',
    '/static/%2e%2e/orders',
    '/static//orders',
    '/orders',
    '/static/..%2forders'
  ]) {
    assert.equal((await call(path)).status, 401, path)
  }
  assert.equal((await events()).length, 5)
})

test('the gate works in Connect, and mounted twice runs once', async t => {
  const { gate, issuer, events } = await guard(t)
  const app = connect()
  app.use('/api', gate)
  app.use(gate)
  app.use((req, res) => res.end(`${req.url} ${(req as GuardedRequest).user?.id}`))
  const port = await listen(t, createServer(app))
  const answer = await fetch(`http://127.0.0.1:${port}/api/orders`, {
    headers: { authorization: `Bearer ${await issuer.issue(person)}` }
  })
  assert.equal(await answer.text(), '/api/orders jane')
  while (gate.auditLogger!.stats.events === 0) await turn()
  assert.equal(answer.headers.get('x-ratelimit-remaining'), '99')
  assert.deepEqual(
    (await events()).map(({ path }) => path),
    ['/api/orders']
  )
})

test('an identity provider that is down at start is 503 with Retry-After, until it is back', async t => {
  const issuer = await LocalIssuer.start({ audience })
  t.after(() => issuer.close())
  issuer.fault = 'down'
  const { call, events, gate } = await guard(t, { issuer })
  const token = await issuer.issue(person)
  const down = await call('/', token)
  assert.equal(down.status, 503)
  assert.match(String(down.headers.get('retry-after')), /^[1-9]\d*$/)
  assert.equal(down.headers.get('www-authenticate'), null)
  issuer.fault = 'none'
  let status = 503
  while (status === 503) {
    await new Promise(resolve => setTimeout(resolve, 100))
    status = (await call('/', token)).status
  }
  assert.equal(status, 200)
  await gate.ready()
  assert.equal((await events())[0].event_type, 'request_error')
})

test('a full disk costs no request; the loss is counted and told', {
  skip: !existsSync('/dev/full') && 'there is no /dev/full'
}, async t => {
  const { gate, issuer, call, reports } = await guard(t, {
    options: { audit: { path: '/dev/full', maxPendingBytes: 131_072 } }
  })
  assert.equal((await call('/', await issuer.issue(person))).status, 200)
  await assert.rejects(gate.flush())
  await gate.close()
  const told = reports.map(({ what, count }) => `${what} ${count}`)
  assert.deepEqual(told, ['audit_write 1', 'audit_lost 1'])
})

test('a locked database costs no request; rows wait and are stored when it is free', async t => {
  const { gate, issuer, call, folder } = await guard(t)
  const token = await issuer.issue(apiToken)
  await call('/', token)
  await gate.flush()
  const other = sqliteDriver().open(join(folder, 'usage.db'))
  other.exec('BEGIN EXCLUSIVE')
  assert.equal((await call('/', token)).status, 200)
  other.exec('COMMIT')
  other.close()
  // An attempt that began under the lock may still fail.
  while (gate.usage!.stats.queued > 0) await gate.flush().catch(() => undefined)
  assert.equal((await gate.usage?.getTokenUsageStats('jane@example.com'))?.totalRequests, 2)
})

test('close lets nobody in, keeps what it has, and is safe to call twice', async t => {
  let release: () => void = () => {}
  const { gate, issuer, call, auditPath } = await guard(t, {
    // However long this process is held up, the grace is not over before the request is.
    options: { closeGraceMs: 600_000 },
    handler: async (_req, res) => {
      await new Promise<void>(resolve => {
        release = resolve
      })
      res.end('late')
    }
  })
  const token = await issuer.issue(person)
  const open = call('/slow', token)
  while (gate.collector?.getMetrics().tokensValidated === 0) await turn()
  const closed = gate.close()
  const refused = await call('/', token)
  assert.equal(refused.status, 503)
  assert.equal(refused.headers.get('connection'), 'close')
  release()
  assert.equal(await (await open).text(), 'late')
  await closed
  await gate.close()
  const lines = (await readFile(auditPath, 'utf8'))
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line))
  assert.ok(lines.some(({ path, status_code }) => path === '/slow' && status_code === 200))
})

test('close waits no longer than its grace for a request that does not end', async t => {
  const { gate, issuer, call } = await guard(t, { options: { closeGraceMs: 20 }, handler: () => {} })
  const open = call('/', await issuer.issue(person))
  open.catch(() => {})
  while (gate.collector?.getMetrics().tokensValidated === 0) await turn()
  await gate.close()
})

test('a logger and a store of one’s own are flushed and left open', async t => {
  const events: unknown[] = []
  const auditLogger = new AuditLogger({ callback: event => events.push(event) })
  const store = new MemoryUsageStore()
  const { gate, issuer, call } = await guard(t, {
    options: { audit: { auditLogger, excludePaths: ['/quiet'] }, usage: { store } }
  })
  const token = await issuer.issue(apiToken)
  await call('/', token)
  await call('/quiet', token)
  await gate.close()
  assert.equal(events.length, 1)
  auditLogger.log({ eventType: 'still_open' })
  assert.equal(events.length, 2)
  assert.equal(gate.auditLogger, auditLogger)
})

test('a verifier of one’s own is left open', async t => {
  const issuer = await LocalIssuer.start({ audience })
  t.after(() => issuer.close())
  const verifier = new TokenVerifier({ issuer: issuer.url, audience })
  t.after(() => verifier.close())
  await ostiary({ auth: { verifier } }).close()
  await verifier.ready()
})

test('a gate that cannot be made leaves nothing behind', async () => {
  const folder = temporaryFolder()
  const auditPath = join(folder, 'audit.jsonl')
  let fetches = 0
  const parts = () => {
    const store = new MemoryUsageStore()
    const closed = new Promise<void>(resolve => {
      store.close = async () => resolve()
    })
    const fetch = async () => {
      fetches++
      return new Response('', { status: 500 })
    }
    const auth = { issuer: 'https://login.example.com/', audience, fetch }
    return { closed, options: { auth, usage: { store }, metrics: true } satisfies GateOptions }
  }
  const { closed, options } = parts()
  const nowhere = { path: join(folder, 'nowhere', 'audit.jsonl') }
  assert.throws(() => ostiary({ ...options, audit: nowhere }), /nowhere/)
  await closed
  for (const wrong of [{ trustProxy: -1 }, { skip: { exact: ['x'] } }]) {
    assert.throws(() => ostiary({ ...parts().options, audit: { path: auditPath }, ...wrong }))
    assert.ok(!existsSync(auditPath))
  }
  await new Promise(setImmediate)
  assert.equal(fetches, 0)
})

test('a validation listener of one’s own may be asynchronous, and fail', async t => {
  const issuer = await LocalIssuer.start({ audience })
  t.after(() => issuer.close())
  const onValidation = async () => {
    throw new Error('listener')
  }
  const { call, reports } = await guard(t, {
    issuer,
    options: { auth: { issuer: issuer.url, audience, onValidation } }
  })
  assert.equal((await call('/', 'junk')).status, 401)
  assert.deepEqual(
    reports.map(({ what }) => what),
    ['validation_listener']
  )
})

test('with nothing on, it is a pipeline with an exchange', async t => {
  const gate = ostiary({ auth: false, rateLimit: false, audit: false, usage: false, metrics: false })
  const port = await listen(t, createServer(gate.wrap((req, res) => res.end(String(exchangeOf(req).user)))))
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'undefined')
  const off = await listen(t, createServer(gate.metrics))
  assert.equal((await fetch(`http://127.0.0.1:${off}/metrics`)).status, 404)
  await gate.ready()
  await gate.flush()
  await gate.close()
})

test('the client behind a trusted proxy is audited and limited', async t => {
  const { call, events } = await guard(t, {
    options: { auth: false, trustProxy: 1, rateLimit: { maxRequests: 1, windowSeconds: 60, clock: () => 0 } },
    handler: (_req, res) => res.end()
  })
  assert.equal((await call('/', undefined, { 'x-forwarded-for': '198.51.100.7' })).status, 200)
  assert.equal((await call('/', undefined, { 'x-forwarded-for': '198.51.100.7' })).status, 429)
  assert.equal((await call('/', undefined, { 'x-forwarded-for': '198.51.100.8' })).status, 200)
  assert.deepEqual(
    (await events()).map(({ ip_address }) => ip_address),
    ['198.51.100.7', '198.51.100.7', '198.51.100.8']
  )
})

test('a client that leaves is audited as aborted, with no status', async t => {
  let arrived: () => void = () => {}
  const arrival = new Promise<void>(resolve => {
    arrived = resolve
  })
  const { gate, issuer, events } = await guard(t)
  const port = await listen(t, createServer(gate.wrap(() => arrived())))
  const client = request({
    port,
    host: '127.0.0.1',
    headers: { authorization: `Bearer ${await issuer.issue(person)}` }
  })
  client.on('error', () => {})
  client.end()
  await arrival
  client.destroy()
  while (gate.auditLogger?.stats.events === 0) await turn()
  const [event] = await events()
  assert.equal(event.status_code, 0)
  assert.equal(event.outcome, 'aborted')
})

test('who guesses tokens is slowed down, before any is looked at', async t => {
  const { gate, issuer, call, events } = await guard(t, {
    options: { failedAttempts: { maxRequests: 2, windowSeconds: 60, clock: () => 0 } }
  })
  const good = await issuer.issue(person)
  for (let i = 0; i < 5; i++) assert.equal((await call('/', good)).status, 200)
  const guess = forged(good)
  assert.equal((await call('/', guess)).status, 401)
  assert.equal((await call('/', guess)).status, 401)
  const refused = await call('/', guess)
  assert.equal(refused.status, 429)
  assert.equal(refused.headers.get('retry-after'), '60')
  assert.equal(gate.collector?.getMetrics().tokensFailed, 2)
  assert.equal((await events()).at(-1)?.event_type, 'request_error')
})

test('an upgrade passes the same gate: refused as HTTP, or handed to ws', async t => {
  const { gate, issuer, events } = await guard(t)
  const sockets = new WebSocketServer({ noServer: true })
  const server = createServer(gate.wrap((_req, res) => res.end()))
  server.on(
    'upgrade',
    gate.upgrade((req, socket, head) => {
      sockets.handleUpgrade(req, socket, head, ws => ws.send(`hello ${exchangeOf(req).user?.id}`))
    })
  )
  const port = await listen(t, server)
  const refused = new WebSocket(`ws://127.0.0.1:${port}/chat`)
  const [error] = (await once(refused, 'error')) as [Error]
  assert.match(error.message, /401/)
  const headers = { authorization: `Bearer ${await issuer.issue(person)}` }
  const client = new WebSocket(`ws://127.0.0.1:${port}/chat`, { headers })
  const [message] = (await once(client, 'message')) as [Buffer]
  assert.equal(String(message), 'hello jane')
  client.close()
  await once(client, 'close')
  assert.deepEqual(
    (await events()).map(({ status_code }) => status_code),
    [401, 101]
  )
})

test('an attached server shows what Node answers itself', async t => {
  const { gate, events } = await guard(t)
  const server = createServer(gate.wrap((_req, res) => res.end()))
  gate.attach(server)
  const port = await listen(t, server)
  assert.match(await converse(port, 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 400 /)
  assert.match(await converse(port, 'no http at all\r\n\r\n'), /^HTTP\/1\.1 400 /)
  const logged = await events()
  assert.deepEqual(
    logged.map(({ event_type, status_code }) => [event_type, status_code]),
    [
      ['request_error', 400],
      ['request_error', 400]
    ]
  )
  await gate.close()
  assert.match(await converse(port, 'no http at all\r\n\r\n'), /^HTTP\/1\.1 400 /)
})

test('the exchange is at hand anywhere below the handler, on request', async t => {
  const { issuer, call } = await guard(t, {
    options: { asyncContext: true },
    handler: async (_req, res) => {
      await turn()
      res.end(currentExchange()?.user?.id)
    }
  })
  assert.equal(await (await call('/', await issuer.issue(person))).text(), 'jane')
})

test('wrong options are named at construction, with the value', async () => {
  const folder = temporaryFolder()
  const file = join(folder, 'a-file')
  await writeFile(file, '')
  const auth = { issuer: 'https://login.example.com/', audience, jwks: { keys: [] } }
  const wrong: [unknown, RegExp][] = [
    [null, /ostiary: options must be an object, got null/],
    [{ ratelimit: {} }, /ostiary: there is no option ratelimit/],
    [{ auth: true }, /ostiary: auth must be an object or false, got true/],
    [{ auth: { issuer: 'http://login.example.com/', audience } }, /issuer.*http:\/\/login\.example\.com/],
    [{ auth: { ...auth, audience: '' } }, /audience/],
    [{ rateLimit: { maxRequests: 0, windowSeconds: 60 } }, /maxRequests must be a positive integer, got 0/],
    [{ rateLimit: { maxRequests: 10, windowSeconds: -1 } }, /windowSeconds.*got -1/],
    [{ audit: { path: join(file, 'audit.jsonl') } }, /audit.*a-file/i],
    [
      { audit: { auditLogger: new AuditLogger({ callback: () => {} }), path: 'audit.jsonl' } },
      /audit takes an auditLogger or options/
    ],
    [{ usage: { sqlite: join(file, 'usage.db') } }, /a-file/],
    [{ usage: {} }, /one of sqlite, store and recorder/],
    [{ metrics: 'yes' }, /ostiary: metrics must be an object, true or false, got yes/],
    [{ skip: { exact: ['health'] } }, /start with a slash, got "health"/],
    [{ skip: ['/health'] }, /ostiary: skip must be an object of exact and prefix, got \["\/health"\]/],
    [{ skip: { paths: [] } }, /ostiary: skip must be an object of exact and prefix, got "paths"/],
    [{ skip: null }, /ostiary: skip must be an object, got null/],
    [{ onReport: 'stderr' }, /ostiary: onReport must be a function, got stderr/],
    [{ trustProxy: -1 }, /trustProxy must be a number of hops or a list of CIDRs, got -1/],
    [{ trustProxy: ['10.0.0.0/40'] }, /trustProxy must hold addresses or CIDRs, got "10\.0\.0\.0\/40"/],
    [{ ipv6Prefix: 8 }, /ipv6Prefix must be an integer from 32 to 128, got 8/],
    [{ asyncContext: 1 }, /asyncContext must be true or false, got 1/],
    [{ closeGraceMs: -1 }, /closeGraceMs must be a number of ms from 0 to 2147483647, got -1/],
    [{ closeGraceMs: 2 ** 31 }, /closeGraceMs must be a number of ms from 0 .*, got 2147483648/],
    [{ usage: { store: new MemoryUsageStore(), recorder: 1 } }, /one of sqlite, store and recorder, got 2/]
  ]
  for (const [options, message] of wrong)
    assert.throws(() => ostiary(options as GateOptions), { message }, String(message))
})

test('a sealed audit log: every request is in it, and a changed line shows', async t => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const sealed = new SealedLog({ path })
  const { publicKey } = sealed
  const gate = ostiary({ audit: { sink: sealed } })
  const port = await listen(t, createServer(gate.wrap((_req, res) => res.end('hello')) as RequestListener))
  for (let i = 0; i < 3; i++)
    await converse(port, `GET /orders/${i} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
  await gate.close()
  assert.deepEqual(await verifySealedLog(path, { publicKey }).then(({ ok, events }) => ({ ok, events })), {
    ok: true,
    events: 3
  })
  await writeFile(path, (await readFile(path, 'utf8')).replace('/orders/1', '/orders/7'))
  const { ok, problems } = await verifySealedLog(path, { publicKey })
  assert.equal(ok, false)
  assert.deepEqual(
    problems.map(({ kind }) => kind),
    ['changed']
  )
})
