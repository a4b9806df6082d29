/** Keeps a second process away from a file that only one may write to. */
import { closeSync, openSync, readFileSync, statSync, unlinkSync, utimesSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import type { Reporter } from '../http/reporter.ts'

/** A lock that nobody touched for so long is left over, whatever it says. */
const staleMs = 30_000
const touchMs = 5_000
/** Those of this process, by path. */
const held = new Map<string, Lock>()

/**
 * A lock file that says who holds it. It is taken over when its process is gone, or, where that cannot be seen (another host
 * or container), when it was not touched for 30 s.
 */
export class Lock {
  readonly #path: string
  readonly #text: string
  readonly #reporter: Reporter
  readonly #timer: NodeJS.Timeout
  /** False once somebody else has taken the lock over, after this process slept for long. */
  isHeld = true

  /** @throws Error when another process, or another part of this one, holds the lock; it says which */
  constructor(path: string, what: string, reporter: Reporter) {
    this.#path = path
    this.#reporter = reporter
    this.#text = `${JSON.stringify({ pid: process.pid, host: hostname(), since: new Date() })}\n`
    if (!create(path, this.#text)) {
      const holder = liveHolder(path)
      if (holder !== undefined) throw new Error(`${what} is in use by ${holder} (lock file ${path})`)
      remove(path)
      if (!create(path, this.#text))
        throw new Error(`${what} is in use by another process (lock file ${path})`)
    }
    held.set(path, this)
    this.#timer = setInterval(() => this.#touch(), touchMs).unref()
  }

  release(): void {
    clearInterval(this.#timer)
    if (held.get(this.#path) === this) held.delete(this.#path)
    if (this.isHeld && read(this.#path) === this.#text) remove(this.#path)
    this.isHeld = false
  }

  #touch(): void {
    try {
      const text = read(this.#path)
      if (text === this.#text) utimesSync(this.#path, new Date(), new Date())
      // Gone without a new holder, as after a careless clean-up: made again.
      else if (text !== undefined || !create(this.#path, this.#text)) this.isHeld = false
    } catch (error) {
      this.#reporter.report('audit_lock', error)
    }
  }
}

function create(path: string, text: string): boolean {
  let fd: number
  try {
    fd = openSync(path, 'wx', 0o600)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
  try {
    writeSync(fd, text)
  } finally {
    closeSync(fd)
  }
  return true
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** @returns undefined when the lock is left over */
function liveHolder(path: string): string | undefined {
  if (held.has(path)) return 'this process'
  let touchedAt: number
  try {
    touchedAt = statSync(path).mtimeMs
  } catch {
    return undefined
  }
  if (Date.now() - touchedAt > staleMs) return undefined
  const { pid, host } = holderOf(read(path))
  if (host !== hostname() || pid === undefined) return `process ${pid} on ${host}`
  // Its own number in another container's life, or a process that is gone.
  return pid === process.pid || !isAlive(pid) ? undefined : `process ${pid}`
}

function holderOf(text: string | undefined): { pid?: number; host?: string } {
  try {
    return JSON.parse(text ?? '')
  } catch {
    return {}
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
