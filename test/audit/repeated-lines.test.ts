import assert from 'node:assert/strict'
import { existsSync, readFileSync, symlinkSync, unlinkSync } from 'node:fs'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { AuditFile } from '../../lib/audit/audit-file.ts'
import { AuditLineFormat } from '../../lib/audit/audit-line.ts'
import { AuditLogger } from '../../lib/audit/audit-logger.ts'
import { LineChunk } from '../../lib/audit/line-chunk.ts'
import { PrintedTime } from '../../lib/audit/printed-time.ts'
import { RepeatedLine } from '../../lib/audit/repeated-lines.ts'
import { SealedLog } from '../../lib/audit/sealed-log.ts'
import { verifySealedLog } from '../../lib/audit/verify-sealed-log.ts'
import { ClientAddress } from '../../lib/http/client-address.ts'
import { type Exchange, type Identity, openExchange } from '../../lib/http/exchange.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { WallClock } from '../../lib/http/wall-clock.ts'
import { fc } from '../support/seeded.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const noFullDevice = existsSync('/dev/full') ? false : 'there is no /dev/full'

/** What a line says, time and duration left out. */
interface Said {
  user: Partial<Identity> | undefined
  tokenId: string | undefined
  path: string
  method: string
  statusCode: number
  address: string
  userAgent: string | undefined
  outcome: Exchange['outcome']
  denial: Exchange['denial']
  error: unknown
}

const plain: Said = {
  user: { id: 'u1', key: 'user:u1', clientId: 'web', isM2M: false, evidence: 'sub' },
  tokenId: 'jti-1',
  path: '/orders/1',
  method: 'GET',
  statusCode: 200,
  address: '192.0.2.1',
  userAgent: 'curl/8',
  outcome: 'completed',
  denial: undefined,
  error: undefined
}

/** One change each; some that print the same as another, or need escapes, or are not what their type says. */
const changes: Partial<Said>[] = [
  { user: undefined },
  { user: { ...plain.user, id: 'u2', key: 'user:u2' } },
  { user: { ...plain.user, id: 'u2' } },
  { user: { ...plain.user, clientId: null } },
  { user: { ...plain.user, isM2M: true } },
  { user: { key: 'user:u1', id: 'u1', clientId: 'web', isM2M: false } },
  { user: { ...plain.user, evidence: 'gty "ü"' } },
  { tokenId: undefined },
  { tokenId: 'jti-2' },
  { tokenId: 'jti-\u{1f600}"' },
  { tokenId: 42 as never },
  { tokenId: '42' },
  { path: '/' },
  { path: '/orders/2' },
  { path: '/Z\u00fcrich/"a\\b"' },
  { path: '/Z\\u00fcrich/"a\\b"' },
  { path: `/${'long'.repeat(800)}` },
  { method: 'POST' },
  { statusCode: 201 },
  { statusCode: 304 },
  { statusCode: 401 },
  { statusCode: 403 },
  { statusCode: 500 },
  { statusCode: 0 },
  { address: '192.0.2.2' },
  { address: '2001:db8::1' },
  { userAgent: undefined },
  { userAgent: '' },
  { userAgent: 'curl/9' },
  { userAgent: 'x\u00ff\u0080 Bearer opaque' },
  { userAgent: 'm'.repeat(2_000) },
  { outcome: 'aborted' },
  { outcome: 'failed' },
  { denial: { stage: 'rateLimit', reason: 'over "limit"' } },
  { denial: { stage: 'rateLimit', reason: 'draining' } },
  { denial: { stage: 'authenticate', reason: 'draining' } },
  { error: new RangeError('no\nstock') },
  { error: new RangeError('none left') }
]

const proxies = { clientAddress: new ClientAddress({ trustProxy: 1 }), reporter: new Reporter() }

function ended(said: Said, endedAt: number, durationMs: number): Exchange {
  const req = new IncomingMessage(new Socket())
  req.method = said.method
  // A fresh string each, as the parser makes it.
  req.url = Buffer.from(`${said.path}?page=1`).toString()
  req.headers['x-forwarded-for'] = said.address
  if (said.userAgent !== undefined) req.headers['user-agent'] = Buffer.from(said.userAgent).toString()
  const exchange = openExchange(req, new ServerResponse(req), proxies)
  const { user, tokenId, statusCode, outcome, denial, error } = said
  const startedAt = endedAt - durationMs
  return Object.assign(exchange, {
    ...{ user: user as Identity | undefined, tokenId, statusCode, outcome, error, startedAt, endedAt },
    denial: denial && { ...denial }
  })
}

const epochMs = Date.UTC(2_030, 5, 1, 23, 59, 58)

/** Formats print on from here, by a wall clock that stands still beside the monotonic one. */
function format(): AuditLineFormat {
  return new AuditLineFormat(
    new WallClock(
      () => 0,
      () => epochMs
    )
  )
}

/** Counts the lines that were copied while something runs. */
async function copiesDuring(run: () => Promise<void>): Promise<number> {
  const { repeat } = LineChunk.prototype
  let copies = 0
  LineChunk.prototype.repeat = function (...args) {
    const copied = repeat.apply(this, args)
    if (copied) copies++
    return copied
  }
  try {
    await run()
  } finally {
    LineChunk.prototype.repeat = repeat
  }
  return copies
}

function linesOf(path: string): string[] {
  return readFileSync(path, 'latin1').split('\n').slice(0, -1)
}

interface Step {
  said: Said
  /** ms since the line before. */
  gapMs: number
  durationMs: number
  flush: boolean
}

/** Writes the exchanges to a file, and compares each line with the one that is printed anew, and with the event. */
async function compare(steps: readonly Step[]): Promise<void> {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const file = new AuditFile({ path })
  const [printing, copying] = [format(), format()]
  const expected: string[] = []
  const events: unknown[] = []
  let endedAt = 0
  for (const { said, gapMs, durationMs, flush } of steps) {
    endedAt += gapMs
    const exchange = ended(said, endedAt, durationMs)
    expected.push(printing.ofExchange(exchange))
    events.push(JSON.parse(JSON.stringify(printing.eventOf(exchange))))
    assert.equal(copying.writeTo(file, exchange), true)
    if (flush) await file.flush()
  }
  await file.close()
  const lines = linesOf(path)
  assert.deepEqual(lines, expected)
  lines.forEach((line, i) => {
    assert.match(line, /^[ -~]+$/)
    // Metadata that is no text is printed as one.
    assert.deepEqual(JSON.parse(line), withTextTokenId(events[i]))
  })
}

function withTextTokenId(event: unknown): unknown {
  const { token_id } = event as { token_id?: unknown }
  return token_id === undefined ? event : { ...(event as object), token_id: String(token_id) }
}

const durations = [
  ...[
    0, 0.000_4, 0.001, 0.999_6, 1, 9.999, 9.999_6, 10, 99.999, 100, 999.999, 1_000, 12_345.678, 999_999.999
  ],
  ...[999_999.999_6, 1_000_000, 3_600_000.5, 86_400_000]
]

test('lines that are copied are those that would be printed, whatever changes between them', async () => {
  const anySaid = fc
    .array(fc.constantFrom(...changes), { maxLength: 2 })
    .map(some => Object.assign({ ...plain }, ...some) as Said)
  const anyStep = fc.record({
    which: fc.nat(),
    gapMs: fc.oneof(
      { weight: 4, arbitrary: fc.double({ min: 0, max: 5, noNaN: true }) },
      { weight: 1, arbitrary: fc.constantFrom(0, 999, 1_000, 59_999.999, 86_400_000) }
    ),
    durationMs: fc.oneof(
      { weight: 4, arbitrary: fc.double({ min: 0, max: 2, noNaN: true }) },
      { weight: 1, arbitrary: fc.constantFrom(...durations) }
    ),
    flush: fc.integer({ min: 0, max: 30 }).map(n => n === 0)
  })
  let lines = 0
  const copies = await copiesDuring(() =>
    fc.assert(
      fc.asyncProperty(
        fc.array(anySaid, { minLength: 1, maxLength: 3 }),
        fc.array(anyStep, { minLength: 1, maxLength: 80, size: 'max' }),
        async (saids, steps) => {
          lines += steps.length
          await compare(steps.map(step => ({ ...step, said: saids[step.which % saids.length] })))
        }
      ),
      { numRuns: 60 }
    )
  )
  assert.ok(copies > lines / 8 && copies < lines, `${copies} of ${lines}`)
})

test('one change at a time is printed, between lines that are copied', async () => {
  const step = { gapMs: 0.25, durationMs: 0.125, flush: false }
  const steps = changes.flatMap(change => {
    const said = { ...plain, ...change }
    return [plain, plain, plain, said, said, said, plain].map(said => ({ ...step, said }))
  })
  const copies = await copiesDuring(() => compare(steps))
  assert.ok(copies > changes.length * 3, `${copies}`)
})

test('a line is what another says only when all of it is the same', () => {
  const saids = [plain, ...changes.map(change => ({ ...plain, ...change }))]
  const callers = new Map(saids.map(({ user }) => [JSON.stringify(user), { user }]))
  const exchanges = saids.filter(({ error }) => error === undefined).map(said => ended(said, 1, 1))
  for (const [i, one] of exchanges.entries()) {
    const line = new RepeatedLine()
    line.become(callers.get(JSON.stringify(one.user))!, one)
    for (const [j, other] of exchanges.entries()) {
      assert.equal(line.says(callers.get(JSON.stringify(other.user))!, other), i === j, `${i} and ${j}`)
    }
  }
})

test('a copy says its own duration, of whatever width', async () => {
  const both = durations.flatMap(a => durations.flatMap(b => [a, b]))
  const steps = both.map(durationMs => ({ said: plain, gapMs: 0.5, durationMs, flush: false }))
  const copies = await copiesDuring(() => compare(steps))
  assert.ok(copies > both.length / 2, `${copies}`)
})

test('a copy says its own time, in the next second, minute and day too', async () => {
  const gaps = [0, 0.9, 1, 999, 1_000, 1, 1_000, 59_000, 3_600_000, 86_400_000, 0.1]
  const steps = gaps.flatMap(gapMs => [
    { said: plain, gapMs, durationMs: 1, flush: false },
    { said: { ...plain, path: '/other' }, gapMs: 0, durationMs: 1, flush: false }
  ])
  const copies = await copiesDuring(() => compare(steps))
  assert.equal(copies, steps.length - 4)
})

test('what comes a second time in a chunk is remembered, and copied from the third on', async () => {
  const steps = Array.from({ length: 3_000 }, () => ({
    said: plain,
    gapMs: 0.01,
    durationMs: 0.5,
    flush: false
  }))
  const copies = await copiesDuring(() => compare(steps))
  const chunks = Math.ceil((steps.length * 300) / 262_144)
  assert.equal(copies, steps.length - 2 * chunks)
})

test('callers who are forgotten and come again', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const file = new AuditFile({ path })
  const [printing, copying] = [format(), format()]
  const expected: string[] = []
  const exchange = ended(plain, 1, 1)
  // More than both generations hold; each comes three times in a row, and some of them once more.
  for (let i = 0; i < 19_000; i++) {
    const id = `u${i % 17_000}`
    exchange.user = { ...plain.user, id, key: `user:${id}` } as Identity
    for (let times = 0; times < 3; times++) {
      exchange.endedAt += 0.25
      expected.push(printing.ofExchange(exchange))
      assert.equal(copying.writeTo(file, exchange), true)
    }
    if (i % 1_000 === 0) await file.flush()
  }
  await file.close()
  assert.deepEqual(linesOf(path), expected)
})

test('a duration that no clock gives is not copied', () => {
  const chunk = new LineChunk(1_024)
  const time = new PrintedTime()
  time.set(epochMs)
  const place = { filling: 0, at: 0, length: 80, durationAt: 60, durationLength: 5, second: 0 }
  chunk.append('x'.repeat(79))
  assert.equal(chunk.repeat(place, time, 1), false)
  chunk.locate(place)
  for (const micros of [-1, Number.NaN, Number.POSITIVE_INFINITY, 1e9]) {
    assert.equal(chunk.repeat(place, time, micros), false)
  }
  assert.deepEqual([chunk.used, chunk.lines], [80, 1])
  assert.equal(chunk.repeat(place, time, 1), true)
  chunk.empty()
  assert.equal(chunk.repeat(place, time, 1), false)
})

test('a sealed log of copied lines is a sealed log; none is taken once it closes', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const sink = new SealedLog({ path })
  const reporter = new Reporter({ onReport: () => {} })
  const logger = new AuditLogger({ sink, reporter })
  const copies = await copiesDuring(async () => {
    for (let i = 0; i < 2_000; i++) logger.logExchange(ended(plain, performance.now(), 0.5))
    const closing = sink.close()
    logger.logExchange(ended(plain, performance.now(), 0.5))
    await closing
  })
  assert.ok(copies > 1_900)
  assert.equal(logger.stats.dropped, 1)
  const verified = await verifySealedLog(path, { publicKey: sink.publicKey })
  assert.deepEqual([verified.ok, verified.events], [true, 2_000])
})

test('a sink that extends one of ours, and each of several sinks, gets every line', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const seen: string[] = []
  class Watched extends SealedLog {
    override write(line: string): boolean {
      seen.push(line)
      return super.write(line)
    }
  }
  const logger = new AuditLogger({ sink: new Watched({ path: `${path}.sealed` }) })
  const both = new AuditLogger({
    path,
    sink: { write: line => seen.push(line) > 0, flush: async () => {}, close: async () => {} }
  })
  for (let i = 0; i < 10; i++) logger.logExchange(ended(plain, performance.now(), 0.5))
  assert.equal(seen.length, 10)
  for (let i = 0; i < 10; i++) both.logExchange(ended(plain, performance.now(), 0.5))
  await Promise.all([logger.close(), both.close()])
  assert.deepEqual(linesOf(path), seen.slice(10))
})

test('copies that a full disk leaves no room for are counted, and told in their place', {
  skip: noFullDevice
}, async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  symlinkSync('/dev/full', path)
  const reporter = new Reporter({ onReport: () => {} })
  const sink = new AuditFile({ path, maxPendingBytes: 131_072, reporter })
  const logger = new AuditLogger({ sink, reporter })
  const log = () => logger.logExchange(ended(plain, performance.now(), 0.5))
  for (let i = 0; i < 2_000; i++) log()
  const { events, pending, dropped } = logger.stats
  assert.equal(events, 2_000)
  assert.ok(pending > 300 && dropped > 1_000)
  assert.equal(pending + dropped, 2_000)
  assert.equal(reporter.counts.get('audit_lost'), dropped)

  await assert.rejects(sink.flush(), { code: 'ENOSPC' })
  unlinkSync(path)
  await logger.reopen()
  await sink.flush()
  log()
  log()
  await logger.close()
  const types = linesOf(path).map(line => JSON.parse(line)['event_type'])
  assert.deepEqual(types, [
    ...new Array(pending).fill('request_success'),
    ...['dropped', 'request_success', 'request_success']
  ])
  assert.equal(logger.stats.dropped, dropped)
})
