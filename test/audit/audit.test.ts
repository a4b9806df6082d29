import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { audit } from '../../lib/audit/audit.ts'
import type { AuditEvent } from '../../lib/audit/audit-event.ts'
import { AuditLogger } from '../../lib/audit/audit-logger.ts'
import { exchangeOf, type Identity } from '../../lib/http/exchange.ts'
import { type Middleware, pipeline } from '../../lib/http/pipeline.ts'
import { refuse } from '../../lib/http/problem.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { converse, listen } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

type Handler = (req: IncomingMessage, res: ServerResponse) => unknown

/** Collects lines and events of a real server behind `audit`. */
async function audited(
  t: TestContext,
  handler: Handler,
  options: { excludePaths?: string[]; enabled?: boolean } = {}
) {
  const lines: string[] = []
  const events: AuditEvent[] = []
  const auditLogger = new AuditLogger({
    reporter: new Reporter({ onReport: () => {} }),
    callback: event => void events.push(event),
    sink: {
      write: line => lines.push(line) > 0,
      flush: async () => {},
      close: async () => {}
    }
  })
  const server = createServer(pipeline(quiet, audit({ auditLogger, ...options })).wrap(handler))
  const port = await listen(t, server)
  const get = (target: string, headers = '') =>
    converse(port, `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${headers}\r\n`)
  const logged = async (count = 1) => {
    while (lines.length < count) await new Promise(resolve => setTimeout(resolve, 1))
    for (let i = 0; i < lines.length; i++) {
      // The line and the event say the same.
      assert.deepEqual(JSON.parse(lines[i]), JSON.parse(JSON.stringify(events[i])))
    }
    return lines.map(line => JSON.parse(line) as Record<string, unknown>)
  }
  return { port, get, logged, lines }
}

/** Keeps what a handler throws off the console. */
const quiet: Middleware = (req, res, next) => {
  Object.defineProperty(exchangeOf(req), 'reporter', { value: new Reporter({ onReport: () => {} }) })
  void res
  next()
}

const machine: Identity = {
  id: 'svc',
  key: 'client:svc',
  name: null,
  email: null,
  kind: 'machine',
  isM2M: true,
  clientId: 'svc',
  scopes: []
}

test('one line a request, with every field in its order', async t => {
  // Nobody sets the wall clock meanwhile: it stands still, and the time of the event is off by no more than what passes.
  const now = Date.UTC(2_030, 0, 1)
  t.mock.timers.enable({ apis: ['Date'], now })
  const began = performance.now()
  const server = await audited(t, (req, res) => {
    const exchange = exchangeOf(req)
    exchange.user = machine
    exchange.tokenId = 'jti-1'
    res.end('ok')
  })
  await server.get(
    '/orders/7?access_token=secret',
    'User-Agent: curl/8 "x" \\y\r\nAuthorization: Bearer abc\r\n'
  )
  const [event] = await server.logged()
  assert.deepEqual(Object.keys(event), [
    'timestamp',
    'event_type',
    'user_id',
    'client_id',
    'is_m2m',
    'path',
    'method',
    'status_code',
    'ip_address',
    'user_agent',
    'duration_ms',
    'outcome',
    'token_id'
  ])
  const { timestamp, duration_ms, ...rest } = event
  assert.deepEqual(rest, {
    event_type: 'request_success',
    user_id: 'svc',
    client_id: 'svc',
    is_m2m: true,
    path: '/orders/7',
    method: 'GET',
    status_code: 200,
    ip_address: '127.0.0.1',
    user_agent: 'curl/8 "x" \\y',
    outcome: 'completed',
    token_id: 'jti-1'
  })
  const passed = performance.now() - began
  const sinceNow = Date.parse(String(timestamp)) - now
  assert.ok(Math.abs(sinceNow) <= passed + 1, `${sinceNow} ms`)
  assert.ok((duration_ms as number) > 0 && (duration_ms as number) <= passed + 1, `${duration_ms} ms`)
  assert.ok(!server.lines[0].includes('secret') && !server.lines[0].includes('abc'))
})

const types: [number, string][] = [
  [200, 'request_success'],
  [204, 'request_success'],
  [304, 'request_success'],
  [399, 'request_success'],
  [400, 'request_error'],
  [401, 'auth_failure'],
  [403, 'access_denied'],
  [404, 'request_error'],
  [429, 'request_error'],
  [500, 'request_error'],
  [503, 'request_error']
]

test('the status names the event', async t => {
  const server = await audited(t, (req, res) => {
    res.writeHead(Number(req.url?.slice(1))).end()
  })
  for (const [status] of types) await server.get(`/${status}`)
  const events = await server.logged(types.length)
  assert.deepEqual(
    events.map(event => [event['status_code'], event['event_type']]),
    types
  )
  assert.equal(events[0]['user_id'], null)
  assert.equal(events[0]['is_m2m'], null)
  assert.equal(events[0]['user_agent'], null)
})

test('a full disk harms no request', {
  skip: !existsSync('/dev/full') && 'there is no /dev/full'
}, async t => {
  const reporter = new Reporter({ onReport: () => {} })
  const auditLogger = new AuditLogger({ path: '/dev/full', flushIntervalMs: 1, reporter })
  const server = createServer(pipeline(audit({ auditLogger })).wrap((_req, res) => res.end('served')))
  const port = await listen(t, server)
  for (let i = 0; i < 20; i++) {
    assert.match(await converse(port, 'GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), /served$/)
  }
  await auditLogger.close()
  assert.equal(auditLogger.stats.dropped, 20)
  assert.equal(reporter.counts.get('audit_lost'), 20)
  assert.ok(reporter.counts.get('audit_write')! >= 1)
})

class OrderError extends Error {}

const thrown: [string, unknown, Record<string, unknown>][] = [
  ['an error', new OrderError('no\nstock'), { exception: 'no\nstock', exception_type: 'OrderError' }],
  ['a string', 'text', { exception: 'text', exception_type: 'string' }],
  ['nothing', undefined, { exception: 'a handler threw nothing', exception_type: 'Error' }],
  ['an object', { a: 1 }, { exception: 'a thrown object', exception_type: 'object' }],
  [
    'an error that quotes a token',
    new Error('bad token eyJhbGciOiJSUzI1NiJ9.e30.c2ln'),
    { exception: 'bad token [redacted]', exception_type: 'Error' }
  ]
]

for (const [what, error, members] of thrown) {
  test(`a handler that throws ${what} is a request_exception`, async t => {
    const lines: string[] = []
    const auditLogger = new AuditLogger({
      sink: { write: line => lines.push(line) > 0, flush: async () => {}, close: async () => {} }
    })
    const server = createServer(
      pipeline(quiet, audit({ auditLogger })).wrap(() => {
        throw error
      })
    )
    const port = await listen(t, server)
    await converse(port, 'GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    while (lines.length === 0) await new Promise(resolve => setTimeout(resolve, 1))
    const event = JSON.parse(lines[0])
    assert.equal(event.event_type, 'request_exception')
    assert.equal(event.status_code, 500)
    assert.deepEqual({ exception: event.exception, exception_type: event.exception_type }, members)
  })
}

test('a refusal names the stage and the true reason', async t => {
  const server = await audited(t, req => {
    refuse(exchangeOf(req), 'authenticate', 'token_expired', { status: 401 })
  })
  assert.match(await server.get('/x'), /^HTTP\/1\.1 401/)
  const [event] = await server.logged()
  assert.equal(event['event_type'], 'auth_failure')
  assert.equal(event['denied_by'], 'authenticate')
  assert.equal(event['reason'], 'token_expired')
})

test('a client that leaves before the answer shows: status 0, aborted', async t => {
  const arrived = new EventEmitter()
  const server = await audited(t, () => arrived.emit('request'))
  const socket = connect(server.port, '127.0.0.1')
  socket.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(arrived, 'request')
  socket.destroy()
  const [event] = await server.logged()
  assert.equal(event['event_type'], 'request_error')
  assert.equal(event['status_code'], 0)
  assert.equal(event['outcome'], 'aborted')
})

test('a client that leaves in mid-answer shows as aborted', async t => {
  const server = await audited(t, (_req, res) => {
    res.writeHead(200)
    res.write('half')
  })
  const req = request({ host: '127.0.0.1', port: server.port, path: '/stream' })
  req.on('error', () => {})
  req.end()
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  await once(res, 'data')
  res.destroy()
  const [event] = await server.logged()
  assert.equal(event['event_type'], 'request_success')
  assert.equal(event['outcome'], 'aborted')
})

test('hostile paths and user agents stay on their line', async t => {
  const server = await audited(t, (_req, res) => res.end())
  await server.get('/a"b\\c', 'User-Agent: x\u00ff\u0080 Bearer opaque\r\n')
  const [event] = await server.logged()
  assert.match(server.lines[0], /^[ -~]+$/)
  assert.equal(event['path'], '/a"b\\c')
  assert.equal(event['user_agent'], 'x\u00ff\u0080 Bearer [redacted]')
})

test('excluded paths leave no event, and only when they have one reading', async t => {
  const server = await audited(t, (_req, res) => res.end())
  for (const path of ['/health', '/metrics', '/docs', '/openapi.json', '/health?x=1']) await server.get(path)
  for (const path of ['/healthy', '/health/', '//health', '/x/../health']) await server.get(path)
  const events = await server.logged(4)
  assert.deepEqual(
    events.map(event => event['path']),
    ['/healthy', '/health/', '//health', '/x/../health']
  )
})

test('excludePaths replaces the default', async t => {
  const server = await audited(t, (_req, res) => res.end(), { excludePaths: ['/quiet'] })
  await server.get('/quiet')
  await server.get('/health')
  const events = await server.logged(1)
  assert.deepEqual(
    events.map(event => event['path']),
    ['/health']
  )
})

test('disabled, it lets everything pass unseen', async t => {
  const server = await audited(t, (_req, res) => res.end('ok'), { enabled: false })
  assert.match(await server.get('/x'), /ok$/)
  assert.equal(server.lines.length, 0)
})

test('a caller whose client or kind changed is printed anew', async t => {
  let clientId = 'one'
  const server = await audited(t, (req, res) => {
    exchangeOf(req).user = { ...machine, clientId, isM2M: clientId === 'one' }
    res.end()
  })
  await server.get('/1')
  clientId = 'two'
  await server.get('/2')
  const events = await server.logged(2)
  assert.deepEqual(
    events.map(event => [event['client_id'], event['is_m2m']]),
    [
      ['one', true],
      ['two', false]
    ]
  )
})

test('an identity that is not what its type says cannot break the line', async t => {
  const server = await audited(t, (req, res) => {
    exchangeOf(req).user = { id: 7, key: 'x' } as unknown as Identity
    exchangeOf(req).tokenId = 42 as unknown as string
    res.end()
  })
  await server.get('/1')
  while (server.lines.length === 0) await new Promise(resolve => setTimeout(resolve, 1))
  const event = JSON.parse(server.lines[0])
  assert.deepEqual([event.user_id, event.client_id, event.is_m2m, event.token_id], [7, null, null, '42'])
})

test('more callers than are kept at hand, some of whom come again', async t => {
  const requests = 8_500
  const idOf = (i: number) => `u${i % 8_300}`
  let next = 0
  const server = await audited(t, (req, res) => {
    const id = idOf(next++)
    exchangeOf(req).user = { ...machine, id, key: `user:${id}`, clientId: null }
    res.end()
  })
  const socket = connect(server.port, '127.0.0.1')
  socket.resume()
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(requests))
  const events = await server.logged(requests)
  assert.deepEqual(
    events.map(event => event['user_id']),
    Array.from({ length: requests }, (_, i) => idOf(i))
  )
  socket.destroy()
})

const wrong: [Record<string, unknown>, RegExp][] = [
  [{ enabled: 'no' }, /audit: enabled must be true or false, got no/],
  [{ auditLogger: {} }, /audit: auditLogger must be an AuditLogger, got \[object Object\]/],
  [{ excludePaths: '/health' }, /audit: excludePaths must be a list of paths, got \/health/],
  [{ excludePaths: ['health'] }, /PathFilter: exact entries must start with a slash, got "health"/]
]

for (const [options, message] of wrong) {
  test(`refuses the options ${JSON.stringify(options)}`, () => {
    assert.throws(() => audit(options as never), message)
  })
}

test('who flushes right after an answer has its line', async t => {
  const lines: string[] = []
  let flushed: Promise<string[]> | undefined
  let seen = -1
  const sink = { write: (line: string) => lines.push(line) > 0, flush: async () => {}, close: async () => {} }
  const auditLogger = new AuditLogger({ sink })
  const handler: Handler = (_req, res) => {
    res.on('finish', () => {
      flushed = auditLogger.flush().then(() => [...lines])
      seen = auditLogger.stats.events
    })
    res.end()
  }
  const port = await listen(t, createServer(pipeline(audit({ auditLogger })).wrap(handler)))
  await converse(port, 'GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  assert.equal((await flushed)?.length, 1)
  assert.equal(seen, 1)
})

test('a process that exits in the turn of an answer has its line', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const lib = pathToFileURL(join(import.meta.dirname, '../../lib/index.ts')).href
  const program = `
    import { createServer, get } from 'node:http'
    import { audit, AuditLogger, pipeline } from ${JSON.stringify(lib)}
    const auditLogger = new AuditLogger({ path: ${JSON.stringify(path)}, flushIntervalMs: 60_000 })
    const server = createServer(pipeline(audit({ auditLogger })).wrap((req, res) => {
      res.on('finish', () => process.exit(0))
      res.end()
    }))
    server.listen(0, '127.0.0.1', () => get({ port: server.address().port, path: '/last' }).on('error', () => {}))`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
    stdio: 'inherit'
  })
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
  assert.deepEqual(
    lines.map(line => JSON.parse(line).path),
    ['/last']
  )
})
