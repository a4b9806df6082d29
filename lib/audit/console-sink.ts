/** Prints audit lines on standard output. */
import type { AuditSink } from './audit-logger.ts'

/** Bytes that standard output may be behind. */
const maxBehind = 1_048_576

export class ConsoleSink implements AuditSink {
  write(line: string): boolean {
    if (process.stdout.writableLength > maxBehind) return false
    process.stdout.write(`${line}\n`)
    return true
  }

  flush(): Promise<void> {
    return new Promise(resolve => process.stdout.write('', () => resolve()))
  }

  /** Standard output is not ours to close. */
  close(): Promise<void> {
    return this.flush()
  }
}
