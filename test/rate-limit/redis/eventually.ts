/** Asks until there is an answer: whoever comes back from an outage takes its time. */
import { setTimeout as sleep } from 'node:timers/promises'

export async function eventually<T>(ask: () => Promise<T>): Promise<T> {
  const end = performance.now() + 600_000
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (performance.now() > end) throw error
      await sleep(20)
    }
  }
}
