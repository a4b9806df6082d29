/** What was measured, as pictures. */
import type { EndToEndResult, Moment, Timeline } from '../suite.ts'
import { barChart, lineChart } from './plots.ts'
import type { Report, Result } from './result.ts'

/** SVG files by name. */
export function charts({ results, endToEnd, timelines }: Report): Map<string, string> {
  const drawn = new Map<string, string>()
  for (const suite of new Set(results.map(({ suite }) => suite)))
    drawn.set(`${slug(suite)}.svg`, ratioChart(suite, results))
  for (const of of new Set(results.flatMap(({ curve }) => curve?.of ?? [])))
    drawn.set(`${slug(of)}.svg`, costChart(of, results))
  for (const result of endToEnd) {
    drawn.set(`${slug(result.name)}-cpu.svg`, overheadChart(result))
    if (result.servers.some(({ traffic }) => traffic !== undefined))
      drawn.set(`${slug(result.name)}-latency.svg`, latencyChart(result))
  }
  for (const timeline of timelines) {
    drawn.set(`${slug(timeline.name)}-heap.svg`, heapChart(timeline))
    drawn.set(`${slug(timeline.name)}-latency.svg`, latencyOverTime(timeline))
  }
  return drawn
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
  const curves = servers.map(({ name, traffic }) => ({
    name,
    points: (traffic?.latency ?? []).map(([share, ms]) => [1 / (1 - share), ms] as const)
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
