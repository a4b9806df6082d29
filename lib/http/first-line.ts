/** The status in what is written to a bare socket: upgrades, and answers to what is no request. */
import type { Socket } from 'node:net'

type Write = (...args: unknown[]) => unknown

/** Calls `tell` once, after the first write to the socket, with the status in it; 0 when it is no HTTP answer. */
export function watchFirstLine(socket: Socket, tell: (status: number) => void): void {
  const { write, end } = socket
  let told = false
  const first = (method: Write): Write =>
    function (this: Socket, ...args) {
      // Put back, not deleted: an object that lost a property is slow for the rest of its life.
      if (socket.write === hookedWrite) socket.write = write
      if (socket.end === hookedEnd) socket.end = end
      const returned = method.apply(this, args)
      if (!told) {
        told = true
        tell(statusIn(args[0]))
      }
      return returned
    }
  const hookedWrite = first(write as Write) as typeof write
  const hookedEnd = first(end as Write) as typeof end
  socket.write = hookedWrite
  socket.end = hookedEnd
}

function statusIn(chunk: unknown): number {
  const start =
    typeof chunk === 'string' ? chunk : Buffer.isBuffer(chunk) ? chunk.toString('latin1', 0, 12) : ''
  return Number(/^HTTP\/1\.[01] ([1-5]\d\d)/.exec(start)?.[1] ?? 0)
}
