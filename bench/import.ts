/** What it takes to load the main entry, as it is published, in a new process. */
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Contender, Suite } from './suite.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const built = `${root}bench/report/dist`

export const suite: Suite = {
  *rows() {
    execFileSync(process.execPath, [
      `${root}node_modules/typescript/bin/tsc`,
      ...['-p', `${root}tsconfig.build.json`, '--outDir', built]
    ])
    const modules: [ImportContender, ...ImportContender[]] = [
      processThatImports('ostiary', `${built}/index.js`),
      processThatImports('express', 'express'),
      processThatImports('fastify', 'fastify')
    ]
    yield {
      name: 'a process that imports it and ends',
      contenders: modules,
      // Asked for when the processes have run.
      get figures() {
        return modules.map(({ name, times }) => ({ name: `ms to import ${name}`, value: median(times) }))
      },
      close: () => rmSync(built, { recursive: true })
    }
  }
}

interface ImportContender extends Contender {
  /** ms that the import took in each of its processes. */
  readonly times: number[]
}

function processThatImports(name: string, module: string): ImportContender {
  const times: number[] = []
  return { name, operations: 1, times, run: () => void times.push(importTime(module)) }
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]
}

/** ms of the import alone, without the start of Node. */
function importTime(module: string): number {
  const code = `const from = performance.now(); await import(${JSON.stringify(module)}); console.log(performance.now() - from)`
  return Number(
    execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: root, encoding: 'utf8' })
  )
}
