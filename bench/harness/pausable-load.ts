/** A load that stands still but for slices of time: its generator is a process that is stopped and let go on by signals. */
import { setTimeout } from 'node:timers/promises'
import type { BenchServer } from './bench-server.ts'
import type { SlicedLoad } from './driver.ts'
import { type Generator, type Load, type Seen, startGenerator } from './load.ts'

const sliceMs = 100

/** Those that are stopped would not end with this process. */
const running = new Set<PausableLoad>()
process.once('exit', () => {
  for (const load of running) load.kill()
})

export class PausableLoad implements SlicedLoad {
  readonly #generator: Generator

  private constructor(generator: Generator) {
    this.#generator = generator
  }

  /** It stands still. */
  static async start(server: BenchServer, load: Load, tokens: readonly string[]): Promise<PausableLoad> {
    const { requests } = await server.used()
    const started = new PausableLoad(startGenerator(server.port, load, tokens, 3_600))
    running.add(started)
    while ((await server.used()).requests === requests) await started.#pass(10)
    started.#signal('SIGSTOP')
    return started
  }

  async slice(): Promise<void> {
    this.#signal('SIGCONT')
    await this.#pass(sliceMs)
    this.#signal('SIGSTOP')
  }

  /** @throws when an answer was a refusal or none came */
  async end(): Promise<void> {
    this.#signal('SIGCONT')
    // Again and again: wrk ends when its main thread gets it, but any thread may.
    do this.#signal('SIGINT')
    while ((await this.#pass(100)) === undefined)
    running.delete(this)
  }

  /** Without a look at what it saw. */
  kill(): void {
    running.delete(this)
    this.#generator.child.kill('SIGKILL')
  }

  /** @returns what it saw, if it ended meanwhile */
  #pass(ms: number): Promise<Seen | undefined> {
    return Promise.race([setTimeout(ms, undefined), this.#generator.seen])
  }

  #signal(signal: NodeJS.Signals): void {
    this.#generator.child.kill(signal)
  }
}
