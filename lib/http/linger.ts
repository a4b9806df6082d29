/** Closing a connection without losing the last answer: unread input at the time of a close resets it. */
import type { Socket } from 'node:net'

/** How much of what a client still sends is read, and for how long, after it was refused. */
export const lingerBytes = 262_144
export const lingerMs = 1_000

/** Ends a raw socket, reads on for a bounded while so that the client can take the answer, and destroys it. */
export function closeGently(socket: Socket): void {
  if (socket.destroyed) return
  let left = lingerBytes
  const timer = setTimeout(() => socket.destroy(), lingerMs).unref()
  socket.on('close', () => clearTimeout(timer))
  socket.on('end', () => socket.destroySoon())
  socket.on('data', (chunk: Buffer) => {
    left -= chunk.length
    if (left <= 0) socket.destroy()
  })
  socket.end()
}
