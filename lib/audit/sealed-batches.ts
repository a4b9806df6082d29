/** Seals batches of lines, one after the other, and opens the files that they go to. */
import type { BatchSealer } from './appended-file.ts'
import { ChainReader } from './sealed-chain.ts'
import type { SealingKey } from './sealed-key.ts'
import { printOpening, printSeal, type SetAside, sealHead } from './sealed-line.ts'
import { checkpointText, printNote } from './sealed-note.ts'
import { fileBytes, readForeign, setAsideOf } from './sealed-tail.ts'
import { type BatchTree, leafHasher } from './sealed-tree.ts'

/** Where the chain is. */
export interface SealedPoint {
  readonly key: SealingKey
  readonly tree: BatchTree
  readonly events: number
  /** Where the last seal ends in the file. */
  readonly offset: number
}

export interface BatchesOptions {
  path: string
  point: SealedPoint
  /** What the file holds without a seal. */
  setAside: SetAside | null
  lostEvents: number
  /** Events after which a seal is a checkpoint. */
  checkpointEvents: number
  /** A batch is written; with the checkpoints that it made. */
  onSealed(point: SealedPoint, checkpoints: readonly string[], exiting: boolean): void
  /** Throws when nothing may be written. */
  check(): void
}

/** What becomes true once the batch is written. */
interface Proposal {
  readonly point: SealedPoint
  readonly checkpoints: string[]
}

const newline = 0x0a
/** A larger buffer is made for one batch only. */
const maxKeptBytes = 524_288

/**
 * The next batch is worked out from the point that is written, so that a batch that could not be written leaves nothing
 * behind: it is simply sealed again, perhaps for another file.
 */
export class SealedBatches implements BatchSealer {
  readonly #options: BatchesOptions
  #point: SealedPoint
  #proposal: Proposal | undefined = undefined
  /** Undefined for a file that was not looked at yet. */
  #setAside: SetAside | null | undefined
  /** What was left at the end of the file before, where the batch is not. */
  #abandoned: SetAside | null = null
  #lostEvents: number
  #sinceCheckpoint = 0
  #buffer = Buffer.alloc(0)
  /** The next seal must be a checkpoint. */
  checkpointDue = false
  #openingDue = true
  #isAtCheckpoint = false

  constructor(options: BatchesOptions) {
    this.#options = options
    this.#point = options.point
    this.#setAside = options.setAside
    this.#lostEvents = options.lostEvents
  }

  get point(): SealedPoint {
    return this.#point
  }

  /** Whether the last seal was a checkpoint, and nothing is to be opened. */
  get isAtCheckpoint(): boolean {
    return this.#isAtCheckpoint && !this.#openingDue
  }

  get sizeWhenSealed(): number {
    return this.#proposal?.point.offset ?? 0
  }

  seal(lines: Buffer, count: number): Buffer {
    this.#options.check()
    const { checkpointEvents } = this.#options
    const { key, tree, events, offset } = this.#point
    const checkpoints: string[] = []
    const opened = this.#openingDue ? this.#open(checkpoints) : undefined
    const hasEnd = lines[0] === newline
    const rest = hasEnd ? lines.subarray(1) : lines
    const opening = opened?.line ?? ''
    const isCheckpoint = this.checkpointDue || this.#sinceCheckpoint + count >= checkpointEvents
    const next = isCheckpoint ? key.next() : key
    const head = sealHead(new Date(), {
      size: tree.size + 1,
      lines: count,
      events: events + count,
      epoch: key.epoch,
      keyId: key.verifier.id,
      nextKey: isCheckpoint ? next.verifier.publicKey : undefined
    })
    const leaf = leafHasher().update(opening).update(rest).update(head).digest()
    const grown = tree.append(leaf)
    const checkpoint = { origin: key.verifier.name, size: grown.size, root: grown.root().toString('base64') }
    const text = checkpointText(checkpoint)
    const signature = key.sign(text)
    if (isCheckpoint) checkpoints.push(printNote(text, key.verifier, signature))
    const seal = printSeal(head, leaf.toString('base64'), checkpoint, signature)
    const before = `${hasEnd || opened?.torn ? '\n' : ''}${opening}`
    const bytes = this.#together(before, rest, `${seal}\n`)
    const start = opened?.start ?? offset
    const point = { key: next, tree: grown, events: events + count, offset: start + bytes.length }
    this.#proposal = { point, checkpoints }
    return bytes
  }

  sealed(exiting: boolean): void {
    const { key, events } = this.#point
    const { point, checkpoints } = this.#proposal!
    this.#point = point
    this.#proposal = undefined
    this.#openingDue = false
    this.#abandoned = null
    this.#lostEvents = 0
    this.#sinceCheckpoint += point.events - events
    this.#isAtCheckpoint = point.key !== key
    if (this.#isAtCheckpoint) {
      key.erase()
      this.checkpointDue = false
      this.#sinceCheckpoint = 0
    }
    this.#options.onSealed(point, checkpoints, exiting)
  }

  abandon(written: Buffer): void {
    const reader = new ChainReader({ problem() {} })
    reader.push(written)
    reader.endFile()
    this.#proposal = undefined
    this.#abandoned = setAsideOf(reader)
  }

  /** The next batch goes to a file that was put in the place of the present one. */
  openFile(): void {
    this.#openingDue = true
    this.#setAside = undefined
  }

  /** The first line of a file, and where it comes. */
  #open(checkpoints: string[]): { line: string; start: number; torn: boolean } {
    const { path } = this.#options
    const start = fileBytes(path)
    if (this.#setAside !== undefined || start === 0 || start === this.#point.offset) {
      return { line: this.#opening(this.#setAside ?? this.#abandoned, checkpoints), start, torn: false }
    }
    const { setAside, torn } = readForeign(path)
    return { line: this.#opening(setAside, checkpoints), start, torn }
  }

  #opening(setAside: SetAside | null, checkpoints: string[]): string {
    const { key, tree, events } = this.#point
    const { name, publicKey } = key.verifier
    if (tree.size > 0) {
      // With this one the file can be verified when those before it are gone.
      const text = checkpointText({ origin: name, size: tree.size, root: tree.root().toString('base64') })
      checkpoints.push(printNote(text, key.verifier, key.sign(text)))
    }
    const line = printOpening({
      timestamp: new Date().toISOString(),
      origin: name,
      size: tree.size,
      events,
      epoch: key.epoch,
      public_key: publicKey,
      tree: tree.hashes.map(hash => hash.toString('base64')),
      set_aside: setAside,
      lost_events: this.#lostEvents
    })
    return `${line}\n`
  }

  /** In one buffer, which is free again when the next batch is sealed. */
  #together(before: string, lines: Buffer, after: string): Buffer {
    const length = before.length + lines.length + after.length
    let buffer = this.#buffer
    if (buffer.length < length) buffer = Buffer.allocUnsafeSlow(length + 1_024)
    if (length <= maxKeptBytes) this.#buffer = buffer
    const bytes = buffer.subarray(0, length)
    bytes.write(before, 0, 'latin1')
    lines.copy(bytes, before.length)
    bytes.write(after, before.length + lines.length, 'latin1')
    return bytes
  }
}
