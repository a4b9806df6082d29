/** A real redis-server with its data in a temporary folder. Both are gone when the test ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { Redis } from 'ioredis'
import { portBelowTheEphemeral } from './port.ts'
import { temporaryFolder } from './temporary-folder.ts'

export class RedisServer {
  readonly port: number
  readonly #folder = temporaryFolder()
  readonly #args: readonly string[]
  #process: ChildProcess | undefined

  constructor(port: number, args: readonly string[]) {
    this.port = port
    this.#args = args
  }

  /** Starts the server, or starts it again on the same port, and waits until it is ready. */
  async start(): Promise<void> {
    const args = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.#folder, '--save', '']
    const child = spawn('redis-server', [...args, ...this.#args], { stdio: ['ignore', 'pipe', 'ignore'] })
    this.#process = child
    await ready(child, child.stdout)
  }

  /** Freezes the server: connections stay, answers do not come. */
  pause(): void {
    this.#process?.kill('SIGSTOP')
  }

  resume(): void {
    this.#process?.kill('SIGCONT')
  }

  async stop(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
}

/** A test, or what cleans up after a suite. */
export interface Cleanup {
  after(fn: () => Promise<void> | void): void
}

export async function startRedis(t: Cleanup, ...args: string[]): Promise<RedisServer> {
  for (let attempt = 1; ; attempt++) {
    const server = new RedisServer(portBelowTheEphemeral(), args)
    t.after(() => server.stop())
    try {
      await server.start()
      return server
    } catch (error) {
      // The port may be somebody's.
      if (attempt === 10) throw error
    }
  }
}

/** A client that is gone when the test ends. */
export function connectRedis(t: Cleanup, server: RedisServer): Redis {
  const client = new Redis(server.port, '127.0.0.1')
  client.on('error', () => undefined)
  t.after(() => client.disconnect())
  return client
}

/** It says so itself: whoever answers on the port might be another server. */
function ready(child: ChildProcess, output: Readable): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = ''
    output.setEncoding('utf8').on('data', chunk => {
      said += chunk
      if (/ready to accept connections/i.test(said)) resolve()
    })
    child.on('error', reject)
    child.on('close', code => reject(new Error(`redis-server ended with ${code}: ${said}`)))
  })
}
