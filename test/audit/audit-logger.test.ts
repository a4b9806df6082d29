import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, symlinkSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { AuditEvent } from '../../lib/audit/audit-event.ts'
import { AuditLogger, type AuditSink } from '../../lib/audit/audit-logger.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const noFullDevice = existsSync('/dev/full') ? false : 'there is no /dev/full'

function auditPath(): string {
  return join(temporaryFolder(), 'audit.jsonl')
}

function eventsIn(path: string): Record<string, unknown>[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line))
}

/** A sink in memory that can be full, and can fail. */
class MemorySink implements AuditSink {
  readonly lines: string[] = []
  full = false
  failure: Error | undefined
  closed = 0

  write(line: string): boolean {
    if (!this.full) this.lines.push(line)
    return !this.full
  }

  async flush(): Promise<void> {
    if (this.failure !== undefined) throw this.failure
  }

  async close(): Promise<void> {
    this.closed++
  }

  get events(): Record<string, unknown>[] {
    return this.lines.map(line => JSON.parse(line))
  }
}

test('logs events and plain fields to the file, in order', async () => {
  const path = auditPath()
  const logger = new AuditLogger({ path })
  logger.log(
    new AuditEvent({ eventType: 'order_placed', userId: 'u1', order: { id: 7, note: 'a\nb\u2028' } })
  )
  logger.log({ eventType: 'order_shipped', clientId: 'shop', isM2M: true, timestamp: new Date(0) })
  await logger.flush()
  const [placed, shipped] = eventsIn(path)
  assert.deepEqual(placed['order'], { id: 7, note: 'a\nb\u2028' })
  assert.equal(placed['user_id'], 'u1')
  assert.deepEqual(Object.keys(shipped).slice(0, 4), ['timestamp', 'event_type', 'user_id', 'client_id'])
  assert.equal(shipped['timestamp'], '1970-01-01T00:00:00.000Z')
  assert.equal(readFileSync(path, 'utf8').split('\n').length, 3)
  assert.deepEqual(logger.stats, { events: 2, pending: 0, dropped: 0, callbackFailures: 0 })
  await logger.close()
})

test('names the three authentication events', () => {
  const events: AuditEvent[] = []
  const logger = new AuditLogger({ callback: event => void events.push(event) })
  logger.logAuthSuccess({ userId: 'u1', isM2M: false, clientId: 'web', provider: 'okta' })
  logger.logAuthFailure({ reason: 'token_expired', ipAddress: '192.0.2.1' })
  logger.logAccessDenied({ userId: 'u1', path: '/admin', reason: 'missing_role' })
  assert.deepEqual(
    events.map(event => [event.eventType, event.userId, event.metadata]),
    [
      ['auth_success', 'u1', { provider: 'okta' }],
      ['auth_failure', null, { reason: 'token_expired' }],
      ['access_denied', 'u1', { reason: 'missing_role' }]
    ]
  )
})

test('a field that is no string cannot break the line', async () => {
  const path = auditPath()
  const logger = new AuditLogger({ path })
  logger.log({
    eventType: 'x',
    userId: { a: '\n' } as never,
    statusCode: Number.NaN,
    isM2M: 'yes\n' as never
  })
  await logger.close()
  const [event] = eventsIn(path)
  assert.deepEqual([event['user_id'], event['status_code'], event['is_m2m']], [{ a: '\n' }, null, 'yes\n'])
})

test('a callback that throws or rejects is counted, and harms nothing', async () => {
  const reporter = new Reporter({ onReport: () => {} })
  const sink = new MemorySink()
  let calls = 0
  const logger = new AuditLogger({
    reporter,
    sink,
    callback: () => {
      if (++calls === 1) throw new Error('no')
      return calls === 2 ? Promise.reject(new Error('later')) : undefined
    }
  })
  for (let i = 0; i < 3; i++) logger.log({ eventType: `e${i}` })
  await logger.flush()
  assert.equal(sink.lines.length, 3)
  assert.equal(reporter.counts.get('audit_callback'), 2)
  assert.equal(logger.stats.callbackFailures, 2)
})

test('flush waits for callbacks; too many unfinished ones are passed by', async () => {
  const reporter = new Reporter({ onReport: () => {} })
  const finish: (() => void)[] = []
  const logger = new AuditLogger({
    reporter,
    callback: () => new Promise<void>(resolve => finish.push(resolve))
  })
  for (let i = 0; i < 1_002; i++) logger.log({ eventType: 'x' })
  assert.equal(finish.length, 1_000)
  assert.equal(reporter.counts.get('audit_callback'), 2)
  let flushed = false
  const flushing = logger.flush().then(() => {
    flushed = true
  })
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(flushed, false)
  for (const resolve of finish) resolve()
  await flushing
})

test('closing does not wait for ever for a callback', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const reporter = new Reporter({ onReport: () => {} })
  const logger = new AuditLogger({ reporter, callback: () => new Promise(() => {}) })
  logger.log({ eventType: 'x' })
  const closing = logger.close()
  t.mock.timers.tick(2_000)
  await closing
  assert.equal(logger.stats.callbackFailures, 1)
})

test('a gap is counted, told, and noted in the log at its place', async t => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2_030, 0, 1) })
  const reporter = new Reporter({ onReport: () => {} })
  const sink = new MemorySink()
  const logger = new AuditLogger({ sink, reporter })
  logger.log({ eventType: 'before' })
  sink.full = true
  for (let i = 0; i < 5; i++) {
    t.mock.timers.tick(1_000)
    logger.log({ eventType: 'lost' })
  }
  sink.full = false
  logger.log({ eventType: 'after' })
  assert.deepEqual(
    sink.events.map(event => [event['event_type'], event['dropped_count']]),
    [
      ['before', undefined],
      ['dropped', 5],
      ['after', undefined]
    ]
  )
  assert.equal(sink.events[1]['dropped_since'], '2030-01-01T00:00:01.000Z')
  assert.equal(sink.events[1]['timestamp'], '2030-01-01T00:00:05.000Z')
  assert.equal(reporter.counts.get('audit_lost'), 5)
  assert.equal(logger.stats.dropped, 5)
})

test('a gap at the end is noted by the flush', async () => {
  const sink = new MemorySink()
  const logger = new AuditLogger({ sink, reporter: new Reporter({ onReport: () => {} }) })
  sink.full = true
  logger.log({ eventType: 'lost' })
  await logger.flush()
  sink.full = false
  await logger.flush()
  await logger.flush()
  assert.deepEqual(
    sink.events.map(event => [event['event_type'], event['dropped_count']]),
    [['dropped', 1]]
  )
})

test('a full disk: nothing blocks, the loss is counted, and the log tells of it when there is room', {
  skip: noFullDevice
}, async () => {
  const path = auditPath()
  symlinkSync('/dev/full', path)
  const reports: string[] = []
  const reporter = new Reporter({
    onReport: ({ what, error }) => void reports.push(`${what}: ${(error as Error).message}`),
    clock: () => 0
  })
  const logger = new AuditLogger({ path, reporter, flushIntervalMs: 1, maxPendingBytes: 131_072 })
  for (let i = 0; i < 3_000; i++) logger.log({ eventType: 'x', number: i })
  const { pending, dropped } = logger.stats
  assert.ok(pending > 300 && dropped > 300)
  assert.equal(pending + dropped, 3_000)
  await assert.rejects(logger.flush(), { code: 'ENOSPC' })
  logger.log({ eventType: 'x', number: 3_000 })
  assert.equal(logger.stats.dropped, dropped + 1)
  // Told once a minute, not once a line.
  assert.equal(reports.length, 2)
  assert.match(reports.join(), /audit_lost: the audit log could not keep a line/)
  assert.match(reports.join(), /audit_write: ENOSPC/)

  unlinkSync(path)
  await logger.reopen()
  await logger.flush()
  logger.log({ eventType: 'after' })
  await logger.close()
  const events = eventsIn(path)
  assert.deepEqual(
    events.slice(0, pending).map(event => event['number']),
    Array.from({ length: pending }, (_, i) => i)
  )
  assert.deepEqual(
    events.slice(pending).map(event => [event['event_type'], event['dropped_count']]),
    [
      ['dropped', dropped + 1],
      ['after', undefined]
    ]
  )
  assert.deepEqual(logger.stats, { events: 3_002, pending: 0, dropped: dropped + 1, callbackFailures: 0 })
})

test('close never rejects, and happens once', async () => {
  const reporter = new Reporter({ onReport: () => {} })
  const sink = new MemorySink()
  sink.failure = new Error('gone')
  const logger = new AuditLogger({ sink, reporter })
  await assert.rejects(logger.flush(), /gone/)
  assert.equal(logger.close(), logger.close())
  await logger.close()
  assert.equal(sink.closed, 1)
  assert.equal(reporter.counts.get('audit_write'), 1)
})

test('a sink that throws costs its line, counted, and neither the caller nor other sinks', async () => {
  const reporter = new Reporter({ onReport: () => {} })
  const path = auditPath()
  const sink = new MemorySink()
  const write = sink.write.bind(sink)
  sink.write = () => {
    throw new Error('thrown')
  }
  const logger = new AuditLogger({ path, sink, reporter })
  logger.log({ eventType: 'one' })
  sink.write = write
  logger.log({ eventType: 'two' })
  await logger.close()
  assert.deepEqual(
    sink.events.map(event => event['event_type']),
    ['dropped', 'two']
  )
  assert.deepEqual(
    eventsIn(path).map(event => event['event_type']),
    ['one', 'two']
  )
  assert.deepEqual(
    [...reporter.counts],
    [
      ['audit_write', 1],
      ['audit_lost', 1]
    ]
  )
  assert.equal(logger.stats.events, 2)
})

test('closing ends whatever a sink does', async t => {
  const never = () => new Promise<void>(() => {})
  const throws = () => {
    throw new Error('thrown')
  }
  t.mock.timers.enable({ apis: ['setTimeout'] })
  for (const failing of [never, throws]) {
    const reporter = new Reporter({ onReport: () => {} })
    const sink = Object.assign(new MemorySink(), { flush: failing, close: failing })
    const logger = new AuditLogger({ sink, reporter })
    logger.log({ eventType: 'one' })
    const closing = logger.close()
    for (let waits = 1; waits <= 2; waits++) {
      await new Promise(setImmediate)
      t.mock.timers.tick(5_000)
    }
    await closing
    assert.deepEqual([...reporter.counts], [['audit_write', 2]])
  }
})

test('several sinks get the same lines, and reopen reaches those that can', async () => {
  const path = auditPath()
  const sink = new MemorySink()
  const logger = new AuditLogger({ path, sink })
  logger.log({ eventType: 'x' })
  await logger.reopen()
  await logger.close()
  assert.deepEqual(eventsIn(path), sink.events)
})

test('prints on standard output when nothing else is given', () => {
  const { stdout } = run(`
    const logger = new AuditLogger()
    logger.log({ eventType: 'printed', userId: 'a\\nb' })
    await logger.close()
    new AuditLogger({ callback() {} }).log({ eventType: 'not_printed' })`)
  const lines = stdout.split('\n')
  assert.equal(lines.length, 2)
  assert.equal(JSON.parse(lines[0]).user_id, 'a\nb')
})

/** Runs a few lines in a process of their own. */
function run(lines: string): { stdout: string; stderr: string } {
  const logger = pathToFileURL(join(import.meta.dirname, '../../lib/audit/audit-logger.ts')).href
  const program = `import { AuditLogger } from ${JSON.stringify(logger)}\n${lines}`
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', program],
    { encoding: 'utf8' }
  )
  assert.equal(status, 0, stderr)
  return { stdout, stderr }
}

test('lines that standard output is too far behind for are dropped', () => {
  const { stdout, stderr } = run(`
    Object.defineProperty(process.stdout, 'writableLength', { get: () => 2_000_000 })
    const reporter = { report: (what, error, count) => console.error(what) }
    const logger = new AuditLogger({ console: true, reporter })
    logger.log({ eventType: 'x' })
    console.error(JSON.stringify(logger.stats))`)
  assert.equal(stdout, '')
  assert.equal(stderr, 'audit_lost\n{"events":1,"pending":0,"dropped":1,"callbackFailures":0}\n')
})

const wrong: [Record<string, unknown>, RegExp][] = [
  [{ console: 'yes' }, /AuditLogger: console must be true or false, got yes/],
  [{ callback: 'x' }, /AuditLogger: callback must be a function, got x/],
  [{ sink: {} }, /AuditLogger: sink must be an AuditSink, got \[object Object\]/],
  [{ sink: { write: () => true } }, /AuditLogger: sink must be an AuditSink, got \[object Object\]/],
  [{ sink: null }, /AuditLogger: sink must be an AuditSink, got null/],
  [
    { path: 'audit.jsonl', flushIntervalMs: 2 ** 31 },
    /AuditLogger: flushIntervalMs must be a positive number of ms, got 2147483648/
  ],
  [{ path: '' }, /AuditLogger: path must be a non-empty string, got ""/]
]

for (const [options, message] of wrong) {
  test(`refuses the options ${JSON.stringify(options)}`, () => {
    assert.throws(() => new AuditLogger(options as never), message)
  })
}
