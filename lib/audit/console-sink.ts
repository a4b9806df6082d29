/** Prints audit lines on standard output. */
import type { Reporter } from '../http/reporter.ts'
import type { AuditSink } from './audit-logger.ts'

/** Bytes that standard output may be behind. */
const maxBehind = 1_048_576

/** A reader that goes away, as at the other end of a pipe, costs lines, and never the process. */
export class ConsoleSink implements AuditSink {
  readonly #reporter: Reporter
  #lost = 0

  constructor(reporter: Reporter) {
    this.#reporter = reporter
  }

  get stats(): { pending: number; lost: number } {
    return { pending: 0, lost: this.#lost }
  }

  write(line: string): boolean {
    const { stdout } = process
    if (!stdout.writable || stdout.writableLength > maxBehind) return false
    stdout.write(`${line}\n`, this.#onWritten)
    return true
  }

  flush(): Promise<void> {
    return new Promise((resolve, reject) => {
      process.stdout.write('', error => {
        if (isError(error)) reject(expected(error))
        else resolve()
      })
    })
  }

  /** Standard output is not ours to close. */
  close(): Promise<void> {
    return this.flush()
  }

  readonly #onWritten = (error?: Error | null): void => {
    if (!isError(error)) return
    this.#lost++
    this.#reporter.report('audit_lost', expected(error))
  }
}

function isError(error: Error | null | undefined): error is Error {
  return error !== null && error !== undefined
}

/**
 * The stream says the same once more, as an event, which ends a process that does not listen to it. Other listeners are no
 * help: each thread's output is piped to this stream, and what pipes raises the error anew when nobody else listens.
 */
function expected(error: Error): Error {
  const { stdout } = process
  if (!stdout.listeners('error').includes(ignore)) stdout.once('error', ignore)
  return error
}

function ignore(): void {}
