/** Starts a suite in a process of its own: heap, compiled code and buffers of another would weigh on what it measures. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { quiet } from './bench-server.ts'
import type { Report } from './result.ts'

const program = fileURLToPath(new URL('run-suite.ts', import.meta.url))

/**
 * @param onPiece told of each thing measured, as it comes
 * @returns how the process failed, if it did
 */
export async function runInOwnProcess(
  name: string,
  quick: boolean,
  onPiece: (piece: Report) => void
): Promise<string | undefined> {
  const child = fork(program, [name, ...(quick ? ['--quick'] : [])], {
    execArgv: ['--expose-gc', '--import', 'tsx', ...quiet],
    // JSON has no NaN.
    serialization: 'advanced'
  })
  child.on('message', message => onPiece(message as Report))
  // Unlike at `exit`, every message has come by then.
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  if (code === 0) return undefined
  return signal === null ? `exit code ${code}` : `killed by ${signal}`
}
