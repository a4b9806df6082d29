/** The file with the secret key of a sealed log, and with where its chain is. */
import {
  close,
  closeSync,
  constants,
  fdatasync,
  fsyncSync,
  open,
  openSync,
  readFileSync,
  write,
  writeSync
} from 'node:fs'
import { promisify } from 'node:util'
import type { Reporter } from '../http/reporter.ts'
import { isCount, isHash, isOrigin } from './sealed-line.ts'
import { BatchTree } from './sealed-tree.ts'

/** What a sealed log must know to go on after a restart. */
export interface KeyState {
  readonly origin: string
  /** The verifier key of epoch 0. */
  readonly firstKey: string
  readonly epoch: number
  /** The secret key of the epoch, 32 bytes. */
  readonly seed: Buffer
  readonly tree: BatchTree
  /** Sealed since the beginning of the log. */
  readonly events: number
  /** Where the last seal ends in the file. */
  readonly offset: number
  /** Events that were taken and not stored, and of which the log does not tell yet. */
  readonly lostEvents: number
}

/** The state is always written over itself, so that no copy of an older key remains in another block of the file. */
const fileBytes = 4_096
const { O_RDWR, O_CREAT } = constants
const openAsync = promisify(open)
const closeAsync = promisify(close)
const writeAsync = promisify(write)
const syncAsync = promisify(fdatasync)

export interface KeyFileOptions {
  path: string
  reporter: Reporter
  /** Has the log itself on disk: a key is let go of only when the seal that announces the next one is. */
  syncLog(): Promise<void>
}

/** Keeps the newest state in the file; states that come while the disk is busy replace each other. */
export class KeyFile {
  readonly #options: KeyFileOptions
  #fd: number
  #epoch: number
  #next: { readonly epoch: number; readonly bytes: Buffer } | undefined = undefined
  #writing: Promise<void> | undefined = undefined

  /** @throws Error when the file cannot be opened or written */
  constructor(options: KeyFileOptions, state: KeyState) {
    this.#options = options
    this.#epoch = state.epoch
    this.#fd = openSync(options.path, O_RDWR | O_CREAT, 0o600)
    writeSync(this.#fd, print(state), 0, fileBytes, 0)
    fsyncSync(this.#fd)
  }

  save(state: KeyState): void {
    // Printed at once: the key may be erased before its turn comes.
    this.#next?.bytes.fill(0)
    this.#next = { epoch: state.epoch, bytes: print(state) }
    this.#writing ??= this.#write()
  }

  /** While the process exits. */
  saveNow(state: KeyState): void {
    this.#next = undefined
    writeSync(this.#fd, print(state), 0, fileBytes, 0)
  }

  /** Resolves when the newest state is in the file, or could not be written. */
  async settled(): Promise<void> {
    await this.#writing
  }

  async close(): Promise<void> {
    await this.#writing
    closeSync(this.#fd)
  }

  async #write(): Promise<void> {
    for (let next = this.#next; next !== undefined; next = this.#next) {
      this.#next = undefined
      await this.#store(next.epoch, next.bytes).catch(error =>
        this.#options.reporter.report('audit_key', error)
      )
      next.bytes.fill(0)
    }
    this.#writing = undefined
  }

  async #store(epoch: number, bytes: Buffer): Promise<void> {
    if (epoch === this.#epoch) {
      await writeAsync(this.#fd, bytes, 0, fileBytes, 0)
      return
    }
    await this.#options.syncLog()
    // By its name once an epoch: a file that was deleted comes back.
    await this.#reopen()
    await writeAsync(this.#fd, bytes, 0, fileBytes, 0)
    await syncAsync(this.#fd)
    this.#epoch = epoch
  }

  async #reopen(): Promise<void> {
    const old = this.#fd
    this.#fd = await openAsync(this.#options.path, O_RDWR | O_CREAT, 0o600)
    await closeAsync(old)
  }
}

/**
 * @returns undefined when there is no such file
 * @throws Error when the file is there and holds no state; it names the path
 */
export function readKeyState(path: string): KeyState | undefined {
  let text: string
  try {
    text = readFileSync(path, 'latin1')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new Error(
      `SealedLog: key file ${JSON.stringify(path)} cannot be read: ${(error as Error).message}`,
      {
        cause: error
      }
    )
  }
  const state = parse(text)
  if (state === undefined) {
    throw new Error(`SealedLog: key file ${JSON.stringify(path)} is damaged, or no key file`)
  }
  return state
}

function print({ origin, firstKey, epoch, seed, tree, events, offset, lostEvents }: KeyState): Buffer {
  const text = JSON.stringify({
    origin,
    first_key: firstKey,
    epoch,
    seed: seed.toString('base64'),
    size: tree.size,
    tree: tree.hashes.map(hash => hash.toString('base64')),
    events,
    offset,
    lost_events: lostEvents
  })
  return Buffer.from(`${text.padEnd(fileBytes - 1)}\n`, 'latin1')
}

function parse(text: string): KeyState | undefined {
  try {
    const { origin, first_key, epoch, seed, size, tree, events, offset, lost_events } = JSON.parse(text)
    const whole =
      isOrigin(origin) &&
      typeof first_key === 'string' &&
      [epoch, size, events, offset, lost_events].every(isCount) &&
      isHash(seed) &&
      Array.isArray(tree) &&
      tree.every(isHash)
    const hashes = whole && BatchTree.of(size, tree.map(bytesOf))
    if (!hashes) return undefined
    return {
      origin,
      firstKey: first_key,
      epoch,
      seed: bytesOf(seed),
      tree: hashes,
      events,
      offset,
      lostEvents: lost_events
    }
  } catch {
    return undefined
  }
}

function bytesOf(base64: string): Buffer {
  return Buffer.from(base64, 'base64')
}
