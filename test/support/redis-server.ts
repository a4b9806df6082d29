/** A real redis-server on a free port, with its data in a temporary folder. Both are gone when the test ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'

export class RedisServer {
  readonly port: number
  readonly #folder: string
  readonly #args: readonly string[]
  #process: ChildProcess | undefined

  constructor(port: number, folder: string, args: readonly string[]) {
    this.port = port
    this.#folder = folder
    this.#args = args
  }

  /** Starts the server, or starts it again on the same port, and waits until it answers. */
  async start(): Promise<void> {
    const args = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.#folder, '--save', '']
    const child = spawn('redis-server', [...args, ...this.#args], { stdio: 'ignore' })
    this.#process = child
    const failed = once(child, 'error').then(([error]) => Promise.reject(error))
    const probe = new Redis(this.port, '127.0.0.1', { retryStrategy: () => 20, maxRetriesPerRequest: null })
    probe.on('error', () => undefined)
    try {
      await Promise.race([probe.ping(), failed])
    } finally {
      probe.disconnect()
    }
  }

  /** Freezes the server: connections stay, answers do not come. */
  pause(): void {
    this.#process?.kill('SIGSTOP')
  }

  resume(): void {
    this.#process?.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  async stop(): Promise<void> {
    await this.kill()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** A test, or what cleans up after a suite. */
export interface Cleanup {
  after(fn: () => Promise<void> | void): void
}

export async function startRedis(t: Cleanup, ...args: string[]): Promise<RedisServer> {
  const server = new RedisServer(await freePort(), await mkdtemp(join(tmpdir(), 'redis-')), args)
  t.after(() => server.stop())
  await server.start()
  return server
}

/** A client that is gone when the test ends. */
export function connectRedis(t: Cleanup, server: RedisServer): Redis {
  const client = new Redis(server.port, '127.0.0.1')
  client.on('error', () => undefined)
  t.after(() => client.disconnect())
  return client
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
