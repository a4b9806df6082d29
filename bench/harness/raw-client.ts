/** A client that costs little and does the same each time: fixed bytes out, answers counted by their end. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** What ends an answer of the benchmark's servers, chunked or not. */
const answerEnd = /"\}(\r\n0\r\n\r\n)?$/

export class RawClient {
  readonly #socket: Socket
  readonly #request: string

  private constructor(socket: Socket, request: string) {
    this.#socket = socket
    this.#request = request
  }

  static async connect(port: number, token: string): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1').setEncoding('latin1')
    await once(socket, 'connect')
    return new RawClient(
      socket,
      `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench/1.0\r\nAuthorization: Bearer ${token}\r\n\r\n`
    )
  }

  /** Sends requests one after the other; rejects when an answer is no 200. */
  send(count: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = this.#socket
      let left = count
      let answer = ''
      const done = (error?: Error): void => {
        socket.removeAllListeners('data')
        socket.off('close', onClose)
        if (error === undefined) resolve()
        else reject(error)
      }
      const onClose = (): void => done(new Error('the server closed the connection'))
      socket.on('close', onClose)
      socket.on('data', (chunk: string) => {
        answer += chunk
        if (!answer.startsWith('HTTP/1.1 200 ')) return done(new Error(answer))
        if (!answerEnd.test(answer)) return
        answer = ''
        left--
        if (left === 0) done()
        else socket.write(this.#request)
      })
      socket.write(this.#request)
    })
  }

  close(): void {
    this.#socket.destroy()
  }
}
