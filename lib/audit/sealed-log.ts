/** An audit log that shows when it was tampered with: batches of lines, each sealed by a signature over all before it. */
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { basename } from 'node:path'
import { defaultReporter, type Reporter } from '../http/reporter.ts'
import { AuditFile } from './audit-file.ts'
import type { LinePlace } from './line-chunk.ts'
import type { PrintedTime } from './printed-time.ts'
import { declareRepeating, type RepeatingSink } from './repeated-lines.ts'
import { SealedBatches, type SealedPoint } from './sealed-batches.ts'
import { SealingKey } from './sealed-key.ts'
import { KeyFile, type KeyState, readKeyState } from './sealed-key-file.ts'
import { isOrigin, reservedStart } from './sealed-line.ts'
import { Lock } from './sealed-lock.ts'
import { isSealed, readTail, type Tail } from './sealed-tail.ts'
import { BatchTree } from './sealed-tree.ts'

export interface SealedLogOptions {
  /** Appended to; created with mode 0600 when it is not there. Its folder must be. One process at a time. */
  path: string
  /** The secret key and the state of the chain, made at first use with mode 0600. Default: `path` and `.key`. */
  keyPath?: string
  /** The log's name in checkpoints: ASCII without spaces and `+`. Default: the host's name, `/`, the file's name. */
  origin?: string
  /** Receives checkpoints (C2SP signed notes), to be kept where this host cannot change them. What it throws is counted. */
  onCheckpoint?: (checkpoint: string) => unknown
  /** ms after a seal at the latest until there is a checkpoint and a new key. Default 60 000. */
  checkpointMs?: number
  /** Events at the latest until then. Default 100 000. */
  checkpointEvents?: number
  /** ms that a line waits at most before it is sealed and written. Default 50. */
  flushIntervalMs?: number
  /** Memory for lines that the disk does not take; further lines are dropped. Default 8 MiB, at least 512 KiB. */
  maxPendingBytes?: number
  reporter?: Reporter
}

const callbackFailed = 'audit_checkpoint'

/**
 * A sink for an `AuditLogger` that seals its lines: `new AuditLogger({ sink: new SealedLog({ path }) })`. `docs/sealed-log.md`
 * has the format, and what it protects from; `verifySealedLog` verifies. Keep `publicKey` away from this host.
 *
 * @throws TypeError when an option is wrong
 * @throws Error when a file cannot be opened, the key of a sealed log is gone, or another process has the log open
 */
export class SealedLog implements RepeatingSink {
  /** The verifier key of the log's beginning, `name+id+base64` (C2SP signed note). */
  readonly publicKey: string
  readonly #onCheckpoint: ((checkpoint: string) => unknown) | undefined
  readonly #checkpointMs: number
  readonly #reporter: Reporter
  readonly #locks: Lock[] = []
  readonly #keyFile: KeyFile
  readonly #batches: SealedBatches
  readonly #file: AuditFile
  #timer: NodeJS.Timeout | undefined = undefined
  #lastCheckpoint = ''
  #state: KeyState
  #closing: Promise<void> | undefined = undefined

  constructor(options: SealedLogOptions) {
    const { path, keyPath = `${path}.key`, reporter = defaultReporter } = options
    const { onCheckpoint, checkpointMs = 60_000, checkpointEvents = 100_000 } = options
    checkOptions(options)
    this.#onCheckpoint = onCheckpoint
    this.#checkpointMs = checkpointMs
    this.#reporter = reporter
    let file: AuditFile | undefined
    try {
      this.#locks.push(new Lock(`${path}.lock`, `SealedLog: path ${JSON.stringify(path)}`, reporter))
      this.#locks.push(new Lock(`${keyPath}.lock`, `SealedLog: keyPath ${JSON.stringify(keyPath)}`, reporter))
      const kept = stateOf(path, keyPath, options.origin)
      const { key, tail } = lookAt(path, kept, reporter)
      const { tree, events } = tail.point
      this.publicKey = kept.firstKey
      this.#state = { ...kept, epoch: key.epoch, seed: key.seed, tree, events }
      this.#batches = new SealedBatches({
        path,
        point: { key, tree, events, offset: tail.bytes },
        setAside: tail.setAside,
        lostEvents: kept.lostEvents,
        checkpointEvents,
        onSealed: (point, checkpoints, exiting) => this.#sealed(point, checkpoints, exiting),
        check: () => this.#checkLocks()
      })
      file = new AuditFile({ ...fileOptions(options), path, reporter, sealer: this.#batches })
      this.#file = file
      this.#keyFile = new KeyFile({ path: keyPath, reporter, syncLog: () => this.#file.sync() }, this.#state)
    } catch (error) {
      void file?.close()
      this.#unlock()
      throw error
    }
    this.#file.writeBatch()
    if (new.target === SealedLog) declareRepeating(this)
  }

  /** `written` and `pending` events, events `lost` after they were taken, `batches` sealed and the key's `epoch`. */
  get stats(): { written: number; pending: number; lost: number; batches: number; epoch: number } {
    const { written, pending, lost } = this.#file.stats
    const { tree, key } = this.#batches.point
    return { written, pending, lost, batches: tree.size, epoch: key.epoch }
  }

  /** @returns false also for what would be read as a seal, or as two lines */
  write(line: string): boolean {
    if (this.#closing !== undefined || line.startsWith(reservedStart) || line.includes('\n')) return false
    return this.#file.write(line)
  }

  /** @internal */
  get filling(): number {
    return this.#file.filling
  }

  /** @internal */
  locate(last: LinePlace): void {
    this.#file.locate(last)
  }

  /** @internal What was taken once may be taken again. */
  repeat(place: LinePlace, time: PrintedTime, durationMicros: number): boolean {
    return this.#closing === undefined && this.#file.repeat(place, time, durationMicros)
  }

  flush(): Promise<void> {
    return this.#file.flush()
  }

  /** Goes on in a new file of the same name, after the old one was moved away. The chain goes on with it. */
  async reopen(): Promise<void> {
    if (this.#closing !== undefined) throw new Error('SealedLog: reopen after close')
    this.#batches.openFile()
    await this.#file.reopen()
    this.#file.writeBatch()
  }

  /** Seals what there is with the present key, goes over to the next one, and gives the checkpoint (a C2SP signed note). */
  async checkpoint(): Promise<string> {
    if (this.#closing !== undefined) throw new Error('SealedLog: checkpoint after close')
    await this.#makeCheckpoint()
    return this.#lastCheckpoint
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer)
    const isIdle = this.#batches.isAtCheckpoint && this.#file.stats.pending === 0
    if (!isIdle) {
      await this.#makeCheckpoint().catch(error => this.#reporter.report('audit_write', error))
    }
    await this.#keyFile.settled()
    await this.#file.close()
    const { lost } = this.#file.stats
    if (lost > 0) this.#keyFile.save({ ...this.#state, lostEvents: this.#state.lostEvents + lost })
    await this.#keyFile.close()
    this.#unlock()
  }

  async #makeCheckpoint(): Promise<void> {
    this.#batches.checkpointDue = true
    this.#file.writeBatch()
    while (this.#batches.checkpointDue) await this.#file.flush()
  }

  #sealed(point: SealedPoint, checkpoints: readonly string[], exiting: boolean): void {
    const { key, tree, events, offset } = point
    const evolved = key.epoch !== this.#state.epoch
    this.#state = { ...this.#state, epoch: key.epoch, seed: key.seed, tree, events, offset, lostEvents: 0 }
    if (exiting) this.#keyFile.saveNow(this.#state)
    else this.#keyFile.save(this.#state)
    if (evolved) {
      clearTimeout(this.#timer)
      this.#timer = undefined
    } else if (!exiting) this.#arm()
    for (const checkpoint of checkpoints) this.#tell(checkpoint)
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#closing !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#batches.checkpointDue = true
      this.#file.writeBatch()
    }, this.#checkpointMs).unref()
  }

  #tell(checkpoint: string): void {
    this.#lastCheckpoint = checkpoint
    try {
      const returned = this.#onCheckpoint?.(checkpoint)
      Promise.resolve(returned).catch(error => this.#reporter.report(callbackFailed, error))
    } catch (error) {
      this.#reporter.report(callbackFailed, error)
    }
  }

  #checkLocks(): void {
    if (!this.#locks.every(lock => lock.isHeld))
      throw new Error('another process has taken the sealed log over')
  }

  #unlock(): void {
    for (const lock of this.#locks) lock.release()
  }
}

/** What the key file says, or the state of a new log. */
function stateOf(path: string, keyPath: string, origin: string | undefined): KeyState {
  const kept = readKeyState(keyPath)
  if (kept === undefined) {
    if (isSealed(path)) {
      throw new Error(
        `SealedLog: ${JSON.stringify(path)} is sealed, and its key ${JSON.stringify(keyPath)} is gone; move the log away to begin a new one`
      )
    }
    const name = origin ?? `${hostname()}/${basename(path)}`.replace(/[^!-*,-~]/g, '-')
    const seed = randomBytes(32)
    const firstKey = String(new SealingKey(name, 0, seed).verifier)
    return {
      origin: name,
      firstKey,
      epoch: 0,
      seed,
      tree: BatchTree.empty,
      events: 0,
      offset: 0,
      lostEvents: 0
    }
  }
  if (origin !== undefined && origin !== kept.origin) {
    throw new TypeError(`SealedLog: origin of this log is ${kept.origin}, got ${origin}`)
  }
  return kept
}

/** Where the chain goes on, and with which key. */
function lookAt(path: string, kept: KeyState, reporter: Reporter): { key: SealingKey; tail: Tail } {
  const key = new SealingKey(kept.origin, kept.epoch, kept.seed)
  const { tree, events, epoch, offset } = kept
  const tail = readTail(path, { tree, events, epoch, key: key.verifier }, offset)
  if (tail.damage !== undefined) {
    reporter.report('audit_tampered', new Error(`${path} is not what was sealed: ${tail.damage}`))
  }
  const reached = key.at(tail.point.epoch)
  if (reached.verifier.publicKey !== tail.point.key.publicKey) {
    throw new Error(`SealedLog: ${JSON.stringify(path)} goes on under a key that its key file does not make`)
  }
  return { key: reached, tail }
}

function fileOptions({ flushIntervalMs, maxPendingBytes }: SealedLogOptions): {
  flushIntervalMs?: number
  maxPendingBytes?: number
} {
  return {
    ...(flushIntervalMs !== undefined && { flushIntervalMs }),
    ...(maxPendingBytes !== undefined && { maxPendingBytes })
  }
}

function checkOptions({ path, keyPath, origin, onCheckpoint, ...numbers }: SealedLogOptions): void {
  for (const [name, value] of [
    ['path', path],
    ['keyPath', keyPath ?? path]
  ]) {
    if (typeof value !== 'string' || value === '') {
      throw new TypeError(`SealedLog: ${name} must be a non-empty string, got ${JSON.stringify(value)}`)
    }
  }
  if (keyPath === path)
    throw new TypeError(`SealedLog: keyPath must be another file than path, got ${keyPath}`)
  if (origin !== undefined && !isOrigin(origin)) {
    throw new TypeError(`SealedLog: origin must be ASCII without spaces and +, got ${JSON.stringify(origin)}`)
  }
  if (onCheckpoint !== undefined && typeof onCheckpoint !== 'function') {
    throw new TypeError(`SealedLog: onCheckpoint must be a function, got ${String(onCheckpoint)}`)
  }
  for (const name of ['checkpointMs', 'checkpointEvents'] as const) {
    const value = numbers[name] ?? 1
    if (!Number.isInteger(value) || value < 1 || value > 2 ** 31 - 1) {
      throw new TypeError(`SealedLog: ${name} must be a positive integer, got ${String(value)}`)
    }
  }
}
