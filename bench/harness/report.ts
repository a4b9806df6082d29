/** Turns what was measured into a table for the terminal and files for the report. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { EndToEndResult, Row } from '../suite.ts'
import type { Measured } from './measure.ts'
import { barChart, lineChart } from './plots.ts'

export interface Result {
  suite: string
  row: string
  measured: Measured[]
  figures: Record<string, number>
  curve: Row['curve']
  targets: { peer: string; ratio: number; reached: number; met: boolean }[]
}

export function resultOf(suite: string, row: Row, measured: Measured[]): Result {
  const targets = (row.targets ?? []).map(({ peer, ratio }) => {
    const found = measured.find(({ contender }) => contender === peer)
    if (found === undefined) throw new Error(`${suite} / ${row.name}: no contender called ${peer}`)
    return { peer, ratio, reached: found.ratio, met: found.ratio >= ratio }
  })
  return { suite, row: row.name, measured, figures: row.figures ?? {}, curve: row.curve, targets }
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

/** The lines of one end-to-end comparison: CPU a request, and what is above the first server. */
export function endToEndLines({ name, servers }: EndToEndResult): string[] {
  const bare = servers[0].cpuMicros
  return [
    `${name}: µs of CPU a request, above bare, requests/s, p50/p99/p99.9 ms, heap MB`,
    ...servers.map(({ name, cpuMicros, requestsPerSecond, p50Ms, p99Ms, p999Ms, heapBytes }) =>
      [
        cpuMicros.toFixed(1).padStart(7),
        `+${(cpuMicros - bare).toFixed(1)}`.padStart(7),
        requestsPerSecond.toFixed(0).padStart(7),
        `${p50Ms.toFixed(1)}/${p99Ms.toFixed(1)}/${p999Ms.toFixed(1)}`.padStart(15),
        (heapBytes / 1e6).toFixed(1).padStart(6),
        ` ${name}`
      ].join(' ')
    )
  ]
}

export function markdown(results: readonly Result[], endToEnd: readonly EndToEndResult[]): string {
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
  return `${head}\n\n${table.join('\n')}\n\n${endToEnd.map(endToEndTable).join('\n')}`
}

function endToEndTable({ name, servers }: EndToEndResult): string {
  const bare = servers[0].cpuMicros
  const rows = servers.map(
    ({ name, cpuMicros, requestsPerSecond, p50Ms, p99Ms, p999Ms, heapBytes }) =>
      `| ${name} | ${cpuMicros.toFixed(1)} | ${(cpuMicros - bare).toFixed(1)} | ${requestsPerSecond.toFixed(0)} | ${p50Ms.toFixed(2)} / ${p99Ms.toFixed(2)} / ${p999Ms.toFixed(2)} | ${(heapBytes / 1e6).toFixed(1)} |`
  )
  return [
    `### ${name}`,
    '',
    '| server | CPU µs a request | above bare | requests/s | p50 / p99 / p99.9 ms | heap MB |',
    '|---|---:|---:|---:|---:|---:|',
    ...rows,
    ''
  ].join('\n')
}

export function writeReport(
  folder: URL,
  results: readonly Result[],
  endToEnd: readonly EndToEndResult[]
): void {
  mkdirSync(folder, { recursive: true })
  const write = (name: string, text: string): void => writeFileSync(new URL(name, folder), text)
  write('results.json', `${JSON.stringify({ results, endToEnd }, undefined, 2)}\n`)
  write('results.md', markdown(results, endToEnd))
  for (const suite of new Set(results.map(({ suite }) => suite)))
    write(`${suite}.svg`, ratioChart(suite, results))
  for (const of of new Set(results.flatMap(({ curve }) => curve?.of ?? [])))
    write(`${slug(of)}.svg`, costChart(of, results))
  for (const result of endToEnd) {
    write(`${slug(result.name)}-cpu.svg`, overheadChart(result))
    write(`${slug(result.name)}-latency.svg`, latencyChart(result))
  }
}

function ratioChart(suite: string, results: readonly Result[]): string {
  const bars = results
    .filter(result => result.suite === suite)
    .flatMap(({ row, measured, targets }) =>
      measured.slice(1).map(({ contender, ratio }) => ({
        label: `${row}: ${contender}`.slice(0, 56),
        value: ratio,
        target: targets.find(({ peer }) => peer === contender)?.ratio
      }))
    )
  return barChart(`${suite}: time over Ostiary’s`, bars)
}

function costChart(of: string, results: readonly Result[]): string {
  const points = results.flatMap(({ curve, measured }) =>
    curve?.of === of ? [[curve.x, measured[0].medianNs] as const] : []
  )
  const sorted = points.toSorted(([a], [b]) => a - b)
  return lineChart(
    `Cost against ${of}`,
    [{ name: 'ostiary', points: sorted }],
    { label: of, log: true },
    { label: 'ns' }
  )
}

function overheadChart({ name, servers }: EndToEndResult): string {
  const least = servers.slice(1).map(({ cpuMicros }) => cpuMicros / servers[0].cpuMicros)
  return barChart(
    `${name}: CPU a request over a bare server’s`,
    servers.slice(1).map((server, i) => ({ label: server.name, value: least[i] }))
  )
}

function latencyChart({ name, servers }: EndToEndResult): string {
  const curves = servers.map(({ name, latency }) => ({
    name,
    points: latency.map(([share, ms]) => [1 / (1 - share), ms] as const)
  }))
  return lineChart(
    `${name}: latency`,
    curves,
    { label: '1 / (1 − percentile)', log: true },
    { label: 'ms', log: true }
  )
}

function slug(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
}

function time(ns: number): string {
  if (ns < 1_000) return `${ns.toPrecision(3)} ns`
  return ns < 1_000_000 ? `${(ns / 1_000).toPrecision(3)} µs` : `${(ns / 1_000_000).toPrecision(3)} ms`
}
