/** What the key file of a sealed log says. */
import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'

export function keyState(path: string): Record<string, unknown> {
  return JSON.parse(readFileSync(`${path}.key`, 'utf8'))
}

/** The same when it knows of all that is sealed: it is written a moment after the log itself. */
export async function settledKeyState(path: string): Promise<Record<string, unknown>> {
  for (;;) {
    try {
      const state = keyState(path)
      if (state['offset'] === statSync(path).size) return state
    } catch (error) {
      // Read in the middle of a write.
      assert.ok(error instanceof SyntaxError, String(error))
    }
    await setImmediate()
  }
}
