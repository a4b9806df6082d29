/** What it takes to load the main entry, as it is published, in a new process. */
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Contender, Figure, Suite } from './suite.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const built = `${root}bench/report/dist`

export const suite: Suite = {
  *rows({ quick }) {
    execFileSync(process.execPath, [
      `${root}node_modules/typescript/bin/tsc`,
      ...['-p', `${root}tsconfig.build.json`, '--outDir', built]
    ])
    const modules = { ostiary: `${built}/index.js`, express: 'express', fastify: 'fastify' }
    const figures = importTimes(modules, quick ? 3 : 21)
    yield {
      name: 'a process that imports it and ends',
      contenders: Object.entries(modules).map(processThatImports) as [Contender, ...Contender[]],
      figures,
      close: () => rmSync(built, { recursive: true })
    }
  }
}

function processThatImports([name, module]: [string, string]): Contender {
  return { name, operations: 1, run: () => void importTime(module) }
}

/** Medians of processes in turn. */
function importTimes(modules: Record<string, string>, rounds: number): Figure[] {
  const names = Object.keys(modules)
  const times = names.map(name => ({ name, ms: [] as number[] }))
  for (let round = 0; round < rounds; round++) {
    for (const { name, ms } of times) ms.push(importTime(modules[name]))
  }
  return times.map(({ name, ms }) => ({
    name: `ms to import ${name}`,
    value: ms.sort((a, b) => a - b)[rounds >> 1]
  }))
}

/** ms of the import alone, without the start of Node. */
function importTime(module: string): number {
  const code = `const from = performance.now(); await import(${JSON.stringify(module)}); console.log(performance.now() - from)`
  return Number(
    execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: root, encoding: 'utf8' })
  )
}
