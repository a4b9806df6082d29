import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { AuditFile } from '../../lib/audit/audit-file.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { fc } from '../support/seeded.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const noFullDevice = existsSync('/dev/full') ? false : 'there is no /dev/full'

function quiet(): Reporter {
  return new Reporter({ onReport: () => {} })
}

function linesOf(path: string): string[] {
  const text = readFileSync(path, 'utf8')
  assert.ok(text === '' || text.endsWith('\n'))
  return text.split('\n').slice(0, -1)
}

test('writes lines in order, in a private file, and counts them', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const file = new AuditFile({ path })
  const lines = Array.from({ length: 5_000 }, (_, i) => JSON.stringify({ i, pad: 'x'.repeat(i % 300) }))
  for (const line of lines) assert.equal(file.write(line), true)
  assert.equal(file.stats.pending, 5_000)
  await file.flush()
  assert.deepEqual(linesOf(path), lines)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual({ ...file.stats, bytes: 0 }, { written: 5_000, pending: 0, lost: 0, bytes: 0 })
  await file.close()
})

test('a line waits no longer than the interval, without anybody asking', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const file = new AuditFile({ path, flushIntervalMs: 5 })
  file.write('{"a":1}')
  assert.equal(readFileSync(path, 'utf8'), '')
  while (readFileSync(path, 'utf8') === '') await new Promise(resolve => setTimeout(resolve, 2))
  assert.deepEqual(linesOf(path), ['{"a":1}'])
  await file.close()
})

test('appends to what is there, and ends a line that a crash left torn', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  writeFileSync(path, '{"a":1}\n{"torn":')
  const file = new AuditFile({ path })
  await file.flush()
  file.write('{"b":2}')
  await file.close()
  assert.deepEqual(linesOf(path), ['{"a":1}', '{"torn":', '{"b":2}'])
})

test('a line longer than a chunk is written whole, between its neighbours', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const file = new AuditFile({ path })
  const lines = ['w'.repeat(280_000), 'a', 'x'.repeat(800_000), 'b', 'y'.repeat(280_000), 'c']
  for (const line of lines) file.write(line)
  await file.close()
  assert.deepEqual(linesOf(path), lines)
})

test('whatever is written, flushed and reopened when: the lines, in order', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const anyStep = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 3_000 }) },
    { weight: 2, arbitrary: fc.constantFrom('flush', 'wait', 'reopen') },
    { weight: 1, arbitrary: fc.integer({ min: 240_000, max: 560_000 }) }
  )
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 60 }), async steps => {
      rmSync(path, { force: true })
      const file = new AuditFile({ path, flushIntervalMs: 1, maxPendingBytes: 67_108_864 })
      const lines: string[] = []
      for (const step of steps) {
        if (step === 'flush') await file.flush()
        else if (step === 'wait') await new Promise(resolve => setTimeout(resolve, 2))
        else if (step === 'reopen') await file.reopen()
        else lines.push(`${lines.length} `.padEnd(step as number, 'x'))
        if (typeof step === 'number') assert.equal(file.write(lines.at(-1)!), true)
      }
      await file.close()
      assert.deepEqual(linesOf(path), lines)
      assert.equal(file.stats.written, lines.length)
    }),
    { numRuns: 20 }
  )
})

test('memory is given back after a burst', async () => {
  const file = new AuditFile({ path: join(temporaryFolder(), 'audit.jsonl') })
  const before = file.stats.bytes
  for (let i = 0; i < 20_000; i++) file.write('x'.repeat(200))
  assert.ok(file.stats.bytes > 3_000_000)
  await file.flush()
  file.write('again')
  await file.flush()
  assert.ok(file.stats.bytes <= 2 * before)
  await file.close()
})

test('close is idempotent, stores what waits, and refuses lines after it', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const file = new AuditFile({ path })
  file.write('one')
  const closing = file.close()
  assert.equal(file.close(), closing)
  assert.equal(file.write('two'), false)
  await closing
  await file.close()
  assert.deepEqual(linesOf(path), ['one'])
  await assert.rejects(file.reopen(), /reopen after close/)
})

test('goes on in a new file after log rotation', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const file = new AuditFile({ path })
  file.write('one')
  await file.flush()
  renameSync(path, `${path}.1`)
  file.write('two')
  const flushed = file.flush()
  await file.reopen()
  file.write('three')
  await flushed
  await file.close()
  assert.deepEqual(linesOf(`${path}.1`), ['one', 'two'])
  assert.deepEqual(linesOf(path), ['three'])
})

test('a file that was truncated in place goes on from its start', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const file = new AuditFile({ path })
  file.write('one')
  await file.flush()
  writeFileSync(path, '')
  file.write('two')
  await file.close()
  assert.deepEqual(linesOf(path), ['two'])
})

test('two writers share one file, line by line', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const [a, b] = [new AuditFile({ path }), new AuditFile({ path })]
  for (let i = 0; i < 2_000; i++) {
    a.write(`{"a":${i},"pad":"${'a'.repeat(100)}"}`)
    b.write(`{"b":${i},"pad":"${'b'.repeat(100)}"}`)
  }
  await Promise.all([a.close(), b.close()])
  const lines = linesOf(path).map(line => JSON.parse(line))
  assert.deepEqual(
    lines.filter(line => 'a' in line).map(line => line.a),
    Array.from({ length: 2_000 }, (_, i) => i)
  )
  assert.deepEqual(
    lines.filter(line => 'b' in line).map(line => line.b),
    Array.from({ length: 2_000 }, (_, i) => i)
  )
})

test('a full disk: lines are kept in bounded memory, then refused; failures are counted', {
  skip: noFullDevice
}, async () => {
  const reporter = quiet()
  const file = new AuditFile({ path: '/dev/full', maxPendingBytes: 200_000, reporter })
  let kept = 0
  while (kept < 10_000 && file.write('x'.repeat(999))) kept++
  assert.ok(kept > 100 && kept <= 200)
  await assert.rejects(file.flush(), { code: 'ENOSPC' })
  assert.equal(file.write('x'.repeat(999)), false)
  assert.ok(file.stats.bytes <= 200_000 + 65_536)
  assert.equal(file.stats.pending, kept)
  await file.close()
  assert.ok(reporter.counts.get('audit_write')! >= 1)
  assert.equal(reporter.counts.get('audit_lost'), kept)
  assert.deepEqual({ ...file.stats, bytes: 0 }, { written: 0, pending: 0, lost: kept, bytes: 0 })
})

test('lines kept through an outage are stored in order when it is over', { skip: noFullDevice }, async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  // The name leads to a full device first; after the outage, to a file.
  const { symlinkSync, unlinkSync } = await import('node:fs')
  symlinkSync('/dev/full', path)
  const file = new AuditFile({ path, reporter: quiet() })
  file.write('one')
  await assert.rejects(file.flush(), { code: 'ENOSPC' })
  file.write('two')
  unlinkSync(path)
  await file.reopen()
  file.write('three')
  await file.close()
  assert.deepEqual(linesOf(path), ['one', 'two', 'three'])
})

const unopenable: [string, (dir: string) => string, RegExp][] = [
  ['a folder that does not exist', dir => join(dir, 'no', 'audit.jsonl'), /ENOENT/],
  ['a folder', dir => dir, /EISDIR/],
  [
    'a read-only folder',
    dir => {
      chmodSync(dir, 0o555)
      return join(dir, 'audit.jsonl')
    },
    /EACCES/
  ],
  [
    'a read-only file',
    dir => {
      const path = join(dir, 'audit.jsonl')
      appendFileSync(path, '')
      chmodSync(path, 0o444)
      return path
    },
    /EACCES/
  ]
]

for (const [what, pathIn, cause] of unopenable) {
  test(`${what} is a clear error at construction`, () => {
    const dir = temporaryFolder()
    chmodSync(dir, 0o755)
    const path = pathIn(dir)
    assert.throws(
      () => unprivileged(() => new AuditFile({ path })),
      (error: Error) => {
        assert.ok(
          error.message.startsWith(
            `AuditLogger: path ${JSON.stringify(path)} cannot be opened for appending: `
          )
        )
        assert.match(error.message, cause)
        return true
      }
    )
  })
}

/** Runs as nobody when the tests run as root, who may write anywhere. */
function unprivileged<T>(run: () => T): T {
  const privileged = process.geteuid?.() === 0
  if (privileged) process.seteuid?.(65_534)
  try {
    return run()
  } finally {
    if (privileged) process.seteuid?.(0)
  }
}

const wrong: [Record<string, unknown>, RegExp][] = [
  [{}, /AuditLogger: path must be a non-empty string, got undefined/],
  [{ path: '' }, /AuditLogger: path must be a non-empty string, got ""/],
  [{ path: 3 }, /AuditLogger: path must be a non-empty string, got 3/],
  [
    { path: '/dev/null', flushIntervalMs: 0 },
    /AuditLogger: flushIntervalMs must be an integer of at least 1, got 0/
  ],
  [{ path: '/dev/null', flushIntervalMs: '5' }, /AuditLogger: flushIntervalMs must be .*, got 5/],
  [
    { path: '/dev/null', maxPendingBytes: 1_000 },
    /AuditLogger: maxPendingBytes must be an integer of at least 131072, got 1000/
  ]
]

for (const [options, message] of wrong) {
  test(`refuses the options ${JSON.stringify(options)}`, () => {
    assert.throws(() => new AuditFile(options as never), message)
  })
}

test('a process that just exits loses no line', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const program = `
    import { AuditFile } from ${JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../lib/audit/audit-file.ts')).href)}
    const file = new AuditFile({ path: ${JSON.stringify(path)}, flushIntervalMs: 60_000 })
    for (let i = 0; i < 3_000; i++) file.write('{"i":' + i + ',"pad":"' + 'x'.repeat(100) + '"}')
    process.exit(0)`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
    stdio: 'inherit'
  })
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
  const seen = linesOf(path)
    .map(line => JSON.parse(line).i as number)
    .sort((a, b) => a - b)
  assert.deepEqual(
    seen,
    Array.from({ length: 3_000 }, (_, i) => i)
  )
})

test('a process that exits while the disk is full just exits', { skip: noFullDevice }, async () => {
  const program = `
    import { AuditFile } from ${JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../lib/audit/audit-file.ts')).href)}
    import { Reporter } from ${JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../lib/http/reporter.ts')).href)}
    const reporter = new Reporter({ onReport: ({ what, count, error }) => console.log(what, count, error.code) })
    const file = new AuditFile({ path: '/dev/full', flushIntervalMs: 60_000, reporter })
    file.write('one')
    file.write('two')`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    said += text
  })
  const [code] = await once(child, 'close')
  assert.equal(code, 0)
  assert.equal(said, 'audit_lost 2 ENOSPC\n')
})

test('a file that may be appended to but not read is appended to', async () => {
  const dir = temporaryFolder()
  chmodSync(dir, 0o755)
  const path = join(dir, 'audit.jsonl')
  writeFileSync(path, '{"a":1}\n')
  chmodSync(path, 0o222)
  const file = unprivileged(() => new AuditFile({ path }))
  file.write('{"b":2}')
  await file.close()
  chmodSync(path, 0o600)
  // It cannot be seen whether the last line was whole: a blank line does no harm.
  assert.deepEqual(linesOf(path), ['{"a":1}', '', '{"b":2}'])
})

test('a process with nothing else to do ends although a line waits', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const program = `
    import { AuditFile } from ${JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../lib/audit/audit-file.ts')).href)}
    new AuditFile({ path: ${JSON.stringify(path)}, flushIntervalMs: 60_000 }).write('{"last":true}')`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
    stdio: 'inherit'
  })
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
  assert.deepEqual(linesOf(path), ['{"last":true}'])
})
