import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { LocalIssuer } from '../../examples/local-issuer.ts'
import { type Gate, ostiary } from '../../lib/gate.ts'
import { bytesFor } from '../http/wire.ts'
import { listen } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const audience = 'orders-api'
let issuer: LocalIssuer
let token: string
before(async () => {
  issuer = await LocalIssuer.start({ audience })
  token = await issuer.issue({ sub: 'jane', client_id: 'web' })
})
after(() => issuer.close())

interface Counted {
  answer: string
  /** What the audit log and the metrics say came in. */
  audited: number[]
  measured: number
  reports: unknown[]
}

/** Sends bytes to a guarded server whose own answers are seen too. */
async function send(t: TestContext, request: string): Promise<Counted> {
  const folder = temporaryFolder()
  const path = join(folder, 'audit.jsonl')
  const reports: unknown[] = []
  const gate = ostiary({
    auth: { issuer: issuer.url, audience, jwks: issuer.jwks },
    rateLimit: { maxRequests: 100, windowSeconds: 60 },
    audit: { path },
    metrics: true,
    onReport: report => reports.push(report)
  })
  t.after(async () => {
    await gate.close()
  })
  const server = createServer(gate.wrap((req, res) => res.end(req.url)))
  gate.attach(server)
  const answer = await bytesFor(await listen(t, server), request)
  await gate.flush()
  const audited = (await readFile(path, 'utf8'))
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line).status_code as number)
  return { answer, audited, measured: await requestsIn(t, gate), reports }
}

const many = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: ${i}\r\n`).join('')
const get = (target: string, headers: string) =>
  `GET ${target} HTTP/1.1\r\nHost: x\r\n${headers}Connection: close\r\n\r\n`
const bearer = () => `Authorization: Bearer ${token}\r\n`

/** How many requests the metrics have counted. */
async function requestsIn(t: TestContext, gate: Gate): Promise<number> {
  const port = await listen(t, createServer(gate.metrics))
  const text = await bytesFor(port, 'GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  const counts = text.matchAll(/^http_server_request_duration_seconds_count\{.*\} (\d+)$/gm)
  return [...counts].reduce((sum, match) => sum + Number(match[1]), 0)
}

/** What is sent, and the status it gets, from the gate or from Node itself. */
const table: [string, () => string, number][] = [
  ['100 headers', () => get('/', many(96) + bearer()), 200],
  ['500 headers', () => get('/', many(500) + bearer()), 200],
  ['a header of 12 KiB', () => get('/', `X-A: ${'a'.repeat(12_288)}\r\n${bearer()}`), 200],
  ['a header of 16 KiB', () => get('/', `X-A: ${'a'.repeat(16_384)}\r\n${bearer()}`), 431],
  ['an Authorization of 12 KiB', () => get('/', `Authorization: Bearer ${'a'.repeat(12_288)}\r\n`), 401],
  ['two Authorization headers', () => get('/', bearer() + bearer()), 400],
  ['two that differ', () => get('/', `${bearer()}Authorization: Basic YTpi\r\n`), 400],
  ['an empty Authorization', () => get('/', 'Authorization:\r\n'), 401],
  ['a folded header', () => get('/', `X-A: a\r\n b\r\n${bearer()}`), 400],
  ['bytes above ASCII in a header', () => get('/', `X-A: \xff\xfe\r\nUser-Agent: \xe9\r\n${bearer()}`), 200],
  ['//', () => get('//', bearer()), 200],
  ['//host/path', () => get('//evil.example/health', ''), 401],
  ['an absolute form with a user', () => get('http://user:secret@host/x', bearer()), 200],
  ['an absolute form that hides its path', () => get('http://host\\@x/health', ''), 400],
  ['an absolute form of another scheme', () => get('ftp://host/x', bearer()), 200],
  ['*', () => `OPTIONS * HTTP/1.1\r\nHost: x\r\n${bearer()}Connection: close\r\n\r\n`, 200],
  ['a broken escape', () => get('/%zz%', bearer()), 200],
  ['a fragment', () => get('/health#x', ''), 401],
  ['no target', () => 'GET  HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['a target of 15 kB', () => get(`/${'a'.repeat(15_000)}`, ''), 401],
  ['a method of WebDAV', () => get('/', bearer()).replace('GET', 'PROPFIND'), 200],
  ['a method unknown to Node', () => get('/', bearer()).replace('GET', 'BREW'), 400],
  ['a method in lower case', () => get('/', bearer()).replace('GET', 'get'), 400],
  ['HTTP/1.0', () => `GET / HTTP/1.0\r\n${bearer()}\r\n`, 200],
  ['HTTP/2.0 in a request line', () => get('/', bearer()).replace('HTTP/1.1', 'HTTP/2.0'), 200],
  ['no Host', () => `GET / HTTP/1.1\r\n${bearer()}\r\n`, 400],
  ['two Hosts', () => get('/', `Host: y\r\n${bearer()}`), 200],
  ['a NUL in a header', () => get('/', 'X-A: a\0b\r\n'), 400],
  ['names of Object.prototype', () => get('/__proto__', `__proto__: x\r\nconstructor: y\r\n${bearer()}`), 200]
]

describe('each gets its answer and is counted once', () => {
  for (const [name, request, status] of table) {
    test(name, async t => {
      const { answer, audited, measured, reports } = await send(t, request())
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `))
      assert.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1)
      assert.deepEqual(audited, [status])
      assert.equal(measured, 1)
      assert.deepEqual(reports, [])
    })
  }
})
