/** What is remembered for as long as a connection lives: its open exchanges, its client, its last credential. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { ClientAddress } from './client-address.ts'
import type { Exchange } from './exchange.ts'

const kConnection = Symbol('ostiary.connection')

type Bearing = Socket & { [kConnection]?: Connection }

export class Connection {
  /** Exchanges of this connection that have not ended, newest first; linked through `Exchange.olderOpen`. */
  newestOpen: Exchange | undefined = undefined
  /** A stage's memory of the last credential on this connection; the owner alone reads it. */
  credentialOwner: unknown = undefined
  credential: unknown = undefined

  #resolver: ClientAddress | undefined = undefined
  #forwardedFor: string | undefined = undefined
  #address: string | undefined = undefined
  #addressKey: string | undefined = undefined
  readonly #remoteAddress: string | undefined

  constructor(remoteAddress: string | undefined) {
    this.#remoteAddress = remoteAddress
  }

  address(resolver: ClientAddress, req: IncomingMessage): string | undefined {
    const forwardedFor = resolver.readsHeaders
      ? (req.headers['x-forwarded-for'] as string | undefined)
      : undefined
    if (this.#resolver !== resolver || this.#forwardedFor !== forwardedFor) {
      this.#resolver = resolver
      this.#forwardedFor = forwardedFor
      this.#address = resolver.resolve(this.#remoteAddress, forwardedFor)
      this.#addressKey = this.#address === undefined ? undefined : resolver.keyOf(this.#address)
    }
    return this.#address
  }

  addressKey(resolver: ClientAddress, req: IncomingMessage): string | undefined {
    this.address(resolver, req)
    return this.#addressKey
  }
}

/** The connection a request came on. `onClose` is the one listener that its socket gets, however many requests it carries. */
export function connectionOf(req: IncomingMessage, onClose: (this: Socket) => void): Connection {
  const bearer = req.httpVersionMajor < 2 ? (req.socket as Bearing) : sessionOf(req)
  let connection = bearer[kConnection]
  if (connection === undefined) {
    connection = new Connection(req.socket?.remoteAddress)
    bearer[kConnection] = connection
    // http/2 streams end by themselves.
    if (req.httpVersionMajor < 2) bearer.on('close', onClose)
  }
  return connection
}

export function connectionOfSocket(socket: Socket): Connection | undefined {
  return (socket as Bearing)[kConnection]
}

/** http/2 hides its socket behind a proxy that refuses new members; the session stands in for it. */
function sessionOf(req: IncomingMessage): Bearing {
  return ((req as unknown as { stream: { session?: unknown } }).stream.session ?? {}) as Bearing
}
