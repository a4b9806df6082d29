import assert from 'node:assert/strict'
import { createPrivateKey, sign } from 'node:crypto'
import { test } from 'node:test'
import {
  checkpointText,
  isSignedBy,
  NoteKey,
  parseCheckpoint,
  parseNote,
  printNote
} from '../../lib/audit/sealed-note.ts'

/** The published example of signed notes (golang.org/x/mod/sumdb/note). */
const peterKey = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'
const peterSecret = 'PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz'
const enochKey = 'EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop'
const text =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
const peterLine =
  '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n'
const enochLine =
  '— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n'

test('reads and prints a verifier key', () => {
  const key = NoteKey.parse(peterKey)!
  assert.equal(key.name, 'PeterNeumann')
  assert.equal(key.id, 'c74f20a3')
  assert.equal(String(key), peterKey)
})

test('any other spelling of a verifier key is none', () => {
  for (let from = 0; from <= peterKey.length; from++) {
    for (let to = from + 1; to <= peterKey.length; to++) {
      if (to - from < peterKey.length) assert.equal(NoteKey.parse(peterKey.slice(from, to)), undefined)
    }
  }
  for (let i = 0; i < peterKey.length; i++) {
    const mangled =
      peterKey.slice(0, i) + String.fromCharCode(peterKey.charCodeAt(i) + 1) + peterKey.slice(i + 1)
    assert.equal(NoteKey.parse(mangled), undefined, mangled)
  }
  // Too long, and of an unknown algorithm, with identifiers that fit.
  assert.equal(
    NoteKey.parse('PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=='),
    undefined
  )
  assert.equal(NoteKey.parse('PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'), undefined)
})

test('prints the published note, byte for byte', () => {
  const seed = Buffer.from(peterSecret.split('+').slice(4).join('+'), 'base64').subarray(1)
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed])
  const secret = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
  const signature = sign(null, Buffer.from(text), secret).toString('base64')
  assert.equal(printNote(text, NoteKey.parse(peterKey)!, signature), `${text}\n${peterLine}`)
})

test('verifies the published notes', () => {
  const both = parseNote(`${text}\n${peterLine}${enochLine}`)!
  assert.equal(both.text, text)
  assert.equal(isSignedBy(both, NoteKey.parse(peterKey)!), true)
  assert.equal(isSignedBy(both, NoteKey.parse(enochKey)!), true)
  assert.equal(isSignedBy(parseNote(`${text}\n${peterLine}`)!, NoteKey.parse(enochKey)!), false)
  assert.equal(isSignedBy(parseNote(`${text}!\n\n${peterLine}`)!, NoteKey.parse(peterKey)!), false)
  const longer = `${peterLine.slice(0, 60)}ABCD${peterLine.slice(60)}`
  assert.equal(isSignedBy(parseNote(`${text}\n${longer}`)!, NoteKey.parse(peterKey)!), false)
})

test('a signature has one spelling', () => {
  const key = NoteKey.parse(peterKey)!
  const { signature } = parseNote(`${text}\n${peterLine}`)!.signatures[0]
  assert.equal(key.verifies(text, signature), true)
  assert.equal(key.verifies(text, signature.replace(/=+$/, '')), false)
  // The last letter before the padding has four bits to spare.
  assert.match(signature, /w==$/)
  assert.equal(key.verifies(text, signature.replace(/w==$/, 'x==')), false)
})

const malformed: [string, string][] = [
  ['no signatures', text],
  ['an empty list of signatures', `${text}\n`],
  ['no newline at the end', `${text}\n${peterLine.slice(0, -1)}`],
  ['a control character', `\x01${text}\n${peterLine}`],
  ['what is no UTF-8', `\ufffd${text}\n${peterLine}`],
  ['a bad name', `${text}\n${peterLine.replace('PeterNeumann', 'Bad Name')}`],
  ['a line that is no signature', `${text}\n${peterLine}Unexpected line.\n`],
  ['more signatures than anybody needs', `${text}\n${peterLine.repeat(101)}`],
  ['a signature of four bytes', `${text}\n— PeterNeumann x08gow==\n`]
]

for (const [what, note] of malformed) {
  test(`a note with ${what} is none`, () => assert.equal(parseNote(note), undefined))
}

test('reads and prints the published checkpoint', () => {
  const body = 'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n'
  const checkpoint = parseCheckpoint(body)!
  assert.deepEqual(checkpoint, {
    origin: 'example.com/behind-the-sofa',
    size: 20_852_163,
    root: 'CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I='
  })
  assert.equal(checkpointText(checkpoint), body)
  assert.deepEqual(parseCheckpoint(`${body}an extension\n`), checkpoint)
  const note = parseNote(
    `${body}\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n`
  )
  assert.equal(note?.text, body)
  for (const bad of [
    body.replace('20852163', '020852163'),
    body.replace('20852163', '-1'),
    body.replace('I=', ''),
    body.slice(0, -1),
    `${body}\n`,
    body.replace('example.com/behind-the-sofa', '')
  ]) {
    assert.equal(parseCheckpoint(bad), undefined, bad)
  }
})
