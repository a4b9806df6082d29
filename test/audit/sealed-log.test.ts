import assert from 'node:assert/strict'
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { AuditLogger } from '../../lib/audit/audit-logger.ts'
import { SealedLog, type SealedLogOptions } from '../../lib/audit/sealed-log.ts'
import { verifySealedLog } from '../../lib/audit/verify-sealed-log.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { keyState, settledKeyState } from './key-state.ts'

const noFullDevice = existsSync('/dev/full') ? false : 'there is no /dev/full'

function quiet(): Reporter {
  return new Reporter({ onReport: () => {} })
}

function newPath(): string {
  return join(temporaryFolder(), 'audit.jsonl')
}

interface Line {
  event_type: string
  [member: string]: unknown
}

function linesOf(path: string): Line[] {
  const text = readFileSync(path, 'utf8')
  assert.ok(text === '' || text.endsWith('\n'))
  return text
    .split('\n')
    .slice(0, -1)
    .map(line => (line.endsWith('}') ? JSON.parse(line) : { event_type: 'torn', line }))
}

function typesOf(path: string): string[] {
  return linesOf(path).map(({ event_type }) => event_type)
}

/** Runs a log for so many events. */
async function run(options: SealedLogOptions, events: number): Promise<SealedLog> {
  const log = new SealedLog(options)
  for (let i = 0; i < events; i++) assert.equal(log.write(`{"event_type":"request","i":${i}}`), true)
  await log.close()
  return log
}

async function kindsIn(path: string | string[], publicKey: string, checkpoint?: string[]): Promise<string[]> {
  const { problems } = await verifySealedLog(path, { publicKey, ...(checkpoint && { checkpoint }) })
  return problems.map(({ kind }) => kind)
}

test('seals what an AuditLogger logs; lines stay JSON lines, in their order', async () => {
  const path = newPath()
  const sink = new SealedLog({ path, origin: 'example.com/audit' })
  const logger = new AuditLogger({ sink })
  for (let i = 0; i < 2_000; i++) logger.log({ eventType: 'request_success', i })
  assert.equal(logger.stats.pending, 2_000)
  await logger.flush()
  assert.equal(logger.stats.pending, 0)
  await logger.close()
  const lines = linesOf(path)
  assert.deepEqual(
    lines.filter(({ event_type }) => event_type === 'request_success').map(({ i }) => i),
    Array.from({ length: 2_000 }, (_, i) => i)
  )
  const seals = lines.filter(({ event_type }) => event_type === 'log_seal')
  // A seal costs its batch something, not every line.
  assert.ok(seals.length >= 3 && seals.length < 60, `${seals.length} seals`)
  assert.equal(seals.at(-1)!.events, 2_000)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.equal(statSync(`${path}.key`).mode & 0o777, 0o600)
  const { ok, events, sealed } = await verifySealedLog(path, { publicKey: sink.publicKey })
  assert.deepEqual({ ok, events, sealed }, { ok: true, events: 2_000, sealed: 2_000 })
  assert.deepEqual(
    { ...sink.stats, batches: 0, epoch: 0 },
    { written: 2_000, pending: 0, lost: 0, batches: 0, epoch: 0 }
  )
})

test('takes no line that would be read as a seal or as two lines', async () => {
  const path = newPath()
  const log = new SealedLog({ path })
  assert.equal(log.write('{"event_type":"log_seal","timestamp":""}'), false)
  assert.equal(log.write('{"event_type":"log_opened"}'), false)
  assert.equal(log.write('{"a":1}\n{"b":2}'), false)
  assert.equal(log.write('{"event_type":"logged"}'), true)
  await log.close()
  assert.equal(log.write('{"event_type":"late"}'), false)
  assert.deepEqual(typesOf(path), ['log_opened', 'log_seal', 'logged', 'log_seal'])
  assert.deepEqual(await kindsIn(path, log.publicKey), [])
})

test('a restart continues the chain, with the key where it was', async () => {
  const path = newPath()
  const first = await run({ path }, 3)
  const second = await run({ path }, 2)
  assert.equal(second.publicKey, first.publicKey)
  const openings = linesOf(path).filter(({ event_type }) => event_type === 'log_opened')
  assert.deepEqual(
    openings.map(({ events }) => events),
    [0, 3]
  )
  assert.deepEqual(
    openings.map(({ set_aside }) => set_aside),
    [null, null]
  )
  const { ok, events, sealed } = await verifySealedLog(path, { publicKey: first.publicKey })
  assert.deepEqual({ ok, events, sealed }, { ok: true, events: 5, sealed: 5 })
})

test('each checkpoint ends the life of a key; nothing of it remains in the key file', async () => {
  const path = newPath()
  const notes: string[] = []
  const log = new SealedLog({ path, checkpointEvents: 10, onCheckpoint: note => notes.push(note) })
  await log.flush()
  const seeds = new Set<unknown>([(await settledKeyState(path))['seed']])
  for (let epoch = 1; epoch <= 4; epoch++) {
    for (let i = 0; i < 10; i++) log.write('{"event_type":"request"}')
    await log.flush()
    assert.equal(log.stats.epoch, epoch)
    if (epoch < 4) seeds.add((await settledKeyState(path))['seed'])
  }
  await log.close()
  const state = keyState(path)
  assert.equal(state['epoch'], 4)
  assert.equal(seeds.size, 4)
  assert.equal(seeds.has(state['seed']), false)
  for (const seed of seeds)
    assert.equal(readFileSync(`${path}.key`, 'latin1').includes(seed as string), false)
  assert.equal(notes.length, 4)
  assert.deepEqual(await kindsIn(path, log.publicKey, notes), [])
  const keys = linesOf(path).flatMap(({ key_id }) => key_id ?? [])
  assert.equal(new Set(keys).size, 4)
})

test('whoever takes the key of today cannot seal what was sealed before', async () => {
  const path = newPath()
  const log = new SealedLog({ path })
  log.write('{"event_type":"request","i":1}')
  const checkpoint = await log.checkpoint()
  log.write('{"event_type":"request","i":2}')
  await log.close()
  // With the key file of now, a log is made that says something else from its beginning.
  const forged = newPath()
  copyFileSync(`${path}.key`, `${forged}.key`)
  const state = { ...keyState(path), size: 0, tree: [], events: 0, offset: 0 }
  writeFileSync(`${forged}.key`, JSON.stringify(state))
  const forger = await run({ path: forged }, 2)
  assert.equal(forger.publicKey, log.publicKey)
  assert.deepEqual(await kindsIn(forged, log.publicKey), ['key'])
  assert.deepEqual(await kindsIn(forged, log.publicKey, [checkpoint]), ['checkpoint', 'key'])
  // And with an opening that names the first key.
  const text = readFileSync(forged, 'utf8')
  const first = linesOf(path)[0]
  const own = linesOf(forged)[0]
  const renamed = text
    .replace(String(own['public_key']), String(first['public_key']))
    .replace(`"epoch":${own['epoch']}`, '"epoch":0')
  writeFileSync(forged, renamed)
  assert.deepEqual(await kindsIn(forged, log.publicKey), ['key'])
})

test('a quiet log has its checkpoint after a while, without anybody asking', async () => {
  const path = newPath()
  const notes: string[] = []
  const log = new SealedLog({ path, checkpointMs: 5, onCheckpoint: note => notes.push(note) })
  log.write('{"event_type":"request"}')
  while (notes.length === 0) await new Promise(resolve => setTimeout(resolve, 2))
  await log.close()
  const { ok } = await verifySealedLog(path, { checkpoint: notes })
  assert.equal(ok, true)
})

test('a callback that fails is counted, and nothing else', async () => {
  for (const fail of [
    () => {
      throw new Error('no')
    },
    () => Promise.reject(new Error('no'))
  ]) {
    const reporter = quiet()
    const log = await run({ path: newPath(), reporter, onCheckpoint: fail }, 1)
    assert.equal(log.stats.written, 1)
    await new Promise(resolve => setImmediate(resolve))
    assert.equal(reporter.counts.get('audit_checkpoint'), 1)
  }
})

test('goes on in a new file after log rotation: both are right, together and each with its checkpoint', async () => {
  const path = newPath()
  const notes: string[] = []
  const log = new SealedLog({ path, onCheckpoint: note => notes.push(note) })
  for (let i = 0; i < 5; i++) log.write(`{"event_type":"before","i":${i}}`)
  await log.flush()
  renameSync(path, `${path}.1`)
  log.write('{"event_type":"meanwhile"}')
  await log.reopen()
  for (let i = 0; i < 7; i++) log.write(`{"event_type":"after","i":${i}}`)
  await log.close()
  await assert.rejects(log.reopen(), /SealedLog: reopen after close/)
  await assert.rejects(log.checkpoint(), /SealedLog: checkpoint after close/)
  assert.equal(linesOf(path)[0].event_type, 'log_opened')
  const both = await verifySealedLog([`${path}.1`, path], { publicKey: log.publicKey, checkpoint: notes })
  assert.deepEqual(
    { ok: both.ok, events: both.events, sealed: both.sealed },
    { ok: true, events: 13, sealed: 13 }
  )
  // The old file is gone: the checkpoint of the moment of rotation stands in for it.
  assert.deepEqual((await verifySealedLog(path, { from: notes[0] })).problems, [])
  assert.deepEqual(await kindsIn(path, log.publicKey), ['start'])
  // The control: a file in between that is not given is missed.
  assert.deepEqual(await kindsIn([path, `${path}.1`], log.publicKey), ['order', 'start'])
})

test('a reopened file that nobody moved away goes on, as does one that was emptied in place', async () => {
  const path = newPath()
  const log = new SealedLog({ path })
  log.write('{"event_type":"one"}')
  await log.flush()
  await log.reopen()
  log.write('{"event_type":"two"}')
  await log.flush()
  assert.deepEqual(await kindsIn(path, log.publicKey), [])
  copyFileSync(path, `${path}.1`)
  truncateSync(path)
  await log.reopen()
  log.write('{"event_type":"three"}')
  await log.close()
  const both = await verifySealedLog([`${path}.1`, path], { publicKey: log.publicKey })
  assert.deepEqual({ ok: both.ok, sealed: both.sealed }, { ok: true, sealed: 3 })
})

test('a reopened file with lines of somebody else sets them aside', async () => {
  const path = newPath()
  const log = new SealedLog({ path })
  log.write('{"event_type":"one"}')
  await log.flush()
  renameSync(path, `${path}.1`)
  writeFileSync(path, '{"event_type":"foreign"}\n{"event_ty')
  await log.reopen()
  log.write('{"event_type":"two"}')
  await log.close()
  const both = await verifySealedLog([`${path}.1`, path], { publicKey: log.publicKey })
  assert.deepEqual(both.problems, [])
  assert.deepEqual(both.setAside, [{ path, line: 1, lines: 2, bytes: 36 }])
  assert.deepEqual({ events: both.events, sealed: both.sealed }, { events: 4, sealed: 2 })
})

test('rotated while no process ran: the chain goes on in the new file', async () => {
  const path = newPath()
  const reporter = quiet()
  const { publicKey } = await run({ path }, 3)
  renameSync(path, `${path}.1`)
  await run({ path, reporter }, 2)
  assert.equal(reporter.counts.get('audit_tampered'), undefined)
  assert.deepEqual(await kindsIn([`${path}.1`, path], publicKey), [])
  // An emptied newest file is no new beginning.
  assert.deepEqual(await kindsIn(path, publicKey), ['key', 'start'])
})

const crashes: [string, (path: string) => void, { lines: number; bytes: number } | null][] = [
  ['a torn line', path => appendFileSync(path, '{"event_type":"requ'), { lines: 1, bytes: 20 }],
  [
    'lines without their seal, and a torn one',
    path => appendFileSync(path, '{"event_type":"request"}\n{"event_type":"requ'),
    { lines: 2, bytes: 45 }
  ],
  ['a torn seal', path => appendFileSync(path, '{"event_type":"log_seal","timest'), { lines: 1, bytes: 33 }],
  ['an end without a newline', path => truncateSync(path, statSync(path).size - 1), null]
]

for (const [what, crash, left] of crashes) {
  test(`what a crash leaves is set aside and recorded: ${what}`, async () => {
    const path = newPath()
    const reporter = quiet()
    const { publicKey } = await run({ path }, 3)
    crash(path)
    assert.equal((await verifySealedLog(path, { publicKey })).ok, false)
    await run({ path, reporter }, 2)
    const { ok, sealed, setAside } = await verifySealedLog(path, { publicKey })
    assert.deepEqual({ ok, sealed }, { ok: true, sealed: 5 })
    assert.deepEqual(
      setAside.map(({ lines, bytes }) => ({ lines, bytes })),
      left === null ? [] : [left]
    )
    const opening = linesOf(path).findLast(({ event_type }) => event_type === 'log_opened')!
    assert.equal((opening['set_aside'] as { lines: number } | null)?.lines, left?.lines)
    // What was set aside cannot be changed any more either.
    if (left === null) return
    const text = readFileSync(path, 'latin1')
    writeFileSync(
      path,
      text.replace(/(?:requ|timest)\n/, torn => torn.toUpperCase()),
      'latin1'
    )
    assert.deepEqual(await kindsIn(path, publicKey), ['unsealed'])
    const lines = text.split('\n')
    const torn = lines.findIndex(line => line !== '' && !line.endsWith('}'))
    lines.splice(torn - left.lines + 1, left.lines)
    writeFileSync(path, lines.join('\n'), 'latin1')
    assert.deepEqual(await kindsIn(path, publicKey), ['missing'])
  })
}

test('a crash of the crashed: two sets of lines are set aside', async () => {
  const path = newPath()
  const { publicKey } = await run({ path }, 1)
  appendFileSync(path, '{"event_type":"a"}\n')
  const opened = linesOf(path)[0]
  // The second process got no further than half of its first write.
  const log = new SealedLog({ path })
  await log.close()
  const lines = readFileSync(path, 'latin1').split('\n')
  const secondOpening = lines.findLastIndex(line => line.includes('log_opened'))
  assert.notEqual(opened, undefined)
  writeFileSync(path, `${lines.slice(0, secondOpening + 1).join('\n')}\n{"event_type":"b`)
  await run({ path, reporter: quiet() }, 1)
  const { problems, setAside } = await verifySealedLog(path, { publicKey })
  // The key file knew more batches than the file holds: that is no crash of this process alone.
  assert.deepEqual(
    problems.map(({ kind }) => kind),
    ['missing']
  )
  assert.deepEqual(
    setAside.map(({ lines }) => lines),
    [1, 1]
  )
})

test('a key file that lags behind the log catches up, over epochs', async () => {
  const path = newPath()
  const log = new SealedLog({ path })
  log.write('{"event_type":"one"}')
  await log.flush()
  await settledKeyState(path)
  copyFileSync(`${path}.key`, `${path}.key.old`)
  for (let i = 0; i < 3; i++) {
    log.write('{"event_type":"more"}')
    await log.checkpoint()
  }
  await log.close()
  renameSync(`${path}.key.old`, `${path}.key`)
  const reporter = quiet()
  await run({ path, reporter }, 2)
  assert.equal(reporter.counts.get('audit_tampered'), undefined)
  const { ok, sealed } = await verifySealedLog(path, { publicKey: log.publicKey })
  assert.deepEqual({ ok, sealed }, { ok: true, sealed: 6 })
})

const tampering: [string, (path: string) => void, string[]][] = [
  [
    'cut back to an earlier seal',
    path => {
      const lines = readFileSync(path, 'latin1').split('\n')
      writeFileSync(path, `${lines.slice(0, 2).join('\n')}\n`)
    },
    ['missing']
  ],
  [
    'cut in the middle of a batch',
    path => truncateSync(path, Math.floor(statSync(path).size / 2)),
    ['missing']
  ]
]

for (const [what, tamper, kinds] of tampering) {
  test(`a log that was tampered with while no process ran is told, and the chain does not forget: ${what}`, async () => {
    const path = newPath()
    const reporter = quiet()
    const log = new SealedLog({ path })
    for (let i = 0; i < 3; i++) {
      log.write('{"event_type":"request"}')
      await log.flush()
    }
    await log.close()
    tamper(path)
    await run({ path, reporter }, 2)
    assert.equal(reporter.counts.get('audit_tampered'), 1)
    const { problems } = await verifySealedLog(path, { publicKey: log.publicKey })
    assert.deepEqual(
      problems.map(({ kind }) => kind),
      kinds
    )
  })
}

test('a log that was cut back while the key stayed the same does not fork', async () => {
  const path = newPath()
  const copy = newPath()
  const reporter = quiet()
  const log = new SealedLog({ path })
  for (let i = 0; i < 4; i++) {
    log.write('{"event_type":"request"}')
    await log.flush()
  }
  // As a crash now would leave it, had nobody cut it.
  const lines = readFileSync(path, 'latin1').split('\n')
  assert.equal((await settledKeyState(path))['events'], 4)
  copyFileSync(`${path}.key`, `${copy}.key`)
  writeFileSync(copy, `${lines.slice(0, 4).join('\n')}\n`)
  await log.close()
  await run({ path: copy, reporter }, 2)
  assert.equal(reporter.counts.get('audit_tampered'), 1)
  const { problems, sealed } = await verifySealedLog(copy, { publicKey: log.publicKey })
  assert.deepEqual(
    problems.map(({ kind, text }) => [kind, text]),
    [['missing', 'batches 3 to 5 are missing']]
  )
  // What the log says after the gap is proven by the same key.
  assert.equal(sealed, 3)
})

test('a plain log becomes a sealed one: what was there is set aside', async () => {
  const path = newPath()
  writeFileSync(path, '{"event_type":"old"}\n{"event_type":"old"}\n')
  const log = await run({ path }, 2)
  const { ok, events, sealed, setAside } = await verifySealedLog(path, { publicKey: log.publicKey })
  assert.deepEqual({ ok, events, sealed }, { ok: true, events: 4, sealed: 2 })
  assert.deepEqual(setAside, [{ path, line: 1, lines: 2, bytes: 42 }])
})

test('a sealed log without its key does not begin anew', async () => {
  const path = newPath()
  await run({ path }, 1)
  unlinkSync(`${path}.key`)
  const before = readFileSync(path)
  assert.throws(
    () => new SealedLog({ path }),
    /is sealed, and its key .*audit.jsonl.key" is gone; move the log away/
  )
  assert.deepEqual(readFileSync(path), before)
  assert.equal(existsSync(`${path}.key`), false)
  // And holds no lock.
  rmSync(path)
  await run({ path }, 1)
})

test('a damaged key file is an error that names it', () => {
  const path = newPath()
  for (const text of ['', 'x', '{}', '{"origin":"a","epoch":0}']) {
    writeFileSync(`${path}.key`, text)
    assert.throws(
      () => new SealedLog({ path }),
      /SealedLog: key file ".*audit.jsonl.key" is damaged, or no key file/
    )
  }
  rmSync(`${path}.key`)
  assert.throws(
    () => new SealedLog({ path, keyPath: temporaryFolder() }),
    /SealedLog: key file .* cannot be read: EISDIR/
  )
})

test('a key file that is deleted while the log runs comes back, and costs no line', async () => {
  const path = newPath()
  const log = new SealedLog({ path })
  log.write('{"event_type":"one"}')
  await log.flush()
  unlinkSync(`${path}.key`)
  log.write('{"event_type":"two"}')
  await log.close()
  await run({ path }, 1)
  const { ok, sealed } = await verifySealedLog(path, { publicKey: log.publicKey })
  assert.deepEqual({ ok, sealed }, { ok: true, sealed: 3 })
})

test('a key that cannot be kept is counted, and costs no line', async () => {
  const path = newPath()
  const keys = temporaryFolder()
  const reporter = quiet()
  const log = new SealedLog({ path, keyPath: join(keys, 'audit.key'), reporter })
  await log.flush()
  rmSync(keys, { recursive: true })
  log.write('{"event_type":"one"}')
  await log.close()
  assert.equal(reporter.counts.get('audit_key'), 1)
  assert.deepEqual(await kindsIn(path, log.publicKey), [])
})

test('a full disk: lines wait, what is too much is refused, and the chain tells of it', {
  skip: noFullDevice
}, async () => {
  const path = newPath()
  const reporter = quiet()
  symlinkSync('/dev/full', path)
  const sink = new SealedLog({ path, maxPendingBytes: 600_000, reporter })
  const logger = new AuditLogger({ sink, reporter })
  for (let i = 0; i < 1_000; i++) logger.log({ eventType: 'request', pad: 'x'.repeat(900) })
  await assert.rejects(logger.flush(), { code: 'ENOSPC' })
  await assert.rejects(sink.checkpoint(), { code: 'ENOSPC' })
  const { pending } = logger.stats
  assert.ok(logger.stats.dropped > 200 && pending > 100)
  unlinkSync(path)
  await logger.reopen()
  await logger.flush()
  logger.log({ eventType: 'again' })
  await logger.close()
  const { ok, events, sealed } = await verifySealedLog(path, { publicKey: sink.publicKey })
  assert.deepEqual({ ok, sealed }, { ok: true, sealed: events })
  const told = linesOf(path).map(({ event_type, dropped_count }) =>
    event_type === 'dropped' ? Number(dropped_count) : 0
  )
  assert.equal(
    told.reduce((sum, n) => sum + n),
    logger.stats.dropped
  )
})

test('a disk that stays full: what is lost at the end is counted, and told by the next process', {
  skip: noFullDevice
}, async () => {
  const path = newPath()
  const reporter = quiet()
  symlinkSync('/dev/full', path)
  const log = new SealedLog({ path, reporter })
  for (let i = 0; i < 7; i++) log.write('{"event_type":"lost"}')
  await log.close()
  assert.equal(reporter.counts.get('audit_lost'), 7)
  assert.deepEqual({ ...log.stats }, { written: 0, pending: 0, lost: 7, batches: 0, epoch: 0 })
  unlinkSync(path)
  await run({ path }, 1)
  await run({ path }, 1)
  const openings = linesOf(path).filter(({ event_type }) => event_type === 'log_opened')
  assert.deepEqual(
    openings.map(({ lost_events }) => lost_events),
    [7, 0]
  )
  assert.deepEqual(await kindsIn(path, log.publicKey), [])
})

const wrong: [Record<string, unknown>, RegExp][] = [
  [{}, /SealedLog: path must be a non-empty string, got undefined/],
  [{ path: '' }, /SealedLog: path must be a non-empty string, got ""/],
  [{ path: 'a', keyPath: '' }, /SealedLog: keyPath must be a non-empty string, got ""/],
  [{ path: 'a', keyPath: 'a' }, /SealedLog: keyPath must be another file than path, got a/],
  [{ path: 'a', origin: 'a b' }, /SealedLog: origin must be ASCII without spaces and \+, got "a b"/],
  [{ path: 'a', origin: 'a+b' }, /SealedLog: origin must be .*, got "a\+b"/],
  [{ path: 'a', onCheckpoint: 1 }, /SealedLog: onCheckpoint must be a function, got 1/],
  [{ path: 'a', checkpointMs: 0 }, /SealedLog: checkpointMs must be a positive integer, got 0/],
  [{ path: 'a', checkpointEvents: 1.5 }, /SealedLog: checkpointEvents must be a positive integer, got 1.5/]
]

for (const [options, message] of wrong) {
  test(`refuses the options ${JSON.stringify(options)}`, () => {
    assert.throws(() => new SealedLog(options as never), { name: 'TypeError', message })
  })
}

test('a wrong option of the file, or another origin, leaves neither lock nor file open', async () => {
  const path = newPath()
  assert.throws(() => new SealedLog({ path, flushIntervalMs: 0 }), /flushIntervalMs must be/)
  await run({ path, origin: 'a' }, 1)
  assert.throws(() => new SealedLog({ path, origin: 'b' }), /SealedLog: origin of this log is a, got b/)
  assert.throws(() => new SealedLog({ path: join(temporaryFolder(), 'no', 'audit.jsonl') }), /ENOENT/)
  await run({ path }, 1)
  assert.equal(existsSync(`${path}.lock`) || existsSync(`${path}.key.lock`), false)
})
