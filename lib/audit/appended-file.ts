/** A file that batches of lines are appended to, each whole and one after the other, sealed if somebody seals them. */
import {
  close,
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  openSync,
  readSync,
  write,
  writeSync
} from 'node:fs'
import { promisify } from 'node:util'

/** Seals batches, one after the other: the next when the one before is written. */
export interface BatchSealer {
  /**
   * @param lines valid during the call
   * @returns the bytes to write; asked again as long as none of them could be. What it throws keeps the lines waiting.
   */
  seal(lines: Buffer, count: number): Buffer
  /** What `seal` gave last will not be written further; these bytes of it stay at the end of a file that was moved away. */
  abandon(written: Buffer): void
  /** All of what `seal` gave last is written; `exiting` when nothing asynchronous will run any more. */
  sealed(exiting: boolean): void
  /** The size of the file when that is written. */
  readonly sizeWhenSealed: number
}

const newline = 0x0a
/** ms that an exiting process waits for a write in flight. */
const landMs = 5_000
const syncAsync = promisify(fdatasync)

/** @throws Error when the file cannot be opened for appending; it names the path and the cause */
export class AppendedFile {
  readonly #path: string
  readonly #sealer: BatchSealer | undefined
  #fd: number
  #oldFds: number[] = []
  /** The batch: where it goes, and how much of it is there. */
  #batch: Buffer = Buffer.alloc(0)
  #batchFd: number
  #written = 0
  #isWriting = false

  constructor(path: string, sealer: BatchSealer | undefined) {
    this.#path = path
    this.#sealer = sealer
    this.#fd = openForAppending(path)
    this.#batchFd = this.#fd
  }

  /** False also for a file that may be appended to but not read: a blank line does no harm. */
  get endsInNewline(): boolean {
    return endsInNewline(this.#path)
  }

  /**
   * Settles what is written for a batch, and to which file, unless a part of it is in this file already. What has gone to the
   * file before `reopen` only in part goes to the new one whole.
   * @returns whether it was settled now
   * @throws what the sealer throws
   */
  begin(lines: Buffer, count: number): boolean {
    if (this.#written > 0 && this.#batchFd === this.#fd) return false
    if (this.#written > 0) this.#sealer?.abandon(this.#batch.subarray(0, this.#written))
    this.#written = 0
    this.#batch = this.#sealer === undefined ? lines : this.#sealer.seal(lines, count)
    this.#batchFd = this.#fd
    return true
  }

  /** Writes what it can of the batch. `done` learns whether all of it is written. */
  write(done: (error: Error | null, isWhole: boolean) => void): void {
    const { length } = this.#batch
    this.#isWriting = true
    write(this.#batchFd, this.#batch, this.#written, length - this.#written, null, (error, bytesWritten) => {
      this.#isWriting = false
      this.#written += bytesWritten
      const isWhole = error === null && this.#written === length
      if (isWhole) this.#end(false)
      this.#closeOldFiles()
      done(error, isWhole)
    })
  }

  /** While the process exits: a write in flight is completed by its own thread, and no sealed batch may overtake it. */
  land(): void {
    if (!this.#isWriting) return
    const pause = new Int32Array(new SharedArrayBuffer(4))
    const size = this.#sealer?.sizeWhenSealed ?? 0
    for (let ms = 0; fstatSync(this.#batchFd).size < size; ms++) {
      if (ms === landMs) throw new Error('a write did not end while the process exited')
      Atomics.wait(pause, 0, 0, 1)
    }
    this.#end(true)
  }

  /** While the process exits: writes all of the batch. */
  writeNow(): void {
    while (this.#written < this.#batch.length) {
      const left = this.#batch.length - this.#written
      this.#written += writeSync(this.#batchFd, this.#batch, this.#written, left)
    }
    this.#end(true)
  }

  /** What comes next goes to a new file of the same name. */
  reopen(): void {
    const fd = openForAppending(this.#path)
    this.#oldFds.push(this.#fd)
    this.#fd = fd
    this.#closeOldFiles()
  }

  /** What is written so far survives a loss of power. */
  sync(): Promise<void> {
    return syncAsync(this.#fd)
  }

  async close(): Promise<void> {
    await new Promise<void>(resolve => close(this.#fd, () => resolve()))
  }

  #end(exiting: boolean): void {
    this.#written = 0
    this.#sealer?.sealed(exiting)
  }

  #closeOldFiles(): void {
    if (this.#isWriting) return
    for (const fd of this.#oldFds.splice(0)) closeSync(fd)
  }
}

function openForAppending(path: string): number {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o600)
  } catch (error) {
    throw new Error(
      `AuditLogger: path ${JSON.stringify(path)} cannot be opened for appending: ${(error as Error).message}`,
      {
        cause: error
      }
    )
  }
}

function endsInNewline(path: string): boolean {
  let fd: number | undefined
  try {
    fd = openSync(path, constants.O_RDONLY)
    const { size } = fstatSync(fd)
    const last = Buffer.alloc(1)
    return size === 0 || readSync(fd, last, 0, 1, size - 1) === 0 || last[0] === newline
  } catch {
    return false
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
