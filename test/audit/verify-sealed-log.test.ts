import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { SealedLog } from '../../lib/audit/sealed-log.ts'
import { type VerifySealedLogOptions, verifySealedLog } from '../../lib/audit/verify-sealed-log.ts'
import { fc } from '../support/seeded.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const folder = temporaryFolder()
const path = join(folder, 'audit.jsonl')
const edited = join(folder, 'edited.jsonl')
/** Ends of the lines, and which of them are seals. */
let bytes: Buffer
let lines: string[]
let publicKey: string
let checkpoints: string[]

/** Four epochs, two processes, batches of one to six lines. */
before(async () => {
  checkpoints = []
  for (const run of [1, 2]) {
    const log = new SealedLog({
      path,
      origin: 'example.com/log',
      onCheckpoint: note => checkpoints.push(note)
    })
    publicKey = log.publicKey
    await log.flush()
    for (let batch = 1; batch <= 6; batch++) {
      for (let i = 0; i < batch; i++) log.write(JSON.stringify({ event_type: 'request', run, batch, i }))
      await (batch === 3 ? log.checkpoint() : log.flush())
    }
    await log.close()
  }
  bytes = readFileSync(path)
  lines = bytes.toString('latin1').split('\n').slice(0, -1)
})

async function verifyEdited(content: Buffer | string, options: VerifySealedLogOptions = { publicKey }) {
  writeFileSync(edited, content)
  return await verifySealedLog(edited, options)
}

function joined(edit: string[]): string {
  return edit.map(line => `${line}\n`).join('')
}

function isSeal(line: string): boolean {
  return line.startsWith('{"event_type":"log_seal"')
}

test('a log that nobody touched is right, with any of what was kept elsewhere', async () => {
  for (const options of [
    { publicKey },
    { publicKey, checkpoint: checkpoints },
    { checkpoint: checkpoints[0] },
    { checkpoint: checkpoints.at(-1)! }
  ]) {
    const { ok, events, sealed, problems, setAside } = await verifyEdited(bytes, options)
    assert.deepEqual(
      { ok, events, sealed, problems, setAside },
      {
        ok: true,
        events: 42,
        sealed: 42,
        problems: [],
        setAside: []
      }
    )
  }
  // The negative control of the property tests below: the same bytes, read in the same way.
  assert.deepEqual(readFileSync(edited), bytes)
})

test('any changed byte is found', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
      const copy = Buffer.from(bytes)
      copy[at] ^= flip
      const { ok, problems, sealed } = await verifyEdited(copy)
      assert.equal(ok, false)
      assert.ok(problems.length > 0)
      assert.ok(sealed <= 42)
    }),
    { numRuns: 250 }
  )
})

test('any bytes that were cut out, doubled or put in are found', async () => {
  const anyEdit = fc.record({
    at: fc.nat(bytes.length - 1),
    cut: fc.nat(900),
    insert: fc.oneof(fc.constant(''), fc.constant('\n'), fc.string({ maxLength: 40 }), fc.constant('copy'))
  })
  await fc.assert(
    fc.asyncProperty(anyEdit, async ({ at, cut, insert }) => {
      const added = insert === 'copy' ? bytes.subarray(at, at + 500) : Buffer.from(insert)
      const copy = Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + cut)])
      fc.pre(!copy.equals(bytes))
      // A cut to the end is told by the checkpoint alone when it ends in a seal.
      assert.equal((await verifyEdited(copy, { publicKey, checkpoint: checkpoints.at(-1)! })).ok, false)
    }),
    { numRuns: 250 }
  )
})

test('any lines that are gone, doubled, moved or exchanged are found', async () => {
  const line = fc.nat(lines.length - 1)
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('delete', 'double', 'swap', 'move'), line, line, async (how, a, b) => {
      const copy = [...lines]
      if (how === 'delete') copy.splice(Math.min(a, b), Math.abs(a - b) + 1)
      else if (how === 'double') copy.splice(b, 0, ...lines.slice(Math.min(a, b), Math.max(a, b) + 1))
      else if (how === 'swap') [copy[a], copy[b]] = [copy[b], copy[a]]
      else copy.splice(b, 0, ...copy.splice(a, 1))
      fc.pre(joined(copy) !== joined(lines))
      const options = { publicKey, checkpoint: checkpoints.at(-1)! }
      assert.equal((await verifyEdited(joined(copy), options)).ok, false)
    }),
    { numRuns: 250 }
  )
})

test('a cut is found wherever it is, and one at the end of a seal with a checkpoint', async () => {
  for (let end = 0; end < bytes.length; end += 61) {
    const options = { publicKey, checkpoint: checkpoints.at(-1)! }
    const { problems } = await verifyEdited(bytes.subarray(0, end), options)
    assert.ok(problems.some(({ kind }) => kind === 'truncated'))
  }
  const seals = [...lines.keys()].filter(i => isSeal(lines[i])).slice(0, -1)
  for (const i of seals) {
    const cut = joined(lines.slice(0, i + 1))
    // The control: no chain can tell by itself.
    assert.equal((await verifyEdited(cut)).ok, true)
    const { problems } = await verifyEdited(cut, { publicKey, checkpoint: checkpoints.at(-1)! })
    assert.deepEqual(
      problems.map(({ kind, line }) => [kind, line]),
      [['truncated', 0]]
    )
  }
})

function indexOf(pattern: RegExp, nth = 0): number {
  return [...lines.keys()].filter(i => pattern.test(lines[i]))[nth]
}

/** What is done to the lines; the problems that it makes, with the line that each names. */
const tampering: [string, (copy: string[]) => void, (copy: string[]) => [string, number][], number?][] = [
  [
    'an event that was changed, in one batch only',
    copy => {
      const at = indexOf(/"run":1,"batch":4,"i":2/)
      copy[at] = copy[at].replace('request', 'nothing')
    },
    () => [['changed', indexOf(/"run":1,"batch":4,"i":0/) + 1]],
    38
  ],
  [
    'events that were changed in two batches',
    copy => {
      for (const at of [indexOf(/"run":1,"batch":2,"i":1/), indexOf(/"run":2,"batch":5,"i":4/)]) {
        copy[at] = copy[at].replace('request', 'nothing')
      }
    },
    () => [
      ['changed', indexOf(/"run":1,"batch":2,"i":0/) + 1],
      ['changed', indexOf(/"run":2,"batch":5,"i":0/) + 1]
    ],
    35
  ],
  [
    'an event that was deleted',
    copy => copy.splice(indexOf(/"run":1,"batch":4,"i":3/), 1),
    () => [['changed', indexOf(/"run":1,"batch":4,"i":0/) + 1]],
    38
  ],
  [
    'a batch that was deleted whole, taken up again by the second process',
    copy => copy.splice(indexOf(/"run":1,"batch":2,"i":0/), 3),
    () => [['missing', indexOf(/"run":1,"batch":2,"i":0/) + 4]]
  ],
  [
    'a batch that comes a second time',
    copy => {
      const at = indexOf(/"run":2,"batch":6,"i":0/)
      copy.splice(at, 0, ...lines.slice(indexOf(/"run":2,"batch":5,"i":0/), at))
    },
    () => [['order', indexOf(/"run":2,"batch":6,"i":0/) + 6]]
  ],
  [
    'lines without a seal at the end',
    copy => copy.push('{"event_type":"request"}', '{"event_type":"request"}'),
    () => [['unsealed', lines.length + 1]],
    42
  ],
  [
    'lines without a seal before the second process',
    copy => copy.splice(indexOf(/log_opened/, 1), 0, '{"event_type":"request"}'),
    () => [['unsealed', indexOf(/log_opened/, 1) + 1]],
    42
  ],
  [
    'batches that were deleted with the seal that announces the next key: nothing after them is proven',
    copy =>
      copy.splice(
        indexOf(/"run":1,"batch":2,"i":0/),
        indexOf(/log_opened/, 1) - indexOf(/"run":1,"batch":2,"i":0/)
      ),
    () => [['missing', indexOf(/"run":1,"batch":2,"i":0/) + 1]],
    1
  ],
  [
    'another next key in the seal that announces it: nothing after it is proven',
    copy => {
      const at = indexOf(/next_key/)
      copy[at] = copy[at].replace(
        /"next_key":"[^"]+"/,
        `"next_key":"${lines[0].match(/"public_key":"([^"]+)"/)![1]}"`
      )
    },
    () => [['changed', indexOf(/"run":1,"batch":3,"i":0/) + 1]],
    3
  ],
  [
    'a signature of another seal',
    copy => {
      const at = indexOf(/log_seal/, 2)
      copy[at] = copy[at].replace(
        /"signature":"[^"]+"/,
        lines[indexOf(/log_seal/, 3)].match(/"signature":"[^"]+"/)![0]
      )
    },
    () => [['signature', indexOf(/log_seal/, 2) + 1]],
    40
  ],
  [
    'a seal that says it was made with the key of a later epoch',
    copy => {
      const at = indexOf(/log_seal/, 1)
      copy[at] = copy[at].replace(
        /"epoch":0,"key_id":"[^"]+"/,
        lines.at(-1)!.match(/"epoch":3,"key_id":"[^"]+"/)![0]
      )
    },
    () => [['key', indexOf(/log_seal/, 1) + 1]]
  ]
]

for (const [what, edit, expected, sealed] of tampering) {
  test(`tells what happened: ${what}`, async () => {
    const copy = [...lines]
    edit(copy)
    const result = await verifyEdited(joined(copy))
    assert.deepEqual(
      result.problems.map(({ kind, line }) => [kind, line]),
      expected(copy)
    )
    assert.ok(result.problems.every(({ text, path }) => text.length > 10 && path === edited))
    if (sealed !== undefined) assert.equal(result.sealed, sealed)
  })
}

test('a torn last line is told apart from lines that somebody added', async () => {
  const last = lines.length
  const { problems } = await verifyEdited(`${joined(lines)}{"event_ty`)
  assert.deepEqual(
    problems.map(({ kind, line }) => [kind, line]),
    [['torn', last + 1]]
  )
  const both = await verifyEdited(`${joined(lines)}{}\n{"event_ty`)
  assert.deepEqual(
    both.problems.map(({ kind, line }) => [kind, line]),
    [
      ['unsealed', last + 1],
      ['torn', last + 2]
    ]
  )
  assert.equal(both.events, 43)
})

test('what was never sealed is never right', async () => {
  const plain = '{"event_type":"request"}\n'.repeat(3)
  const { ok, events, sealed, problems } = await verifyEdited(plain)
  assert.deepEqual({ ok, events, sealed }, { ok: false, events: 3, sealed: 0 })
  assert.deepEqual(
    problems.map(({ kind, line }) => [kind, line]),
    [['unsealed', 1]]
  )
  assert.deepEqual(
    (await verifyEdited('')).problems.map(({ kind }) => kind),
    ['empty']
  )
  assert.equal((await verifyEdited(`${lines[0]}\n`)).ok, false)
  assert.equal((await verifyEdited(joined(lines.slice(1)))).ok, false)
})

test('lines longer than what is read at once, and longer than a seal may be', async () => {
  const longPath = join(folder, 'long.jsonl')
  const log = new SealedLog({ path: longPath })
  for (const length of [10, 16_384, 17_000, 262_144, 600_000, 3]) log.write('x'.repeat(length))
  await log.flush()
  log.write(`{"${'e'.repeat(20_000)}`)
  await log.close()
  const result = await verifySealedLog(longPath, { publicKey: log.publicKey })
  assert.deepEqual(
    { ok: result.ok, events: result.events, sealed: result.sealed },
    { ok: true, events: 7, sealed: 7 }
  )
})

test('another log, with a key of its own, is not this one', async () => {
  const forgedPath = join(folder, 'forged.jsonl')
  const checkpoint = checkpoints.at(-1)!
  const forged = new SealedLog({ path: forgedPath, origin: 'example.com/log' })
  for (let i = 0; i < 42; i++) {
    forged.write(lines[indexOf(/"run"/, i)])
    await forged.flush()
  }
  await forged.close()
  const kinds = async (options: VerifySealedLogOptions) =>
    (await verifySealedLog(forgedPath, options)).problems.map(({ kind }) => kind)
  assert.deepEqual(await kinds({ publicKey: forged.publicKey }), [])
  assert.deepEqual(await kinds({ publicKey }), ['key'])
  assert.deepEqual(await kinds({ checkpoint }), ['checkpoint', 'key'])
  assert.deepEqual(await kinds({ publicKey: forged.publicKey, checkpoint }), ['checkpoint'])
  // A key that was given must be right, whatever else is.
  const other = { publicKey: forged.publicKey, checkpoint: checkpoints }
  assert.deepEqual(
    (await verifyEdited(bytes, other)).problems.map(({ kind }) => kind),
    ['key']
  )
})

test('an older copy of the file is found with a checkpoint, as is a checkpoint of another log', async () => {
  const older = joined(lines.slice(0, indexOf(/log_opened/, 1)))
  assert.equal((await verifyEdited(older)).ok, true)
  const { problems } = await verifyEdited(older, { publicKey, checkpoint: checkpoints })
  assert.ok(problems.length > 0 && problems.every(({ kind }) => kind === 'truncated'))
  const foreign = checkpoints[0].replaceAll('example.com', 'example.org')
  const kinds = (await verifyEdited(bytes, { publicKey, checkpoint: foreign })).problems.map(
    ({ kind }) => kind
  )
  assert.deepEqual(kinds, ['checkpoint'])
})

test('part of a log needs to be told where it begins', async () => {
  const second = indexOf(/log_opened/, 1)
  const first = await verifyEdited(joined(lines.slice(0, second)))
  const rest = joined(lines.slice(second))
  const kinds = async (options: VerifySealedLogOptions) =>
    (await verifyEdited(rest, options)).problems.map(({ kind }) => kind)
  const { publicKey: nextKey, checkpoint: from } = first as { publicKey: string; checkpoint: string }
  assert.deepEqual(await kinds({ publicKey: nextKey, from }), [])
  // The notes that the log gave out at its end and when it was opened again: the second is signed with the key of the opening.
  const size = /"size":(\d+)/.exec(lines[second])![1]
  const [atEnd, atOpening] = checkpoints.filter(note => note.split('\n')[1] === size)
  assert.equal(atEnd, from)
  assert.deepEqual(await kinds({ from: atOpening }), [])
  assert.deepEqual(await kinds({ from: atEnd }), ['key'])
  assert.deepEqual(await kinds({ from: atEnd, checkpoint: checkpoints.at(-1)! }), [])
  assert.deepEqual(await kinds({ publicKey, from, checkpoint: checkpoints }), [])
  // The controls: whatever else is given, the beginning is missed.
  assert.deepEqual(await kinds({ publicKey }), ['key', 'start'])
  assert.deepEqual(await kinds({ publicKey: nextKey }), ['start'])
  assert.deepEqual(await kinds({ publicKey: nextKey, checkpoint: checkpoints }), ['start'])
  assert.deepEqual(await kinds({ checkpoint: checkpoints }), ['start'])
  const earlier = checkpoints.find(note => note.split('\n')[1] !== size)!
  assert.deepEqual(await kinds({ publicKey: nextKey, from: earlier }), ['start'])
  assert.deepEqual(await kinds({ publicKey: nextKey, from: from.replaceAll('example.com', 'example.org') }), [
    'start'
  ])
  // Nor does a whole log begin later.
  assert.deepEqual(
    (await verifyEdited(bytes, { publicKey, from })).problems.map(({ kind }) => kind),
    ['start']
  )
  // And with both parts given as two files.
  writeFileSync(join(folder, 'part.1'), joined(lines.slice(0, second)))
  writeFileSync(join(folder, 'part.2'), rest)
  const parts = [join(folder, 'part.1'), join(folder, 'part.2')]
  const both = await verifySealedLog(parts, { publicKey, checkpoint: checkpoints })
  assert.deepEqual(
    { ok: both.ok, events: both.events, sealed: both.sealed },
    { ok: true, events: 42, sealed: 42 }
  )
  assert.equal((await verifySealedLog(parts.reverse(), { publicKey, checkpoint: checkpoints })).ok, false)
})

const wrong: [unknown, unknown, RegExp][] = [
  ['x', {}, /verifySealedLog: publicKey or checkpoint must be given/],
  ['x', undefined, /verifySealedLog: publicKey or checkpoint must be given/],
  ['x', { checkpoint: [] }, /publicKey or checkpoint must be given/],
  ['x', { publicKey: 'abc' }, /verifySealedLog: publicKey must be a verifier key, got abc/],
  ['x', { publicKey: 3 }, /verifySealedLog: publicKey must be a verifier key, got 3/],
  ['x', { checkpoint: 'abc' }, /verifySealedLog: checkpoint must be a signed note of a checkpoint, got abc/],
  ['x', { from: 'abc' }, /verifySealedLog: from must be a signed note of a checkpoint, got abc/],
  ['x', { checkpoint: [7] }, /verifySealedLog: checkpoint must be a signed note .*, got 7/]
]

for (const [of, options, message] of wrong) {
  test(`refuses the options ${JSON.stringify(options)}`, async () => {
    await assert.rejects(verifySealedLog(of as string, options as never), { name: 'TypeError', message })
  })
}

test('a file that is not there, or no file at all, is an error and no result', async () => {
  await assert.rejects(verifySealedLog(join(folder, 'nowhere'), { publicKey }), { code: 'ENOENT' })
  await assert.rejects(verifySealedLog([], { publicKey }), /path must name at least one file/)
})
