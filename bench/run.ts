/** `npm run bench`: runs the suites beside this file one after the other, each in a process of its own. */
import { readdirSync, rmSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { writeReport } from './harness/report.ts'
import { emptyReport, targetsOf } from './harness/result.ts'
import { runInOwnProcess } from './harness/suite-process.ts'
import { reportLines } from './harness/terminal.ts'

/** A suite is called like its file: `rate limiter` or `rate-limiter`. */
const suites = readdirSync(new URL('.', import.meta.url))
  .filter(file => file.endsWith('.ts') && file !== 'run.ts' && file !== 'suite.ts')
  .map(file => file.slice(0, -3))
  .sort()

const usage = `npm run bench -- [--quick] [--only NAME]...
  --quick      short slices and small sizes: all suites in under two minutes
  --only NAME  this suite and no other; more of them with more --only
suites: ${suites.join(', ')}`

const folder = new URL('report/', import.meta.url)
const request = readArguments()
if (request !== undefined) await run(request.names, request.quick)

/** @returns nothing when there is nothing to run: help was asked for, or the arguments are wrong */
function readArguments(): { names: string[]; quick: boolean } | undefined {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true },
        help: { type: 'boolean', short: 'h', default: false }
      }
    })
    if (!values.help) return { names: chosen(values.only), quick: values.quick }
    console.log(usage)
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`)
    process.exitCode = 1
  }
}

/** @throws when there is no suite of a name */
function chosen(only: readonly string[] | undefined): string[] {
  if (only === undefined) return suites
  const names = only.map(name => name.trim().toLowerCase().replaceAll(' ', '-'))
  const unknown = only.filter((_, i) => !suites.includes(names[i]))
  if (unknown.length > 0) throw new Error(`There is no suite called ${unknown.join(', ')}.`)
  return suites.filter(suite => names.includes(suite))
}

async function run(names: readonly string[], quick: boolean): Promise<void> {
  // What lies there is of an earlier run.
  rmSync(folder, { recursive: true, force: true })
  const report = emptyReport()
  const failures: string[] = []
  const startedAt = performance.now()
  for (const name of names) {
    const title = name.replaceAll('-', ' ')
    console.log(`\n${title}\n${'-'.repeat(title.length)}`)
    const suiteStartedAt = performance.now()
    const failure = await runInOwnProcess(name, quick, piece => {
      report.results.push(...piece.results)
      report.endToEnd.push(...piece.endToEnd)
      report.timelines.push(...piece.timelines)
      report.figures.push(...piece.figures)
      console.log(reportLines(piece).join('\n'))
    })
    if (failure !== undefined) failures.push(`${title}: ${failure}`)
    console.log(`(${secondsSince(suiteStartedAt)} s)`)
    // After each suite: who stops a run keeps what was measured.
    writeReport(folder, `Benchmark results${quick ? ' of a quick run' : ''}`, report)
  }
  const missed = targetsOf(report).filter(({ met }) => !met)
  printList(
    'Missed',
    missed.map(({ path, wanted, reached }) => `${path}: ${reached} of ${wanted}`)
  )
  printList('Failed', failures)
  if (failures.length > 0) process.exitCode = 1
  console.log(`\n${names.length} suites in ${secondsSince(startedAt)} s`)
}

function printList(title: string, lines: readonly string[]): void {
  if (lines.length > 0) console.log(`\n${title}:\n  ${lines.join('\n  ')}`)
}

function secondsSince(start: number): string {
  return ((performance.now() - start) / 1_000).toFixed(0)
}
