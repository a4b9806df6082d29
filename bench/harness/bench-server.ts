/** A server of bench/servers in a process of its own, and what it says of itself. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Question, Setting, Used } from '../servers/serve.ts'

/** fast-jwt warns of a key builder that is not its own; the one here takes the whole token. */
export const quiet = ['--disable-warning=FAST_JWT_CACHE_KEY_BUILDER_SECURITY_RISK']

export interface BenchServerOptions {
  /** A file of bench/servers, without its ending. */
  file: string
  setting: Setting
  /** Further options of Node. */
  nodeOptions?: readonly string[]
}

export class BenchServer {
  readonly port: number
  readonly #child: ChildProcess
  /** Fires when the process ends. */
  readonly #gone: AbortSignal

  private constructor(child: ChildProcess, gone: AbortSignal, port: number) {
    this.#child = child
    this.#gone = gone
    this.port = port
  }

  static async start({ file, setting, nodeOptions = [] }: BenchServerOptions): Promise<BenchServer> {
    const folder = join(setting.folder, `${file}-${process.hrtime.bigint()}`)
    mkdirSync(folder)
    const path = join(folder, 'setting.json')
    writeFileSync(path, JSON.stringify({ ...setting, folder }))
    // Coverage would change what is optimized, and so what is allocated.
    const { NODE_V8_COVERAGE: _, ...env } = process.env
    const child = fork(fileURLToPath(new URL(`../servers/${file}.ts`, import.meta.url)), [path], {
      execArgv: ['--expose-gc', '--import', 'tsx', ...quiet, ...nodeOptions],
      env: { ...env, NODE_ENV: 'production' }
    })
    const gone = new AbortController()
    child.once('exit', (code, signal) =>
      gone.abort(new Error(`${file} ended: ${signal ?? `exit code ${code}`}`))
    )
    const [{ port }] = (await once(child, 'message', gone)) as [{ port: number }]
    return new BenchServer(child, gone.signal, port)
  }

  /** What it used so far. */
  used(): Promise<Used> {
    return this.#ask('use')
  }

  /** What it used, after it was told of every garbage collection there was. */
  settled(): Promise<Used> {
    return this.#ask('settle')
  }

  /** What it used, after a garbage collection. */
  collected(): Promise<Used> {
    return this.#ask('collect')
  }

  /** What it used, after that many requests that came without a kernel. @param request the bytes of one whole request */
  answered(requests: number, request: string): Promise<Used> {
    return this.#ask({ requests, request })
  }

  async stop(): Promise<void> {
    if (this.#gone.aborted) return
    const exited = once(this.#child, 'exit')
    this.#child.disconnect()
    await exited
  }

  async #ask(question: Question): Promise<Used> {
    this.#child.send(question)
    const [used] = (await once(this.#child, 'message', { signal: this.#gone })) as [Used]
    return used
  }
}
