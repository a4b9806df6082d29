/** Signed notes and checkpoints of C2SP (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), signed with Ed25519. */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'

/** A key that verifies notes: a name and an Ed25519 public key. */
export class NoteKey {
  readonly name: string
  /** Of 32 bytes, in base64. */
  readonly publicKey: string
  /** SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key), its first 4 bytes in hexadecimal digits. */
  readonly id: string
  #object: KeyObject | undefined = undefined

  constructor(name: string, publicKey: string) {
    this.name = name
    this.publicKey = publicKey
    const hash = createHash('sha256').update(`${name}\n\x01`, 'utf8').update(publicKey, 'base64')
    this.id = hash.digest('hex').slice(0, 8)
  }

  /** @returns undefined when the text is not `name+id+base64(0x01 ‖ public key)` */
  static parse(text: string): NoteKey | undefined {
    const parts = /^([^+\s\p{Cc}]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})$/u.exec(text)
    if (parts === null) return undefined
    const bytes = Buffer.from(parts[3], 'base64')
    if (bytes[0] !== 1 || bytes.length !== 33) return undefined
    const key = new NoteKey(parts[1], bytes.toString('base64', 1))
    return key.id === parts[2] ? key : undefined
  }

  toString(): string {
    const bytes = Buffer.concat([Uint8Array.of(1), Buffer.from(this.publicKey, 'base64')])
    return `${this.name}+${this.id}+${bytes.toString('base64')}`
  }

  /** @param signature in base64 as it is printed: other spellings of the same bytes do not verify */
  verifies(text: string, signature: string): boolean {
    const bytes = Buffer.from(signature, 'base64')
    if (bytes.toString('base64') !== signature) return false
    this.#object ??= createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(this.publicKey, 'base64').toString('base64url') },
      format: 'jwk'
    })
    return verify(null, Buffer.from(text), this.#object, bytes)
  }
}

/** What a log says of itself at one moment. */
export interface Checkpoint {
  readonly origin: string
  readonly size: number
  /** base64 */
  readonly root: string
}

/** A note as it was read; whether a key signed it is another question. */
export interface SignedNote {
  readonly text: string
  /** Signatures in base64, with whose they say they are. */
  readonly signatures: readonly { readonly name: string; readonly id: string; readonly signature: string }[]
}

/** Signatures of a note; more are not read. */
const maxSignatures = 100
/** Control characters other than the newline, and what was no UTF-8. */
const unprintable = /(?!\n)[\p{Cc}\ufffd]/u
const signatureLine = /^— ([^+\s\p{Cc}]+) ([A-Za-z0-9+/]+={0,2})$/u

/** The text that is signed. */
export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${root}\n`
}

export function printNote(text: string, key: NoteKey, signature: string): string {
  const bytes = Buffer.concat([Buffer.from(key.id, 'hex'), Buffer.from(signature, 'base64')])
  return `${text}\n— ${key.name} ${bytes.toString('base64')}\n`
}

/** @returns undefined when it is not a signed note */
export function parseNote(note: string): SignedNote | undefined {
  const split = note.lastIndexOf('\n\n')
  if (split === -1 || !note.endsWith('\n') || unprintable.test(note)) return undefined
  const lines = note.slice(split + 2, -1).split('\n')
  if (lines.length > maxSignatures) return undefined
  const signatures = []
  for (const line of lines) {
    const parts = signatureLine.exec(line)
    const bytes = Buffer.from(parts?.[2] ?? '', 'base64')
    if (parts === null || bytes.length < 5) return undefined
    signatures.push({
      name: parts[1],
      id: bytes.toString('hex', 0, 4),
      signature: bytes.toString('base64', 4)
    })
  }
  return { text: note.slice(0, split + 1), signatures }
}

/** @returns undefined when the text of a note is not that of a checkpoint; extension lines are passed over */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  const parts = /^([^\n]+)\n(0|[1-9]\d{0,15})\n([A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*$/.exec(text)
  if (parts === null) return undefined
  return { origin: parts[1], size: Number(parts[2]), root: parts[3] }
}

export function isSignedBy(note: SignedNote, key: NoteKey): boolean {
  return note.signatures.some(
    ({ name, id, signature }) => name === key.name && id === key.id && key.verifies(note.text, signature)
  )
}
