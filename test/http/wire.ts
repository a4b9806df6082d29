/** The same server with and without Ostiary, compared byte by byte. */
import assert, { AssertionError } from 'node:assert/strict'
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse
} from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { type Exchange, type Outcome, openExchange } from '../../lib/http/exchange.ts'
import type { HeaderLines } from '../../lib/http/head.ts'
import { composed, type Middleware } from '../../lib/http/pipeline.ts'
import { Reporter } from '../../lib/http/reporter.ts'

export type Handler = (req: IncomingMessage, res: ServerResponse) => unknown

/** What one exchange said at its end; `ends` counts how often it said so. */
export interface Sighting {
  path: string
  statusCode: number
  outcome: Outcome
  ends: number
}

/** Waits for what is bound to come about; a test that waits in vain runs into its own timeout. */
export async function until(reached: () => boolean): Promise<void> {
  while (!reached()) await turn()
}

/** Remembers the end of every exchange it is shown. */
export class Watch {
  readonly sightings: Sighting[] = []
  /** An assertion in a handler or a listener fails the test that waits, and not only its request. */
  #failure: AssertionError | undefined
  readonly #reporter = new Reporter({
    intervalMs: 0,
    onReport: ({ error }) => {
      if (!(error instanceof AssertionError)) return
      this.#failure ??= error
      // The test ends here, and its server with it.
      for (const server of running) closeNow(server)
      this.#wake()
    }
  })
  #openedCount = 0
  readonly #waiting: { reached: () => boolean; resolve: () => void }[] = []

  /** A request handler that opens the exchange, watches its end, and goes on to `handler`. */
  over(handler: Handler, prepare?: (exchange: Exchange) => void): Handler {
    const watching: Middleware = (req, res, next) => {
      const exchange = openExchange(req, res)
      this.add(exchange)
      prepare?.(exchange)
      next()
    }
    return composed([watching], { reporter: this.#reporter }).wrap(handler)
  }

  add(exchange: Exchange): void {
    const sighting: Sighting = { path: exchange.path, statusCode: -1, outcome: 'pending', ends: 0 }
    exchange.onEnd(({ statusCode, outcome }) => {
      Object.assign(sighting, { statusCode, outcome, ends: sighting.ends + 1 })
      this.sightings.push(sighting)
      this.#wake()
    })
    this.#openedCount++
    this.#wake()
  }

  /** Resolves when `count` exchanges have been opened, and their handlers called. */
  opened(count: number): Promise<void> {
    return this.#until(() => this.#openedCount >= count)
  }

  /** Resolves when `count` exchanges have ended. */
  async ended(count: number): Promise<Sighting[]> {
    await this.#until(() => this.sightings.length >= count)
    return this.sightings
  }

  async #until(reached: () => boolean): Promise<void> {
    if (!reached()) await new Promise<void>(resolve => this.#waiting.push({ reached, resolve }))
    if (this.#failure !== undefined) throw this.#failure
  }

  #wake(): void {
    for (const { reached, resolve } of this.#waiting) if (this.#failure !== undefined || reached()) resolve()
  }
}

export interface Started {
  port: number
  sockets: Socket[]
  stop(): Promise<void>
}

const running = new Set<Server>()

function closeNow(server: Server): void {
  server.closeAllConnections()
  server.close()
}

export async function start(handler: Handler, options: ServerOptions = {}): Promise<Started> {
  const server = createServer(options, handler as (req: IncomingMessage, res: ServerResponse) => void)
  const sockets: Socket[] = []
  let open = 0
  // On a machine that stands still for a while the client may just be sending the next request.
  server.keepAliveTimeout = 600_000
  server.on('connection', socket => {
    sockets.push(socket)
    open++
    socket.on('close', () => open--)
  })
  running.add(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    async stop() {
      running.delete(server)
      closeNow(server)
      await once(server, 'close')
      // The server says it before its last sockets do.
      await until(() => open === 0)
    }
  }
}

/** Every byte that comes back until the server closes the connection, without the changing part of `Date`. */
export async function bytesFor(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.setEncoding('latin1')
  socket.on('error', () => {})
  socket.write(request, 'latin1')
  let answer = ''
  socket.on('data', (chunk: string) => {
    answer += chunk
  })
  // `once` would reject on a reset.
  await new Promise(resolve => socket.on('close', resolve))
  return answer.replace(/^Date: .*$/gm, 'Date: …')
}

/** Two requests on one connection, sent at once: the first keeps it alive, the second closes it. */
export function twice(method = 'GET', headers = ''): string {
  const head = `${method} /a HTTP/1.1\r\nHost: x\r\n${headers}`
  return `${head}\r\n${head}Connection: close\r\n\r\n`
}

export interface WireCase {
  handler: Handler
  request?: string
  options?: ServerOptions
  /** What the exchanges must say, in the order of their ends; by default the statuses on the wire, completed. */
  expected?: Omit<Sighting, 'ends' | 'path'>[]
  /** How many heads carry Ostiary's header; by default as many as there are exchanges. */
  heads?: number
}

/** One header as a stage gives several: as whole lines. */
export function linesOf(name: string, value: string): HeaderLines {
  return { names: [name], text: () => `${name}: ${value}\r\n`, pairs: () => [name, value] }
}

const ways: Record<string, ((exchange: Exchange) => void) | undefined> = {
  'nothing to add': undefined,
  'a pending header': exchange => exchange.setHeader('X-Ostiary', 'here'),
  'a pending line': exchange => exchange.setHeaderLines(linesOf('X-Ostiary', 'here')),
  'a header added at the head': exchange =>
    exchange.onHead(seen => {
      seen.setHeader('X-Ostiary', 'here')
    })
}

/** Asserts that Ostiary changes no byte but adds its own header lines, and that the exchanges tell the truth. */
export async function assertSameWire(wireCase: WireCase): Promise<void> {
  const { handler, request = twice(), options } = wireCase
  const bare = await start(handler, options)
  const bytes = await bytesFor(bare.port, request)
  await bare.stop()
  const { expected = completedOnWire(bytes) } = wireCase
  const { heads = expected.length } = wireCase
  for (const [way, prepare] of Object.entries(ways)) {
    const watch = new Watch()
    const watched = await start(watch.over(handler, prepare), options)
    const seen = await bytesFor(watched.port, request)
    const sightings = await watch.ended(expected.length)
    await watched.stop()
    const own = seen.match(/^X-Ostiary: here\r\n/gm) ?? []
    assert.equal(own.length, prepare === undefined ? 0 : heads, `${way}: own header lines`)
    assert.equal(seen.replaceAll('X-Ostiary: here\r\n', ''), bytes, way)
    assert.deepEqual(
      sightings,
      expected.map(sighting => ({ path: sightings[0]?.path, ...sighting, ends: 1 })),
      way
    )
  }
}

function completedOnWire(bytes: string): Omit<Sighting, 'ends' | 'path'>[] {
  const statuses = [...bytes.matchAll(/HTTP\/1\.1 ([2-5]\d\d) /g)].map(match => Number(match[1]))
  assert.notEqual(statuses.length, 0, 'the bare server answered')
  return statuses.map(statusCode => ({ statusCode, outcome: 'completed' }))
}
