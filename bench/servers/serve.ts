/** Runs one server of the end-to-end benchmark in a process of its own and tells its parent what it used. */
import { readFileSync } from 'node:fs'
import type { RequestListener, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PerformanceObserver } from 'node:perf_hooks'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { keepTicksFast } from '../../lib/http/tick-objects.ts'
import { MemorySocket } from '../harness/memory-socket.ts'

export interface Setting {
  issuer: string
  audience: string
  /** A JSON Web Key Set with the one public key. */
  jwks: { keys: Record<string, unknown>[] }
  /** The same key as SPKI PEM. */
  publicKey: string
  /** Its private half as PKCS #8 PEM: a plugin wants one, though nothing here signs. */
  privateKey: string
  /** A folder for log files and databases. */
  folder: string
  /** A stage list for the gate, such as `auth,rateLimit`. */
  stages: string[]
  redisPort?: number
}

export interface Used {
  /** µs of CPU, user and system, since the start. */
  cpuMicros: number
  /** Handed to the server's handler since the start. */
  requests: number
  heapBytes: number
  rssBytes: number
  /** Garbage collections since the start. */
  collections: number
}

export function setting(): Setting {
  return JSON.parse(readFileSync(process.argv[2], 'utf8')) as Setting
}

/** `settle`: wait for what is told of garbage collections; `collect` it first; `request`: answer so many, without a kernel. */
export type Question = 'use' | 'settle' | 'collect' | { requests: number; request: string }

/** Requests without a kernel that come in one turn of the event loop. */
const requestsPerTurn = 100

/** Listens, sends the port, and answers every message with what the process used so far. */
export function serve(server: Server): void {
  // Else chance decides which servers pay for slow ticks: with the gate none does, and none else should.
  keepTicksFast()
  const count = countRequests(server)
  let collections = 0
  const observer = new PerformanceObserver(list => {
    collections += list.getEntries().length
  })
  observer.observe({ entryTypes: ['gc'] })
  // A server that stands still for a while must not close a connection that is about to be used.
  server.keepAliveTimeout = 600_000
  let socket: MemorySocket | undefined
  server.listen(0, '127.0.0.1', () => {
    answerParent((server.address() as AddressInfo).port, async question => {
      if (typeof question === 'object') {
        socket ??= connectTo(server, question.request)
        for (let sent = 0; sent < question.requests; sent += requestsPerTurn)
          await socket.send(requestsPerTurn)
      } else if (question !== 'use') {
        if (question === 'collect') (globalThis as { gc?: () => void }).gc?.()
        // The observer is told of a collection in turns of its own.
        await setTimeout(20)
        for (let turn = 0; turn < 3; turn++) await setImmediate()
      }
      const { user, system } = process.cpuUsage()
      const { heapUsed, rss } = process.memoryUsage()
      return {
        cpuMicros: user + system,
        requests: count.requests,
        heapBytes: heapUsed,
        rssBytes: rss,
        collections
      }
    })
  })
}

/** Tells the parent the port, and what it asks for. */
export function answerParent(port: number, answer: (question: Question) => Promise<Used>): void {
  process.send?.({ port })
  process.on('message', async question => process.send?.(await answer(question as Question)))
  process.on('disconnect', () => process.exit(0))
}

/** Counts before the server's own handler: for each server the same cost, and right at every moment. */
function countRequests(server: Server): { requests: number } {
  const count = { requests: 0 }
  const [handler] = server.listeners('request') as RequestListener[]
  server.removeAllListeners('request')
  server.on('request', (req, res) => {
    count.requests++
    handler.call(server, req, res)
  })
  return count
}

function connectTo(server: Server, request: string): MemorySocket {
  const socket = new MemorySocket(request)
  server.emit('connection', socket)
  return socket
}
