/** Turns what was measured into a table for the terminal and files for the report. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { Row } from '../suite.ts'
import type { Measured } from './measure.ts'

export interface Result {
  suite: string
  row: string
  measured: Measured[]
  figures: Record<string, number>
  targets: { peer: string; ratio: number; reached: number; met: boolean }[]
}

export function resultOf(suite: string, row: Row, measured: Measured[]): Result {
  const targets = (row.targets ?? []).map(({ peer, ratio }) => {
    const found = measured.find(({ contender }) => contender === peer)
    if (found === undefined) throw new Error(`${suite} / ${row.name}: no contender called ${peer}`)
    return { peer, ratio, reached: found.ratio, met: found.ratio >= ratio }
  })
  return { suite, row: row.name, measured, figures: row.figures ?? {}, targets }
}

/** The lines of one result: ratios first, then times. */
export function lines({ row, measured, figures, targets }: Result): string[] {
  const rows = measured.map(({ contender, medianNs, spread, ratio }) => {
    const target = targets.find(({ peer }) => peer === contender)
    const wanted = target === undefined ? '' : `  ${target.met ? 'reaches' : 'MISSES'} ${target.ratio}x`
    return `  ${`${ratio.toFixed(2)}x`.padStart(9)}  ${time(medianNs).padStart(10)} ±${(spread * 50).toFixed(0).padStart(2)} %  ${contender}${wanted}`
  })
  const extra = Object.entries(figures).map(
    ([name, value]) => `  ${String(Math.round(value * 100) / 100).padStart(9)}  ${name}`
  )
  return [row, ...rows, ...extra]
}

export function markdown(results: readonly Result[]): string {
  const head = `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}, ${new Date().toISOString().slice(0, 10)}.`
  const table = ['| row | contender | time over Ostiary’s | median | target |', '|---|---|---:|---:|---|']
  for (const { suite, row, measured, figures, targets } of results) {
    for (const { contender, medianNs, ratio } of measured) {
      const target = targets.find(({ peer }) => peer === contender)
      const wanted = target === undefined ? '' : `${target.ratio}× ${target.met ? 'reached' : '**missed**'}`
      table.push(`| ${suite}: ${row} | ${contender} | ${ratio.toFixed(2)}× | ${time(medianNs)} | ${wanted} |`)
    }
    for (const [name, value] of Object.entries(figures)) {
      table.push(`| ${suite}: ${row} | ${name} | | ${Math.round(value * 100) / 100} | |`)
    }
  }
  return `${head}\n\n${table.join('\n')}\n`
}

export function writeReport(folder: URL, results: readonly Result[]): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(new URL('results.json', folder), `${JSON.stringify(results, undefined, 2)}\n`)
  writeFileSync(new URL('results.md', folder), markdown(results))
}

function time(ns: number): string {
  if (ns < 1_000) return `${ns.toPrecision(3)} ns`
  return ns < 1_000_000 ? `${(ns / 1_000).toPrecision(3)} µs` : `${(ns / 1_000_000).toPrecision(3)} ms`
}
