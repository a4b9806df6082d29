/** What one exchange costs above a bare request and response, and what the things around it add. */
import { once } from 'node:events'
import { createServer, IncomingMessage, type RequestListener, type Server, ServerResponse } from 'node:http'
import { type AddressInfo, connect, Socket } from 'node:net'
import { type Exchange, exchangeOf } from '../lib/http/exchange.ts'
import { composed, type RequestHandler, type Stage } from '../lib/http/pipeline.ts'
import { observeServer } from '../lib/http/server-events.ts'
import type { Contender, Row, Suite } from './suite.ts'

const batch = 200
const headers = { 'Content-Type': 'text/plain', 'Content-Length': 2 }
const answer: RequestHandler = (_req, res) => res.writeHead(200, headers)

const statuses = new Float64Array(1_000)
const listener = (exchange: Exchange) => {
  statuses[exchange.statusCode]++
}
const listening: Stage = {
  name: 'listening',
  enter(exchange) {
    exchange.onEnd(listener)
    return true
  }
}
const adding: Stage = {
  name: 'adding',
  enter(exchange) {
    exchange.setHeader('RateLimit', '"default";r=99;t=1')
    exchange.setHeader('RateLimit-Policy', '"default";q=100;w=60')
    return true
  }
}

export const suite: Suite = {
  *rows() {
    const bare = withoutWire('bare request and response', answer)
    yield {
      name: 'one exchange: head, end, one listener',
      contenders: [withoutWire('ostiary', composed([listening]).wrap(answer)), bare]
    }
    yield {
      name: 'two headers joined to the head',
      contenders: [
        withoutWire('ostiary', composed([listening, adding]).wrap(answer)),
        withoutWire('ostiary, nothing to add', composed([listening]).wrap(answer)),
        withoutWire('bare, setHeader', (req, res) => {
          res.setHeader('RateLimit', '"default";r=99;t=1')
          res.setHeader('RateLimit-Policy', '"default";q=100;w=60')
          return answer(req, res)
        })
      ]
    }
    yield {
      name: 'asyncContext: currentExchange() below the handler',
      contenders: [
        withoutWire('ostiary, asyncContext', composed([listening], { asyncContext: true }).wrap(answer)),
        withoutWire('ostiary', composed([listening]).wrap(answer))
      ]
    }
    yield {
      name: 'exchange.signal, fired for a client that left',
      contenders: [
        withoutWire(
          'ostiary, signal asked for',
          composed([listening]).wrap((req, res) => {
            void exchangeOf(req).signal
            return answer(req, res)
          })
        ),
        withoutWire('ostiary', composed([listening]).wrap(answer))
      ]
    }
    yield overTheWire()
  }
}

/** Real requests and responses whose bytes go nowhere: what a server does for them stays out of the comparison. */
function withoutWire(name: string, handler: RequestHandler): Contender {
  const socket = new Socket()
  return {
    name,
    operations: batch,
    run() {
      for (let i = 0; i < batch; i++) {
        const req = new IncomingMessage(socket)
        req.url = '/orders/17?fields=id'
        req.method = 'GET'
        req.httpVersionMajor = 1
        const res = new ServerResponse(req)
        handler(req, res)
        res.emit('finish')
      }
    }
  }
}

/** A server and a pipelining client in one process. */
function overTheWire(): Row {
  const whole: RequestHandler = (_req, res) => res.writeHead(200, headers).end('ok')
  const servers = [
    server('ostiary', composed([listening]).wrap(whole)),
    server('ostiary, server observed', composed([listening]).wrap(whole), true),
    server('bare server', whole)
  ]
  return {
    name: 'a request over loopback, client included',
    contenders: servers.map(({ contender }) => contender) as Row['contenders'],
    close() {
      for (const { close } of servers) close()
    }
  }
}

function server(
  name: string,
  handler: RequestHandler,
  observed = false
): { contender: Contender; close(): void } {
  const listeningServer = createServer(handler as RequestListener).listen(0, '127.0.0.1')
  const stop = observed ? observeServer(listeningServer, () => {}) : () => {}
  const requests = 'GET /orders/17 HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(batch)
  let client: Socket | undefined
  return {
    contender: {
      name,
      operations: batch,
      async run() {
        client ??= await connected(listeningServer)
        await roundTrip(client, requests)
      }
    },
    close() {
      stop()
      client?.destroy()
      listeningServer.close()
    }
  }
}

async function connected(listeningServer: Server): Promise<Socket> {
  if (!listeningServer.listening) await once(listeningServer, 'listening')
  const socket = connect((listeningServer.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

/** Every answer ends in the same two letters of its body, in the same number of bytes. */
function roundTrip(client: Socket, requests: string): Promise<void> {
  return new Promise(resolve => {
    let answers = 0
    const count = (chunk: Buffer) => {
      for (let at = chunk.indexOf('\r\n\r\nok'); at !== -1; at = chunk.indexOf('\r\n\r\nok', at + 1))
        answers++
      if (answers < batch) return
      client.off('data', count)
      resolve()
    }
    client.on('data', count)
    client.write(requests)
  })
}
