/** What the servers of a comparison are put under. */
import type { Traffic } from '../suite.ts'
import type { BenchServer } from './bench-server.ts'
import { fire, type Load, latencyAt } from './load.ts'
import { PausableLoad } from './pausable-load.ts'

export interface Driver {
  /** Until everything is compiled. */
  warmUp(server: BenchServer): Promise<void>
  /** What a client sees of a server that has the machine for itself, if there is a client. */
  look(server: BenchServer): Promise<Traffic[]>
  /** A load that stands still but in its slices. */
  start(server: BenchServer): Promise<SlicedLoad>
}

export interface SlicedLoad {
  slice(): Promise<void>
  /** @throws when a request failed */
  end(): Promise<void>
  /** To be called at last, whatever happened. */
  kill(): void
}

/**
 * Requests over loopback, from another process. A client's time would show the slices, so it is taken from whole seconds.
 * @param warmUp requests
 */
export function overSockets(load: Load, tokens: readonly string[], warmUp: number): Driver {
  return {
    async warmUp(server) {
      while ((await server.used()).requests < warmUp) await fire(server.port, load, tokens, 1)
    },
    async look(server) {
      const seen = await fire(server.port, load, tokens, 1)
      return [
        {
          requestsPerSecond: seen.requests / seen.seconds,
          p50Ms: latencyAt(seen, 0.5),
          p99Ms: latencyAt(seen, 0.99),
          p999Ms: latencyAt(seen, 0.999),
          latency: seen.latency
        }
      ]
    },
    start: server => PausableLoad.start(server, load, tokens)
  }
}

const requestsPerSlice = 2_000

/**
 * Node's whole HTTP server, on a socket whose bytes go nowhere.
 * @param warmUp requests
 */
export function withoutKernel(token: string, warmUp: number): Driver {
  const request = `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench/1.0\r\nAuthorization: Bearer ${token}\r\n\r\n`
  return {
    async warmUp(server) {
      await server.answered(warmUp, request)
    },
    async look() {
      return []
    },
    async start(server) {
      return {
        async slice() {
          await server.answered(requestsPerSlice, request)
        },
        async end() {},
        kill() {}
      }
    }
  }
}
