/** Turns what was measured into a table for the terminal and files for the report. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { EndToEndResult, Moment, Row, Timeline } from '../suite.ts'
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

export interface Report {
  results: readonly Result[]
  endToEnd: readonly EndToEndResult[]
  timelines: readonly Timeline[]
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

/** The lines of one timeline: a dozen of its moments. */
export function timelineLines({ name, moments }: Timeline): string[] {
  return [
    `${name}: s, requests, µs of CPU a request, heap and RSS MB, p50/p99 ms`,
    ...someOf(moments).map(({ seconds, requests, cpuMicros, heapBytes, rssBytes, p50Ms, p99Ms }) =>
      [
        String(seconds).padStart(6),
        String(requests).padStart(9),
        cpuMicros.toFixed(1).padStart(7),
        (heapBytes / 1e6).toFixed(1).padStart(7),
        (rssBytes / 1e6).toFixed(0).padStart(5),
        ` ${p50Ms.toFixed(1)}/${p99Ms.toFixed(1)}`
      ].join(' ')
    )
  ]
}

function someOf<T>(all: readonly T[]): T[] {
  const step = Math.max(1, Math.ceil(all.length / 12))
  return all.filter((_, i) => i === all.length - 1 || i % step === 0)
}

export function markdown({ results, endToEnd, timelines }: Report): string {
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
  return `${head}\n\n${table.join('\n')}\n\n${[...endToEnd.map(endToEndTable), ...timelines.map(timelineTable)].join('\n')}`
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

function timelineTable({ name, moments }: Timeline): string {
  return [
    `### ${name}`,
    '',
    '| s | requests | CPU µs a request | heap MB | RSS MB | p50 / p99 ms |',
    '|---:|---:|---:|---:|---:|---:|',
    ...someOf(moments).map(
      ({ seconds, requests, cpuMicros, heapBytes, rssBytes, p50Ms, p99Ms }) =>
        `| ${seconds} | ${requests} | ${cpuMicros.toFixed(1)} | ${(heapBytes / 1e6).toFixed(1)} | ${(rssBytes / 1e6).toFixed(0)} | ${p50Ms.toFixed(2)} / ${p99Ms.toFixed(2)} |`
    ),
    ''
  ].join('\n')
}

export function writeReport(folder: URL, report: Report): void {
  const { results, endToEnd, timelines } = report
  mkdirSync(folder, { recursive: true })
  const write = (name: string, text: string): void => writeFileSync(new URL(name, folder), text)
  write('results.json', `${JSON.stringify(report, undefined, 2)}\n`)
  write('results.md', markdown(report))
  for (const suite of new Set(results.map(({ suite }) => suite)))
    write(`${suite}.svg`, ratioChart(suite, results))
  for (const of of new Set(results.flatMap(({ curve }) => curve?.of ?? [])))
    write(`${slug(of)}.svg`, costChart(of, results))
  for (const result of endToEnd) {
    write(`${slug(result.name)}-cpu.svg`, overheadChart(result))
    write(`${slug(result.name)}-latency.svg`, latencyChart(result))
  }
  for (const timeline of timelines) {
    write(`${slug(timeline.name)}-heap.svg`, heapChart(timeline))
    write(`${slug(timeline.name)}-latency.svg`, latencyOverTime(timeline))
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

function heapChart({ name, moments }: Timeline): string {
  const curve = (of: (moment: Moment) => number) =>
    moments.map(moment => [moment.seconds, of(moment) / 1e6] as const)
  return lineChart(
    `${name}: memory`,
    [
      { name: 'heap after a collection', points: curve(({ heapBytes }) => heapBytes) },
      { name: 'resident set', points: curve(({ rssBytes }) => rssBytes) }
    ],
    { label: 's' },
    { label: 'MB' }
  )
}

function latencyOverTime({ name, moments }: Timeline): string {
  return lineChart(
    `${name}: latency`,
    [
      { name: 'p50', points: moments.map(({ seconds, p50Ms }) => [seconds, p50Ms] as const) },
      { name: 'p99', points: moments.map(({ seconds, p99Ms }) => [seconds, p99Ms] as const) }
    ],
    { label: 's' },
    { label: 'ms' }
  )
}

function slug(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
}

function time(ns: number): string {
  if (ns < 1_000) return `${ns.toPrecision(3)} ns`
  return ns < 1_000_000 ? `${(ns / 1_000).toPrecision(3)} µs` : `${(ns / 1_000_000).toPrecision(3)} ms`
}
