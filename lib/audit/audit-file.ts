/** Appends audit lines to a file, in batches and off the request path. */
import { defaultReporter, type Reporter } from '../http/reporter.ts'
import { checkMs, checkText, wrongOption } from '../options.ts'
import { AppendedFile, type BatchSealer } from './appended-file.ts'
import { LineChunk, type LinePlace } from './line-chunk.ts'
import type { PrintedTime } from './printed-time.ts'
import { declareRepeating, type RepeatingSink } from './repeated-lines.ts'

export interface AuditFileOptions {
  /** Appended to; created with mode 0600 when it is not there. Its folder must be. */
  path: string
  /** ms that a line waits at most before it is written. Default 50. */
  flushIntervalMs?: number
  /** Memory for lines that the disk does not take; further lines are dropped. Default 8 MiB. */
  maxPendingBytes?: number
  reporter?: Reporter
  /** Turns each batch of lines into what is written for it. */
  sealer?: BatchSealer
}

interface Waiter {
  readonly untilLine: number
  resolve(): void
  reject(error: unknown): void
}

/** A write, and above all a seal, takes its time whatever there is to write; where memory is scarce, chunks are smaller. */
const chunkBytes = 262_144
const leastChunkBytes = 65_536
/** ms between attempts while the disk refuses. */
const retryMs = 1_000

/**
 * A file of lines. Each write carries whole lines to a file opened for appending, so several processes may share one.
 * @throws TypeError when an option is wrong
 * @throws Error when the file cannot be opened for appending; it names the path and the cause
 */
export class AuditFile implements RepeatingSink {
  readonly #target: AppendedFile
  readonly #chunkBytes: number
  readonly #flushIntervalMs: number
  readonly #maxPendingBytes: number
  readonly #reporter: Reporter
  readonly #full: LineChunk[] = []
  #active: LineChunk
  #spare: LineChunk | undefined
  #allocated: number
  #timer: NodeJS.Timeout | undefined
  #inFlight: LineChunk | undefined
  #refusing = false
  /** Whether the sealer has something to say even if no line waits. */
  #owed = false
  #waiting: Waiter[] = []
  #accepted = 0
  #stored = 0
  #lost = 0
  #closing: Promise<void> | undefined

  constructor(options: AuditFileOptions) {
    const {
      path,
      flushIntervalMs = 50,
      maxPendingBytes = 8_388_608,
      reporter = defaultReporter,
      sealer
    } = options
    checkText('AuditLogger', 'path', path)
    positive('flushIntervalMs', flushIntervalMs, 1)
    checkMs('AuditLogger', 'flushIntervalMs', flushIntervalMs)
    const least = sealer === undefined ? leastChunkBytes : chunkBytes
    positive('maxPendingBytes', maxPendingBytes, 2 * least)
    this.#chunkBytes = Math.max(least, Math.min(chunkBytes, Math.floor(maxPendingBytes / 8)))
    this.#active = new LineChunk(this.#chunkBytes)
    this.#allocated = this.#chunkBytes
    this.#flushIntervalMs = flushIntervalMs
    this.#maxPendingBytes = maxPendingBytes
    this.#reporter = reporter
    this.#target = new AppendedFile(path, sealer)
    // A crash may have left half a line.
    if (!this.#target.endsInNewline) this.#active.used = this.#active.bytes.latin1Write('\n', 0)
    flushAtExit(this)
    declareRepeating(this)
  }

  /** `written` and `pending` lines, lines `lost` after they were accepted, and the `bytes` of memory in use. */
  get stats(): { written: number; pending: number; lost: number; bytes: number } {
    return {
      written: this.#stored,
      pending: this.#accepted - this.#stored - this.#lost,
      lost: this.#lost,
      bytes: this.#allocated
    }
  }

  write(line: string): boolean {
    if (this.#closing !== undefined) return false
    const length = line.length + 1
    // Who is told of a failure meanwhile may log it, into the room that was made.
    while (!this.#active.fits(length)) if (!this.#makeRoom(length)) return false
    this.#active.append(line)
    this.#taken()
    return true
  }

  /** @internal */
  get filling(): number {
    return this.#active.filling
  }

  /** @internal */
  locate(last: LinePlace): void {
    this.#active.locate(last)
  }

  /** @internal */
  repeat(place: LinePlace, time: PrintedTime, durationMicros: number): boolean {
    if (this.#closing !== undefined || !this.#active.repeat(place, time, durationMicros)) return false
    this.#taken()
    return true
  }

  flush(): Promise<void> {
    return new Promise((resolve, reject) => {
      const idle = this.#full.length === 0 && !this.#owed
      if (idle && this.#stored + this.#lost === this.#accepted) return resolve()
      this.#waiting.push({ untilLine: this.#accepted, resolve, reject })
      this.#drain()
    })
  }

  async reopen(): Promise<void> {
    if (this.#closing !== undefined) throw new Error('AuditLogger: reopen after close')
    this.#target.reopen()
  }

  /** Writes a batch soon, even one without lines. */
  writeBatch(): void {
    this.#owed = true
    this.#drain()
  }

  /** What is written so far survives a loss of power. */
  sync(): Promise<void> {
    return this.#target.sync()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** @internal Writes what is left while the process exits and nothing asynchronous can run any more. */
  finish(): void {
    const inFlight = this.#inFlight
    let left = this.stats.pending - (inFlight?.lines ?? 0)
    try {
      this.#target.land()
      for (const chunk of [...this.#full, this.#active]) {
        if (chunk === inFlight || (chunk.lines === 0 && chunk !== this.#full[0])) continue
        this.#target.begin(chunk.bytes.subarray(0, chunk.used), chunk.lines)
        this.#target.writeNow()
        left -= chunk.lines
      }
    } catch (error) {
      if (left > 0) this.#reporter.report('audit_lost', error, left)
    }
  }

  async #close(): Promise<void> {
    await this.flush().catch(error => {
      this.#lost = this.#accepted - this.#stored
      if (this.#lost > 0) this.#reporter.report('audit_lost', error, this.#lost)
    })
    clearTimeout(this.#timer)
    openFiles.delete(this)
    if (openFiles.size === 0) process.off('exit', finishAll)
    await this.#target.close()
  }

  /** A chunk with room for a line, if memory allows. */
  #makeRoom(length: number): boolean {
    const bytes = Math.max(length, this.#chunkBytes)
    const reusable = bytes === this.#chunkBytes ? this.#spare : undefined
    if (reusable === undefined && this.#allocated + bytes > this.#maxPendingBytes) return false
    if (this.#active.used > 0) this.#full.push(this.#active)
    else this.#allocated -= this.#active.bytes.length
    if (reusable === undefined) this.#allocated += bytes
    else this.#spare = undefined
    this.#active = reusable ?? new LineChunk(bytes)
    // While the disk refuses, the timer alone tries again.
    if (!this.#refusing) this.#drain()
    return true
  }

  #taken(): void {
    this.#accepted++
    if (this.#timer === undefined) this.#arm(this.#flushIntervalMs)
  }

  #arm(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#drain()
    }, ms).unref()
  }

  /** Writes the oldest chunk, and so on until nothing is left; one write at a time keeps the lines in order. */
  #drain(): void {
    if (this.#inFlight !== undefined) return
    if (this.#full.length === 0) {
      if (this.#active.used === 0 && !this.#owed) return
      this.#full.push(this.#active)
      this.#active = this.#takeSpare()
    }
    const chunk = this.#full[0]
    try {
      if (this.#target.begin(chunk.bytes.subarray(0, chunk.used), chunk.lines)) this.#owed = false
    } catch (error) {
      this.#refused(error)
      return
    }
    this.#inFlight = chunk
    this.#target.write((error, isWhole) => {
      this.#inFlight = undefined
      if (error === null) this.#advance(chunk, isWhole)
      else this.#refused(error)
    })
  }

  #advance(chunk: LineChunk, isWhole: boolean): void {
    this.#refusing = false
    if (isWhole) {
      this.#full.shift()
      this.#stored += chunk.lines
      this.#recycle(chunk)
      while (this.#waiting.length > 0 && this.#waiting[0].untilLine <= this.#stored) {
        this.#waiting.shift()!.resolve()
      }
    }
    // What came in meanwhile waits for its timer, unless somebody waits for it.
    if (this.#full.length > 0 || this.#waiting.length > 0 || this.#owed) this.#drain()
  }

  #refused(error: unknown): void {
    this.#refusing = true
    this.#reporter.report('audit_write', error)
    const waiting = this.#waiting
    this.#waiting = []
    for (const waiter of waiting) waiter.reject(error)
    if (this.#closing === undefined && this.#timer === undefined) this.#arm(retryMs)
  }

  #takeSpare(): LineChunk {
    const chunk = this.#spare
    this.#spare = undefined
    if (chunk !== undefined) return chunk
    this.#allocated += this.#chunkBytes
    return new LineChunk(this.#chunkBytes)
  }

  #recycle(chunk: LineChunk): void {
    if (this.#spare !== undefined || chunk.bytes.length !== this.#chunkBytes) {
      this.#allocated -= chunk.bytes.length
      return
    }
    chunk.empty()
    this.#spare = chunk
  }
}

function positive(option: string, value: unknown, least: number): void {
  if (!Number.isInteger(value) || (value as number) < least) {
    throw wrongOption('AuditLogger', option, `an integer of at least ${least}`, value)
  }
}

const openFiles = new Set<AuditFile>()

/** One listener for however many files. */
function flushAtExit(file: AuditFile): void {
  if (openFiles.size === 0) process.on('exit', finishAll)
  openFiles.add(file)
}

function finishAll(): void {
  for (const file of openFiles) file.finish()
}
