/** A connection without a kernel: one request at a time goes in, answers are counted, and their bytes go nowhere. */
import { Duplex } from 'node:stream'

/** Counted are beginnings: the last write of an answer may be its body, the last of its chunks, or nothing at all. */
const beginning = Buffer.from('HTTP/1.1 ', 'latin1')
const success = Buffer.from('HTTP/1.1 200 ', 'latin1')

interface Sending {
  left: number
  done: () => void
  failed: (error: Error) => void
}

export class MemorySocket extends Duplex {
  readonly remoteAddress = '127.0.0.1'
  readonly #request: Buffer
  #sending: Sending | undefined

  /** @param request the bytes of one whole request */
  constructor(request: string) {
    super()
    this.#request = Buffer.from(request, 'latin1')
  }

  /**
   * Sends requests one after the other, and lets the event loop turn once, for what writes files meanwhile. Emit the server's
   * `connection` with this socket first. Rejects when an answer is no 200.
   */
  send(count: number): Promise<void> {
    if (this.#sending !== undefined) throw new Error('the requests before are not answered yet')
    return new Promise((resolve, reject) => {
      this.#sending = { left: count, done: () => setImmediate(resolve), failed: reject }
      this.push(this.#request)
    })
  }

  setTimeout(): this {
    return this
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: string, written: () => void): void {
    written()
    this.#wrote(bytes)
  }

  override _writev(chunks: { chunk: Buffer }[], written: () => void): void {
    written()
    this.#wrote(chunks[0].chunk)
  }

  #wrote(first: Buffer): void {
    const sending = this.#sending
    if (sending === undefined || !startsWith(first, beginning)) return
    const refused = !startsWith(first, success)
    sending.left--
    if (sending.left > 0 && !refused) {
      process.nextTick(MemorySocket.#next, this)
      return
    }
    this.#sending = undefined
    if (refused) sending.failed(new Error(first.toString('latin1')))
    else sending.done()
  }

  static #next(socket: MemorySocket): void {
    socket.push(socket.#request)
  }
}

function startsWith(bytes: Buffer, start: Buffer): boolean {
  return bytes.subarray(0, start.length).equals(start)
}
