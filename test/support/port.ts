/** Ports for servers that cannot be asked which one they got. */
import { randomInt } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const marks: string[] = []

process.once('exit', () => {
  for (const mark of marks) rmSync(mark, { recursive: true, force: true })
})

/**
 * Systems hand out ports from 32 768, and some from 16 000, for `listen(0)` and for outgoing connections: one below stays free
 * between two starts of a server. No other test gets it while this process lives. It may be taken all the same; whoever starts
 * the server looks.
 */
export function portBelowTheEphemeral(): number {
  for (;;) {
    const port = randomInt(11_000, 16_000)
    if (isOurs(port)) return port
  }
}

/** Whether nobody has left his mark on the port. A process that is killed leaves its own behind: there are enough others. */
function isOurs(port: number): boolean {
  const mark = join(tmpdir(), `ostiary-port-${port}`)
  try {
    mkdirSync(mark)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
  marks.push(mark)
  return true
}
