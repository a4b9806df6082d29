/** What is remembered for as long as a connection lives: its open exchanges, its client, its last credential. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { ClientAddress } from './client-address.ts'
import type { Exchange } from './exchange.ts'
import { streamOf } from './outcome.ts'

const kConnection = Symbol('ostiary.connection')

type Bearing = { [kConnection]?: Connection }

export class Connection {
  /** A stage's memory of the last credential on this connection; the owner alone reads it. */
  credentialOwner: unknown = undefined
  credential: unknown = undefined
  /** Whether what came on it was no HTTP, and was answered; the rest of it is read only to be thrown away. */
  broken = false
  /**
   * Whether the socket's `close` ends every exchange that has not ended by itself. Not so for http/2, where streams end
   * by themselves, and for requests without a socket of their own, as test tools inject them.
   */
  readonly endsExchanges: boolean

  #oldestOpen: Exchange | undefined
  #newestOpen: Exchange | undefined
  #resolver: ClientAddress | undefined
  #forwardedFor: string | undefined
  #address: string | undefined
  #addressKey: string | undefined
  readonly #remoteAddress: string | undefined

  constructor(remoteAddress: string | undefined, endsExchanges: boolean) {
    this.#remoteAddress = remoteAddress
    this.endsExchanges = endsExchanges
  }

  /** The exchange that has waited longest for its end. Pipelined requests open several at a time. */
  get oldestOpen(): Exchange | undefined {
    return this.#oldestOpen
  }

  open(exchange: Exchange): void {
    if (!this.endsExchanges) return
    exchange.older = this.#newestOpen
    if (this.#newestOpen === undefined) this.#oldestOpen = exchange
    else this.#newestOpen.newer = exchange
    this.#newestOpen = exchange
  }

  close(exchange: Exchange): void {
    if (!this.endsExchanges) return
    const { older, newer } = exchange
    if (older === undefined) this.#oldestOpen = newer
    else older.newer = newer
    if (newer === undefined) this.#newestOpen = older
    else newer.older = older
    exchange.older = undefined
    exchange.newer = undefined
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

/** The connection a request came on; every request of one socket, or of one http/2 session, gets the same. */
export function connectionOf(req: IncomingMessage): Connection {
  const bearer = bearerOf(req)
  const known = bearer?.[kConnection]
  if (known !== undefined) return known
  const endsExchanges = bearer instanceof Duplex
  const connection = new Connection(remoteAddressOf(req), endsExchanges)
  if (bearer !== undefined) bearer[kConnection] = connection
  // The one listener that a socket gets, however many requests it carries.
  if (endsExchanges) bearer.on('close', onSocketClose)
  return connection
}

/** The connection of a socket on which some exchange was opened. */
export function connectionOfSocket(socket: Socket): Connection | undefined {
  return (socket as Bearing)[kConnection]
}

/** http/2 hides its socket behind a proxy that refuses new members; the session stands in for it. */
function bearerOf(req: IncomingMessage): Bearing | undefined {
  const stream = streamOf(req)
  if (stream !== undefined) return stream.session as Bearing | undefined
  return (req.socket as Bearing | null) ?? undefined
}

function remoteAddressOf(req: IncomingMessage): string | undefined {
  try {
    return req.socket?.remoteAddress
  } catch {
    // An http/2 session that is gone has unbound its socket.
    return undefined
  }
}

/** Ends what got no event of its own: what never went out, and pipelined requests on Node 20. */
function onSocketClose(this: Socket): void {
  const connection = connectionOfSocket(this)
  for (let open = connection?.oldestOpen; open !== undefined; open = connection?.oldestOpen) open.end(false)
}
