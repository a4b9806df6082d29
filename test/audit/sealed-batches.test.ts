import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { appendFileSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { SealedBatches } from '../../lib/audit/sealed-batches.ts'
import { SealingKey } from '../../lib/audit/sealed-key.ts'
import { SealedLog } from '../../lib/audit/sealed-log.ts'
import { BatchTree } from '../../lib/audit/sealed-tree.ts'
import { verifySealedLog } from '../../lib/audit/verify-sealed-log.ts'
import { Reporter } from '../../lib/http/reporter.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { settledKeyState } from './key-state.ts'

function newBatches(path: string, key: SealingKey): SealedBatches {
  return new SealedBatches({
    path,
    point: { key, tree: BatchTree.empty, events: 0, offset: 0 },
    setAside: null,
    lostEvents: 0,
    checkpointEvents: 1_000,
    onSealed() {},
    check() {}
  })
}

const line = Buffer.from('{"event_type":"request"}\n')

test('a batch that could not be written is sealed again as if nothing had been', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const key = new SealingKey('example.com/log', 0, randomBytes(32))
  const publicKey = String(key.verifier)
  const batches = newBatches(path, key)
  for (let i = 0; i < 5; i++) {
    batches.seal(line, 1)
    batches.seal(Buffer.concat([line, line]), 2)
    if (i === 3) batches.checkpointDue = true
    appendFileSync(path, batches.seal(line, 1))
    batches.sealed(false)
  }
  const { ok, sealed } = await verifySealedLog(path, { publicKey })
  assert.deepEqual({ ok, sealed }, { ok: true, sealed: 5 })
  assert.equal(batches.point.key.epoch, 1)
  assert.deepEqual(key.seed, Buffer.alloc(32))
})

test('wherever a batch was cut when its file was moved away: it is whole in the next file, and the cut is recorded', async () => {
  const folder = temporaryFolder()
  const key = new SealingKey('example.com/log', 0, randomBytes(32))
  const publicKey = String(key.verifier)
  const lines = Buffer.concat([line, line, line])
  for (let cut = 1; ; cut += 13) {
    const [old, next] = [join(folder, `${cut}.1`), join(folder, String(cut))]
    const batches = newBatches(next, key)
    writeFileSync(old, batches.seal(line, 1))
    batches.sealed(false)
    // The file was moved away when this much of the batch was in it.
    const batch = batches.seal(lines, 3)
    if (cut >= batch.length) break
    const written = Buffer.from(batch.subarray(0, cut))
    appendFileSync(old, written)
    batches.openFile()
    batches.abandon(written)
    writeFileSync(next, batches.seal(lines, 3))
    batches.sealed(false)
    const { ok, sealed, setAside } = await verifySealedLog([old, next], { publicKey })
    const recorded = setAside.map(({ bytes }) => bytes)
    assert.deepEqual({ ok, sealed, recorded }, { ok: true, sealed: 4, recorded: [written.length] })
  }
})

test('a log that goes on under another key than its key file makes is not taken up', async () => {
  const path = join(temporaryFolder(), 'audit.jsonl')
  const log = new SealedLog({ path })
  await log.flush()
  await settledKeyState(path)
  copyFileSync(`${path}.key`, `${path}.key.old`)
  await log.close()
  copyFileSync(`${path}.key.old`, `${path}.key`)
  const { origin, seed } = JSON.parse(readFileSync(`${path}.key`, 'utf8'))
  /** Somebody who has the key, and passes it on to a key of their own. */
  class StolenKey extends SealingKey {
    override next(): SealingKey {
      return new SealingKey(origin, 1, randomBytes(32))
    }
  }
  const batches = newBatches(path, new StolenKey(origin, 0, Buffer.from(seed, 'base64')))
  batches.checkpointDue = true
  const forged = batches.seal(line, 1)
  batches.sealed(false)
  writeFileSync(path, forged)
  writeFileSync(
    `${path}.key`,
    JSON.stringify({
      ...JSON.parse(readFileSync(`${path}.key.old`, 'utf8')),
      size: 0,
      tree: [],
      events: 0,
      offset: 0
    })
  )
  const reporter = new Reporter({ onReport: () => {} })
  assert.throws(
    () => new SealedLog({ path, reporter }),
    /goes on under a key that its key file does not make/
  )
})
