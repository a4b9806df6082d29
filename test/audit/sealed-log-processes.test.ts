/** A sealed log and real processes: killed, exiting, and more than one. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { SealedLog } from '../../lib/audit/sealed-log.ts'
import { verifySealedLog } from '../../lib/audit/verify-sealed-log.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

function quiet(): Reporter {
  return new Reporter({ onReport: () => {} })
}

function newPath(): string {
  return join(temporaryFolder(), 'audit.jsonl')
}

/** Runs a program that has `log`, a SealedLog at the path. */
function start(path: string, program: string, options = '', shell: string[] = []): ChildProcess {
  const source = pathToFileURL(join(import.meta.dirname, '../../lib/audit/sealed-log.ts')).href
  const whole = `
    import { SealedLog } from ${JSON.stringify(source)}
    const log = new SealedLog({ path: ${JSON.stringify(path)}, ${options} })
    ${program}`
  const [command, ...args] = [
    ...shell,
    process.execPath,
    ...['--import', 'tsx', '--input-type=module', '--eval', whole]
  ]
  return spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
}

/** The first line that the program prints. */
function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = ''
    let complained = ''
    child.stdout!.setEncoding('utf8').on('data', text => {
      said += text
      if (said.includes('\n')) resolve(said.slice(0, said.indexOf('\n')))
    })
    child.stderr!.setEncoding('utf8').on('data', text => {
      complained += text
    })
    child.on('close', () => reject(new Error(`the program ended without a line: ${complained}`)))
  })
}

const writeForEver = `
  console.log(log.publicKey)
  let i = 0
  const write = () => {
    for (let n = 0; n < 200; n++) log.write('{"event_type":"request","i":' + i++ + ',"pad":"' + 'x'.repeat(i % 500) + '"}')
    setImmediate(write)
  }
  write()`

test('a process that is killed while it writes: what it sealed stays right, and the next one goes on', async () => {
  const path = newPath()
  let publicKey = ''
  for (let round = 1; round <= 3; round++) {
    const child = start(path, writeForEver, 'flushIntervalMs: 1, checkpointMs: 20')
    publicKey = await firstLine(child)
    const { size } = statSync(path)
    while (statSync(path).size < size + 300_000) await new Promise(resolve => setTimeout(resolve, 5))
    child.kill('SIGKILL')
    await once(child, 'close')
    // The end may be torn; nothing else is wrong.
    const { problems } = await verifySealedLog(path, { publicKey })
    assert.ok(
      problems.every(({ kind }) => kind === 'torn' || kind === 'unsealed'),
      JSON.stringify(problems)
    )
  }
  const reporter = quiet()
  const log = new SealedLog({ path, reporter })
  log.write('{"event_type":"after"}')
  await log.close()
  assert.equal(log.publicKey, publicKey)
  assert.equal(reporter.counts.get('audit_tampered'), undefined)
  const { ok, problems, events, sealed, setAside } = await verifySealedLog(path, { publicKey })
  assert.deepEqual(problems, [])
  assert.equal(ok, true)
  assert.equal(
    events - sealed,
    setAside.reduce((sum, { lines }) => sum + lines, 0)
  )
})

test('a process that just exits loses no line, in the middle of a write or not', async () => {
  for (const wait of [
    '',
    'log.flush(); log.write(last); process.exit(0)',
    'await log.flush(); busy(); log.write(last); log.flush(); log.write(last); process.exit(0)',
    'setTimeout(() => process.exit(0), 3)'
  ]) {
    const path = newPath()
    const program = `
      import { pbkdf2 } from 'node:crypto'
      console.log(log.publicKey)
      for (let i = 0; i < 3_000; i++) log.write('{"event_type":"request","i":' + i + ',"pad":"' + 'x'.repeat(100) + '"}')
      const last = '{"event_type":"last"}'
      // The threads that write have something else to do first.
      const busy = () => { for (let i = 0; i < 8; i++) pbkdf2('a', 'b', 20_000, 32, 'sha256', () => {}) }
      ${wait === '' ? 'process.exit(0)' : wait}`
    const child = start(path, program, 'flushIntervalMs: 60_000')
    const exited = once(child, 'exit')
    const publicKey = await firstLine(child)
    const [code] = await exited
    assert.equal(code, 0)
    const { ok, sealed, problems } = await verifySealedLog(path, { publicKey })
    assert.deepEqual(problems, [])
    assert.deepEqual({ ok, sealed }, { ok: true, sealed: 3_000 + wait.split('log.write').length - 1 })
    // And the key file knows all of it.
    const reporter = quiet()
    await new SealedLog({ path, reporter }).close()
    assert.equal(reporter.counts.size, 0)
    assert.equal((await verifySealedLog(path, { publicKey })).ok, true)
  }
})

test('a second process is told that the log is in use, and by whom', async () => {
  const path = newPath()
  const log = new SealedLog({ path })
  const child = start(path, '')
  let said = ''
  child.stderr!.setEncoding('utf8').on('data', text => {
    said += text
  })
  const [code] = await once(child, 'close')
  assert.equal(code, 1)
  assert.match(said, new RegExp(`SealedLog: path ".*audit.jsonl" is in use by process ${process.pid} `))
  assert.throws(() => new SealedLog({ path }), /is in use by this process/)
  const other = newPath()
  assert.throws(
    () => new SealedLog({ path: other, keyPath: `${path}.key` }),
    /SealedLog: keyPath ".*audit.jsonl.key" is in use by this process/
  )
  await log.close()
  await new SealedLog({ path }).close()
})

const noShell = existsSync('/bin/sh') ? false : 'there is no /bin/sh'

test('a file that takes only half of a batch: after rotation the whole batch is in the new file', {
  skip: noShell
}, async () => {
  const path = newPath()
  // No file may grow beyond 256 blocks: a write that would is cut there, and the next one fails.
  const program = `
    import { renameSync } from 'node:fs'
    const batch = async () => {
      for (let i = 0; i < 40; i++) log.write('{"event_type":"request","i":' + i + ',"pad":"' + 'x'.repeat(1_000) + '"}')
      await log.flush()
    }
    let code
    let batches = 1
    while (code === undefined) await batch().then(() => batches++, error => { code = error.code })
    renameSync(${JSON.stringify(path)}, ${JSON.stringify(`${path}.1`)})
    await log.reopen()
    await log.close()
    console.log(JSON.stringify({ code, batches, publicKey: log.publicKey, written: log.stats.written }))`
  const limited = ['/bin/sh', '-c', 'unset NODE_V8_COVERAGE; ulimit -f 256; exec "$0" "$@"']
  const words = await firstLine(start(path, program, 'flushIntervalMs: 60_000', limited))
  const { code, batches, publicKey, written } = JSON.parse(words)
  assert.deepEqual({ code, written }, { code: 'EFBIG', written: batches * 40 })
  const { problems, sealed, events, setAside } = await verifySealedLog([`${path}.1`, path], { publicKey })
  assert.deepEqual(problems, [])
  assert.equal(sealed, written)
  // What was written of it before stays where it is, recorded: it is there twice.
  assert.equal(setAside.length, 1)
  assert.equal(events, written + setAside[0].lines)
  // The control: the old file alone ends torn.
  assert.equal((await verifySealedLog(`${path}.1`, { publicKey })).problems.at(-1)!.kind, 'torn')
})

const leftOver: [string, object | string, number][] = [
  ['of a process that is gone', { pid: 2 ** 22 + 1, host: hostname() }, 0],
  ['of this process number, in another life', { pid: process.pid, host: hostname() }, 0],
  ['of another host, long ago', { pid: 1, host: 'elsewhere' }, 30_001],
  ['that says nothing, long ago', '', 30_001]
]

for (const [what, holder, msAgo] of leftOver) {
  test(`a lock is taken over: one ${what}`, async t => {
    const path = newPath()
    writeFileSync(`${path}.lock`, typeof holder === 'string' ? holder : JSON.stringify(holder))
    t.mock.timers.enable({ apis: ['Date'], now: Math.ceil(statSync(`${path}.lock`).mtimeMs) + msAgo })
    const log = new SealedLog({ path })
    await log.close()
    assert.equal(existsSync(`${path}.lock`), false)
  })
}

test('a fresh lock of another host is not taken over', t => {
  const path = newPath()
  writeFileSync(`${path}.lock`, JSON.stringify({ pid: 1, host: 'elsewhere' }))
  t.mock.timers.enable({ apis: ['Date'], now: Math.floor(statSync(`${path}.lock`).mtimeMs) + 30_000 })
  assert.throws(() => new SealedLog({ path }), /is in use by process 1 on elsewhere/)
})

test('a process whose lock was taken over seals nothing more', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const path = newPath()
  const reporter = quiet()
  const log = new SealedLog({ path, reporter })
  log.write('{"event_type":"one"}')
  await log.flush()
  const before = readFileSync(path)
  t.mock.timers.tick(5_000)
  writeFileSync(`${path}.lock`, JSON.stringify({ pid: 1, host: 'elsewhere' }))
  t.mock.timers.tick(5_000)
  log.write('{"event_type":"two"}')
  await assert.rejects(log.flush(), /another process has taken the sealed log over/)
  await log.close()
  assert.deepEqual(readFileSync(path), before)
  assert.equal(reporter.counts.get('audit_lost'), 1)
  // The other's lock stays.
  assert.match(readFileSync(`${path}.lock`, 'utf8'), /elsewhere/)
})

test('a lock file that somebody cleared away is made again', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const path = newPath()
  const log = new SealedLog({ path })
  unlinkSync(`${path}.lock`)
  t.mock.timers.tick(5_000)
  assert.match(readFileSync(`${path}.lock`, 'utf8'), new RegExp(`"pid":${process.pid},`))
  await log.close()
})

test('a lock that cannot be looked after is told, and the log goes on', async t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const path = newPath()
  const reporter = quiet()
  const keyPath = join(temporaryFolder(), 'keys')
  const log = new SealedLog({ path, keyPath, reporter })
  await log.flush()
  rmSync(join(keyPath, '..'), { recursive: true })
  t.mock.timers.tick(5_000)
  assert.equal(reporter.counts.get('audit_lock'), 1)
  log.write('{"event_type":"request"}')
  await log.flush()
  await log.close()
  assert.equal((await verifySealedLog(path, { publicKey: log.publicKey })).sealed, 1)
})
