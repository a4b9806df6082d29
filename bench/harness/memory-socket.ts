/** A connection without a kernel: one request at a time goes in, answers are counted, and their bytes go nowhere. */
import { Duplex } from 'node:stream'

/** What ends an answer of the benchmark's servers, chunked or not. */
const answerEnds = ['"}', '0\r\n\r\n'].map(text => Buffer.from(text, 'latin1'))

export class MemorySocket extends Duplex {
  readonly remoteAddress = '127.0.0.1'
  readonly #request: Buffer
  #left = 0
  #done: (() => void) | undefined

  /** @param request the bytes of one whole request */
  constructor(request: string) {
    super()
    this.#request = Buffer.from(request, 'latin1')
  }

  /**
   * Sends requests one after the other, and lets the event loop turn once, for what writes files meanwhile. Emit the server's
   * `connection` with this socket first.
   */
  send(count: number): Promise<void> {
    if (this.#left > 0) throw new Error('the requests before are not answered yet')
    this.#left = count
    return new Promise(resolve => {
      this.#done = () => setImmediate(resolve)
      this.push(this.#request)
    })
  }

  setTimeout(): this {
    return this
  }

  override _read(): void {}

  override _write(chunk: Buffer | string, _encoding: string, written: () => void): void {
    written()
    this.#answered(chunk)
  }

  override _writev(chunks: { chunk: Buffer | string }[], written: () => void): void {
    written()
    this.#answered(chunks[chunks.length - 1].chunk)
  }

  #answered(last: Buffer | string): void {
    const bytes = typeof last === 'string' ? Buffer.from(last, 'latin1') : last
    if (!answerEnds.some(end => bytes.subarray(-end.length).equals(end))) return
    this.#left--
    if (this.#left === 0) this.#done?.()
    else process.nextTick(MemorySocket.#next, this)
  }

  static #next(socket: MemorySocket): void {
    socket.push(socket.#request)
  }
}
