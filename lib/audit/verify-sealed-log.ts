/** Verifies sealed logs: reads them, and nothing else. */
import { open } from 'node:fs/promises'
import { ChainReader, type SealedLogProblemKind } from './sealed-chain.ts'
import {
  type Checkpoint,
  checkpointText,
  isSignedBy,
  NoteKey,
  parseCheckpoint,
  parseNote,
  printNote,
  type SignedNote
} from './sealed-note.ts'

export interface VerifySealedLogOptions {
  /** The verifier key that the log begins with (`SealedLog.publicKey`); with `from`, the `publicKey` of the result before it. */
  publicKey?: string
  /** Checkpoints of the log that were kept elsewhere. They show that nothing up to them was cut off. */
  checkpoint?: string | readonly string[]
  /** The checkpoint after which the first file begins, when those before it were deleted on purpose. */
  from?: string
}

export interface SealedLogProblem {
  /** The file, as it was given. */
  readonly path: string
  /** From 1; 0 for the file as a whole. */
  readonly line: number
  readonly kind: SealedLogProblemKind
  readonly text: string
}

export interface SealedLogVerification {
  /** True if there is no problem. */
  ok: boolean
  /** Lines that are events. */
  events: number
  /** Those of them that a good seal covers. Less than `events` only where `problems` or `setAside` tell. */
  sealed: number
  problems: SealedLogProblem[]
  /** Lines that were found without a seal after a crash, and recorded in the chain as such. */
  setAside: { path: string; line: number; lines: number; bytes: number }[]
  /** The last good seal as a checkpoint, to be kept elsewhere; and the verifier key with which the log goes on. */
  checkpoint: string | undefined
  publicKey: string | undefined
}

interface HeldCheckpoint extends Checkpoint {
  readonly note: SignedNote
  /** Whether the log got there. */
  isFound: boolean
}

const readBytes = 262_144

/**
 * Verifies a sealed log. What was held elsewhere decides what it can find: with `publicKey` any change, and with a checkpoint
 * also that the end was cut off. At least one of them is needed: a log that vouches for itself shows nothing.
 *
 * @param path the file, or all files of a log that was rotated, the oldest first
 * @throws TypeError when an option is wrong
 * @throws Error when a file cannot be read
 */
export async function verifySealedLog(
  path: string | readonly string[],
  options: VerifySealedLogOptions
): Promise<SealedLogVerification> {
  const verifier = new Verifier(options ?? {})
  const paths = typeof path === 'string' ? [path] : path
  if (paths.length === 0) throw new TypeError('verifySealedLog: path must name at least one file')
  for (const each of paths) await verifier.read(each)
  return verifier.end()
}

class Verifier {
  readonly #trusted: NoteKey | undefined
  readonly #held: readonly HeldCheckpoint[]
  readonly #from: HeldCheckpoint | undefined
  readonly #reader: ChainReader
  readonly #problems: SealedLogProblem[] = []
  readonly #setAside: SealedLogVerification['setAside'] = []
  #path = ''
  /** Where the log, or what is given of it, begins. */
  #first: { path: string; line: number; size: number; root: string; key: NoteKey } | undefined
  /** Whether a checkpoint shows that the log begins with the right key. */
  #isKeyProven = false
  #lastSeal: string | undefined

  constructor({ publicKey, checkpoint, from }: VerifySealedLogOptions) {
    const notes = typeof checkpoint === 'string' ? [checkpoint] : (checkpoint ?? [])
    if (publicKey === undefined && from === undefined && notes.length === 0) {
      throw new TypeError('verifySealedLog: publicKey or checkpoint must be given: no log vouches for itself')
    }
    this.#trusted = publicKey === undefined ? undefined : NoteKey.parse(String(publicKey))
    if (publicKey !== undefined && this.#trusted === undefined) {
      throw new TypeError(`verifySealedLog: publicKey must be a verifier key, got ${String(publicKey)}`)
    }
    this.#held = notes.map(note => heldCheckpoint('checkpoint', note))
    this.#from = from === undefined ? undefined : heldCheckpoint('from', from)
    this.#reader = new ChainReader({
      problem: (line, kind, text) => this.#problem(line, kind, text),
      setAside: (line, lines, bytes) => this.#setAside.push({ path: this.#path, line, lines, bytes }),
      opened: (_opening, line) => this.#opened(line),
      sealed: ({ size, signature }, root, { key }) => {
        this.#lastSeal = printNote(checkpointText({ origin: key.name, size, root }), key, signature)
        if (this.#agrees(size, root, key)) this.#isKeyProven = true
      }
    })
  }

  async read(path: string): Promise<void> {
    this.#path = path
    this.#reader.nextFile()
    const file = await open(path, 'r')
    try {
      const chunk = Buffer.allocUnsafe(readBytes)
      let { bytesRead } = await file.read(chunk, 0, readBytes)
      while (bytesRead > 0) {
        this.#reader.push(chunk.subarray(0, bytesRead))
        bytesRead = (await file.read(chunk, 0, readBytes)).bytesRead
      }
    } finally {
      await file.close()
    }
    this.#reader.endFile()
  }

  end(): SealedLogVerification {
    this.#checkEnd()
    this.#checkBeginning()
    this.#checkHeld()
    if (this.#lastSeal === undefined && this.#problems.length === 0)
      this.#problem(0, 'empty', 'nothing is sealed')
    const { events, sealed, rest, point } = this.#reader
    return {
      ok: this.#problems.length === 0,
      events: events + rest.lines,
      sealed,
      problems: this.#problems,
      setAside: this.#setAside,
      checkpoint: this.#lastSeal,
      publicKey: point && String(point.key)
    }
  }

  #problem(line: number, kind: SealedLogProblemKind, text: string): void {
    this.#problems.push({ path: this.#path, line, kind, text })
  }

  #opened(line: number): void {
    const { point } = this.#reader
    if (this.#first !== undefined || point === undefined) return
    const { tree, key } = point
    this.#first = { path: this.#path, line, size: tree.size, root: tree.root().toString('base64'), key }
    // Checkpoints of this moment are right or wrong as others are; they do not cover the opening, which names the key.
    this.#agrees(tree.size, this.#first.root, key)
    const notes = [...this.#held, ...(this.#from === undefined ? [] : [this.#from])]
    this.#isKeyProven = notes.some(({ note, size }) => size === tree.size && isSignedBy(note, key))
  }

  /** Whether there is a checkpoint of this moment, and it says the same. */
  #agrees(size: number, root: string, key: NoteKey): boolean {
    let agrees = false
    for (const held of this.#held) {
      if (held.size !== size || held.isFound) continue
      held.isFound = true
      if (held.root === root && held.origin === key.name) agrees = true
      else
        this.#problem(
          this.#reader.line,
          'checkpoint',
          `the checkpoint of ${held.origin} at ${size} is of another log`
        )
    }
    return agrees
  }

  #checkEnd(): void {
    const { rest, line } = this.#reader
    const { lines, bytes, torn } = rest
    if (bytes > torn) {
      const text = `${lines} lines (${bytes - torn} bytes) that no seal covers`
      this.#problem(line - lines + 1, 'unsealed', text)
    }
    if (torn > 0) this.#problem(line + 1, 'torn', `the last line ends after ${torn} bytes, without a newline`)
  }

  #checkBeginning(): void {
    if (this.#first === undefined) return
    const { path, line, size, root, key } = this.#first
    const trusted = this.#trusted?.publicKey === key.publicKey && this.#trusted.name === key.name
    // The beginning of a log has the key that is given, or it is another log.
    const proven = this.#isKeyProven && (this.#trusted === undefined || size > 0)
    if (!trusted && !proven) {
      const text = `the log begins with the key ${key}, which nothing that was given vouches for`
      this.#problems.push({ path, line, kind: 'key', text })
    }
    const from = this.#from ?? { size: 0, root, origin: key.name }
    if (from.size !== size || from.root !== root || from.origin !== key.name) {
      const due =
        this.#from === undefined ? 'its beginning' : `batch ${from.size} of ${from.origin}, as in "from"`
      this.#problems.push({
        path,
        line,
        kind: 'start',
        text: `the log begins after batch ${size}, not after ${due}`
      })
    }
  }

  #checkHeld(): void {
    const first = this.#first?.size ?? 0
    const last = this.#reader.point?.tree.size ?? 0
    for (const { origin, size, isFound } of this.#held) {
      if (isFound || size < first) continue
      const what = `the checkpoint of ${origin} is of ${size} batches`
      if (size > last) this.#problem(0, 'truncated', `${what}; the log ends after ${last}`)
      else if (size > 0) this.#problem(0, 'checkpoint', `${what}, and the log is not proven there`)
    }
  }
}

function heldCheckpoint(option: string, text: string): HeldCheckpoint {
  const note = typeof text === 'string' ? parseNote(text) : undefined
  const checkpoint = note && parseCheckpoint(note.text)
  if (note === undefined || checkpoint === undefined) {
    throw new TypeError(
      `verifySealedLog: ${option} must be a signed note of a checkpoint, got ${String(text)}`
    )
  }
  return { ...checkpoint, note, isFound: false }
}
