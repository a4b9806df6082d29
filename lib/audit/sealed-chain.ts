/** Reads the bytes of a sealed log and follows its chain; what verifying and going on after a restart have in common. */
import type { Hash } from 'node:crypto'
import {
  isReserved,
  maxReservedLine,
  type Opening,
  parseOpening,
  parseSeal,
  type Seal
} from './sealed-line.ts'
import { checkpointText, NoteKey } from './sealed-note.ts'
import { BatchTree, leafHasher } from './sealed-tree.ts'

/**
 * What is wrong with a sealed log:
 * `changed` lines or a seal are not what was sealed · `missing` batches are not there · `order`: a batch is here for the
 * second time or too late · `signature` of a seal is wrong · `key`: a seal or the log is by another key than is due ·
 * `unsealed` lines that no seal covers, as somebody adds them or a crash leaves them · `torn`: the last line has no end, as a
 * crash leaves it · `empty`: nothing is sealed · `start`: the log begins elsewhere · `truncated`: the log ends
 * before a checkpoint · `checkpoint`: the log is not the one that the checkpoint is of
 */
export type SealedLogProblemKind =
  | 'changed'
  | 'missing'
  | 'order'
  | 'signature'
  | 'key'
  | 'unsealed'
  | 'torn'
  | 'empty'
  | 'start'
  | 'truncated'
  | 'checkpoint'

/** A point of the chain, with all that is needed to go on from there. */
export interface ChainPoint {
  readonly tree: BatchTree
  /** Events sealed since the beginning of the log. */
  readonly events: number
  readonly epoch: number
  /** Verifies the next seal. */
  readonly key: NoteKey
}

/** Who is told what the reader finds; lines are numbered from 1 in each file. */
export interface ChainWatcher {
  problem(line: number, kind: SealedLogProblemKind, text: string): void
  /** Lines without a seal that an opening accounts for. */
  setAside?(line: number, lines: number, bytes: number): void
  opened?(opening: Opening, line: number): void
  sealed?(seal: Seal, root: string, before: ChainPoint): void
}

/** Bytes after the last seal or opening, and what they are. */
export interface Rest {
  readonly lines: number
  readonly bytes: number
  readonly hash: string
  /** Bytes of a last line without an end. */
  readonly torn: number
}

const newline = 0x0a

/**
 * Cuts the bytes into batches at the seals and openings:
 *
 *     opening  event  event  seal │ event  event  event  seal │ …
 *     └────────── leaf n ──────┘    └───────── leaf n+1 ─────┘
 *
 * A leaf is all bytes of its lines, newlines included, and the head of its seal. Every seal must fit to the tree that is
 * recomputed from the bytes, and be signed with the key that the chain says is due. A batch that was changed is told, and the
 * chain goes on with the leaf that its seal states, if the seal's signature vouches for it. After any other break nothing can
 * be proven until an opening takes the chain up again under a key that is known.
 */
export class ChainReader {
  /** Events: all lines but seals and openings; those under a good seal. */
  events = 0
  sealed = 0
  /** Where the chain is; undefined before the first opening. */
  point: ChainPoint | undefined
  readonly #watcher: ChainWatcher
  #broken = false
  #line = 0
  #carry: Buffer = Buffer.alloc(0)
  /** Bytes of the present line that are hashed already: it is too long for a seal. */
  #open = 0
  #leaf: Hash = leafHasher()
  #leafBytes = 0
  #leafLines = 0

  constructor(watcher: ChainWatcher, point?: ChainPoint) {
    this.#watcher = watcher
    this.point = point
  }

  /** The number of lines of this file. */
  get line(): number {
    return this.#line
  }

  /** What no seal covers so far. */
  get rest(): Rest {
    const hash = this.#leaf.copy().digest('base64')
    return { lines: this.#leafLines, bytes: this.#leafBytes, hash, torn: this.#open }
  }

  push(chunk: Buffer): void {
    const bytes = this.#carry.length === 0 ? chunk : Buffer.concat([this.#carry, chunk])
    let unhashed = 0
    let at = 0
    for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, at)) {
      this.#line++
      if (this.#open === 0 && isReserved(bytes, at, end)) {
        this.#hash(bytes.subarray(unhashed, at))
        this.#reserved(bytes.subarray(at, end + 1))
        unhashed = end + 1
      } else this.#leafLines++
      this.#open = 0
      at = end + 1
    }
    // A line that may yet turn out to be a seal waits for its end.
    const mayBeReserved = this.#open === 0 && bytes.length - at <= maxReservedLine
    const end = mayBeReserved ? at : bytes.length
    this.#hash(bytes.subarray(unhashed, end))
    this.#carry = Buffer.from(bytes.subarray(end))
    this.#open += end - at
  }

  /** The end of a file; another may follow. */
  endFile(): void {
    this.#hash(this.#carry)
    this.#open += this.#carry.length
    this.#carry = Buffer.alloc(0)
  }

  nextFile(): void {
    this.#line = 0
    this.#open = 0
  }

  #hash(bytes: Buffer): void {
    this.#leafBytes += bytes.length
    if (bytes.length > 0) this.#leaf.update(bytes)
  }

  #restart(): void {
    this.events += this.#leafLines
    this.#leaf = leafHasher()
    this.#leafBytes = 0
    this.#leafLines = 0
  }

  /** A line that looks like a seal or an opening; if it is neither, it is a line like any other. */
  #reserved(line: Buffer): void {
    const text = line.toString('latin1', 0, line.length - 1)
    const seal = parseSeal(text)
    if (seal !== undefined) {
      this.#leaf.update(seal.head)
      const leaf = this.#leaf.digest()
      const lines = this.#leafLines
      this.#restart()
      this.#sealed(seal, leaf, lines)
      return
    }
    const opening = parseOpening(text)
    if (opening === undefined) this.#leafLines++
    else {
      this.#accountFor(opening)
      this.#restart()
      this.#opened(opening)
      this.#watcher.opened?.(opening, this.#line)
    }
    this.#hash(line)
  }

  /** What is before an opening has no seal, or it would not be at hand. */
  #accountFor({ set_aside }: Opening): void {
    const { lines, bytes, hash } = this.rest
    if (bytes === 0 && set_aside === null) return
    const at = Math.max(this.#line - lines, 1)
    if (set_aside !== null && set_aside.bytes === bytes && set_aside.hash === hash) {
      this.#watcher.setAside?.(at, lines, bytes)
    } else if (bytes > 0) {
      this.#watcher.problem(at, 'unsealed', `${lines} lines (${bytes} bytes) that no seal covers`)
    } else {
      this.#watcher.problem(
        this.#line,
        'missing',
        `${set_aside?.bytes} bytes that were set aside here are gone`
      )
    }
  }

  #opened(opening: Opening): void {
    const { point } = this
    const tree = BatchTree.of(
      opening.size,
      opening.tree.map(hash => Buffer.from(hash, 'base64'))
    )
    if (tree === undefined) {
      this.#break('changed', 'an opening whose tree is none')
    } else if (point === undefined) {
      const key = new NoteKey(opening.origin, opening.public_key)
      this.point = { tree, events: opening.events, epoch: opening.epoch, key }
      this.#broken = false
    } else if (this.#broken || !fits(opening, point)) {
      this.#takeUp(opening, tree, point)
    }
  }

  /** An opening elsewhere in the chain. What it claims is proven by the next seal, if that is by a key that is known. */
  #takeUp(opening: Opening, tree: BatchTree, { tree: { size }, key }: ChainPoint): void {
    const known = opening.public_key === key.publicKey && opening.origin === key.name
    if (!this.#broken) {
      const what =
        opening.size > size
          ? missing(size + 1, opening.size)
          : `the log is taken up after batch ${opening.size}, where batch ${size + 1} is due`
      this.#break(opening.size > size ? 'missing' : 'order', what)
    }
    if (!known) return
    this.#broken = false
    this.point = { tree, events: opening.events, epoch: opening.epoch, key }
  }

  #sealed(seal: Seal, leafHash: Buffer, lines: number): void {
    if (this.#broken) return
    if (this.point === undefined) {
      this.#break('start', 'a seal before any opening')
      return
    }
    const { point } = this
    const whole = seal.leaf === leafHash.toString('base64')
    const tree = point.tree.append(whole ? leafHash : Buffer.from(seal.leaf, 'base64'))
    const root = tree.root().toString('base64')
    if (!this.#isDue(seal, point, root)) return
    const text = checkpointText({ origin: point.key.name, size: seal.size, root })
    const signed = point.key.verifies(text, seal.signature)
    if (!whole) {
      const what = `the ${lines} lines of batch ${seal.size}, or its seal, were changed`
      this.#watcher.problem(Math.max(this.#line - lines, 1), 'changed', what)
    }
    if (!signed) {
      this.#watcher.problem(this.#line, 'signature', `the seal of batch ${seal.size} has a wrong signature`)
    }
    if (whole && signed) {
      this.sealed += lines
      this.#watcher.sealed?.(seal, root, point)
    } else if (!signed && !whole) this.#broken = true
    this.point = { ...point, tree, events: seal.events }
    if (seal.nextKey === undefined) return
    // What announces the next key must be what was sealed, or nobody knows it.
    this.#broken ||= !whole || !signed
    this.point = {
      ...this.point,
      epoch: point.epoch + 1,
      key: this.#broken ? point.key : new NoteKey(point.key.name, seal.nextKey)
    }
  }

  #isDue(seal: Seal, { tree: { size }, epoch, key }: ChainPoint, root: string): boolean {
    if (seal.size > size + 1) {
      this.#break('missing', missing(size + 1, seal.size - 1))
    } else if (seal.size <= size) {
      this.#break('order', `batch ${seal.size} is here, where batch ${size + 1} is due`)
    } else if (seal.epoch !== epoch || seal.keyId !== key.id) {
      const used = `key ${seal.keyId} of epoch ${seal.epoch}`
      this.#break('key', `batch ${seal.size} is sealed with ${used}; key ${key.id} of epoch ${epoch} is due`)
    } else if (seal.root !== root) {
      this.#break('changed', `batch ${seal.size} or its seal is not what was sealed`)
    } else return true
    return false
  }

  #break(kind: SealedLogProblemKind, text: string): void {
    this.#broken = true
    this.#watcher.problem(this.#line, kind, text)
  }
}

/** Whether an opening takes the chain up where it is. */
function fits(opening: Opening, { tree, epoch, key }: ChainPoint): boolean {
  return (
    opening.size === tree.size &&
    opening.epoch === epoch &&
    opening.origin === key.name &&
    opening.public_key === key.publicKey &&
    opening.tree.every((hash, i) => hash === tree.hashes[i].toString('base64'))
  )
}

function missing(first: number, last: number): string {
  return first === last ? `batch ${first} is missing` : `batches ${first} to ${last} are missing`
}
