import { randomInt } from 'node:crypto'

/**
 * A port for a server that cannot be asked which one it got. Systems hand out ports from 32 768 for `listen(0)` and for outgoing
 * connections: one below stays free between two starts of a server. It may be taken all the same; whoever starts the server looks.
 */
export function portBelowTheEphemeral(): number {
  return randomInt(20_000, 30_000)
}
