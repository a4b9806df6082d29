/** `npm run bench`: runs the suites beside this file. `--quick` takes short slices, `--only NAME` picks suites by name. */
import { readdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { fullPace, measure, quickPace } from './harness/measure.ts'
import { writeReport } from './harness/report.ts'
import { type Result, resultOf, targetsOf } from './harness/result.ts'
import { endToEndLines, figureLines, resultLines, timelineLines } from './harness/terminal.ts'
import type { EndToEndResult, Figures, Suite, Timeline } from './suite.ts'

const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string', multiple: true } }
})

const results: Result[] = []
const endToEnd: EndToEndResult[] = []
const timelines: Timeline[] = []
const figures: Figures[] = []
const report = { results, endToEnd, timelines, figures }
const suites = await loadSuites(values.only)
if (suites.length === 0) throw new Error(`no suite is called ${values.only?.join(', ')}`)
for (const suite of suites) {
  console.log(`\n${suite.name}\n${'-'.repeat(suite.name.length)}`)
  for await (const row of suite.rows?.({ quick: values.quick }) ?? []) {
    const measured = await measure(row, values.quick ? quickPace : fullPace)
    await row.close?.()
    const result = resultOf(suite.name, row, measured)
    results.push(result)
    console.log(resultLines(result).join('\n'))
  }
  for await (const result of suite.endToEnd?.({ quick: values.quick }) ?? []) {
    endToEnd.push(result)
    console.log(endToEndLines(result).join('\n'))
  }
  for await (const timeline of suite.timelines?.({ quick: values.quick }) ?? []) {
    timelines.push(timeline)
    console.log(timelineLines(timeline).join('\n'))
  }
  for await (const list of suite.figures?.({ quick: values.quick }) ?? []) {
    figures.push(list)
    console.log(figureLines(list).join('\n'))
  }
  // After each suite: who stops a run keeps what was measured.
  writeReport(new URL('report/', import.meta.url), report)
}
const missed = targetsOf(report).filter(({ met }) => !met)
if (missed.length > 0)
  console.log(
    `\nMissed:\n${missed.map(({ path, wanted, reached }) => `  ${path}: ${reached} of ${wanted}`).join('\n')}`
  )

async function loadSuites(only: readonly string[] | undefined): Promise<Suite[]> {
  const files = readdirSync(new URL('.', import.meta.url)).filter(
    file => file.endsWith('.ts') && file !== 'run.ts' && file !== 'suite.ts'
  )
  const loaded = await Promise.all(
    files.sort().map(file => import(`./${file}`) as Promise<{ suite?: Suite }>)
  )
  const all = loaded.flatMap(({ suite }) => (suite === undefined ? [] : [suite]))
  return only === undefined ? all : all.filter(({ name }) => only.includes(name))
}
