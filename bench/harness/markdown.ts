/** What was measured, as a page. */
import { cpus } from 'node:os'
import type { EndToEndResult, Figures, Timeline, Traffic } from '../suite.ts'
import { cpuQuantile } from './end-to-end.ts'
import { generators } from './load.ts'
import { type Report, type Result, shareOf, targetsOf } from './result.ts'
import { plain, someOf, time } from './units.ts'
import { versions } from './versions.ts'

/** @param title the page's heading, without `#` */
export function markdown(title: string, report: Report): string {
  const { results, endToEnd, timelines, figures } = report
  const suites = [...new Set(results.map(({ suite }) => suite))]
  return [
    `# ${title}`,
    `Node ${process.version.slice(1)}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}, ${process.platform} ${process.arch}, ${new Date().toISOString().slice(0, 10)}. One run of \`npm run bench\`; ratios travel, absolutes do not.`,
    `${versions()}. Load by ${generators}.`,
    targetsTable(report),
    ...(endToEnd.length > 0 ? ['## End to end', endToEndPreface, ...endToEnd.map(endToEndTable)] : []),
    ...timelines.map(timelineTable),
    ...figures.map(figuresTable),
    ...suites.map(suite => suiteTable(suite, results))
  ]
    .join('\n\n')
    .concat('\n')
}

const endToEndPreface = `Each server in processes of its own, keep-alive, real RS256 tokens. CPU is user and system time of the whole server process, its helper threads included. Load comes in slices of a tenth of a second, to one server after the other in an order that changes; of a process’s slices the ${cpuQuantile * 100} % quantile counts, since what else a machine does only adds to them, and of several processes the mean. What a server does in the 300 ms after a slice belongs to it, since it may write in batches and behind timers. Without a kernel a slice is 2 000 requests. What a client sees is the median of whole seconds of load.`

function targetsTable(report: Report): string {
  const targets = targetsOf(report)
  if (targets.length === 0) return ''
  return [
    '## Targets',
    '',
    '| path | target | reached | |',
    '|---|---|---|---|',
    ...targets.map(
      ({ path, wanted, reached, met }) =>
        `| ${path} | ${wanted} | ${reached} | ${met ? 'reached' : '**missed**'} |`
    )
  ].join('\n')
}

function suiteTable(suite: string, results: readonly Result[]): string {
  const table = [
    `## Suite: ${suite}`,
    '',
    '| row | contender | time over Ostiary’s | median | target |',
    '|---|---|---:|---:|---|'
  ]
  for (const { row, measured, figures, mostNs, targets } of results.filter(
    result => result.suite === suite
  )) {
    for (const [i, { contender, medianNs, spread, ratio }] of measured.entries()) {
      const target = targets.find(({ peer }) => peer === contender)
      const wanted = [
        ...(target === undefined ? [] : [verdict(target.met, `${Number(target.ratio.toPrecision(2))}×`)]),
        ...(i > 0 || mostNs === undefined ? [] : [verdict(medianNs <= mostNs, `≤ ${time(mostNs)}`)])
      ].join(', ')
      table.push(
        `| ${i === 0 ? row : ''} | ${contender} | ${ratio.toFixed(2)}× | ${time(medianNs)} ±${(spread * 50).toFixed(0)} % | ${wanted} |`
      )
    }
    for (const { name, value, most } of figures) {
      const wanted = most === undefined ? '' : verdict(value <= most, `≤ ${plain(most)}`)
      table.push(`| | ${name} | | ${plain(value)} | ${wanted} |`)
    }
  }
  return table.join('\n')
}

function verdict(met: boolean, wanted: string): string {
  return `${wanted} ${met ? 'reached' : '**missed**'}`
}

function endToEndTable(result: EndToEndResult): string {
  const { name, beside, servers } = result
  const bare = servers[0].cpuMicros
  const withTraffic = servers.some(({ traffic }) => traffic !== undefined)
  const columns = [
    ...['CPU µs a request', 'above bare'],
    ...(beside === undefined ? [] : [`share of ${beside}`]),
    ...(withTraffic ? ['requests/s', 'p50 / p99 / p99.9 ms'] : []),
    'heap MB'
  ]
  const rows = servers.map(({ name, cpuMicros, traffic, heapBytes }) => [
    ...[name, cpuMicros.toFixed(1), (cpuMicros - bare).toFixed(1)],
    ...(beside === undefined ? [] : [shareOf(name, result)]),
    ...(traffic === undefined ? [] : [traffic.requestsPerSecond.toFixed(0), percentiles(traffic)]),
    (heapBytes / 1e6).toFixed(1)
  ])
  return [
    ...[`### ${name}`, '', `| server | ${columns.join(' | ')} |`, `|---|${'---:|'.repeat(columns.length)}`],
    ...rows.map(cells => `| ${cells.join(' | ')} |`)
  ].join('\n')
}

function percentiles({ p50Ms, p99Ms, p999Ms }: Traffic): string {
  return [p50Ms, p99Ms, p999Ms].map(ms => ms.toFixed(2)).join(' / ')
}

function timelineTable({ name, moments }: Timeline): string {
  return [
    `## Over time: ${name}`,
    '',
    '| s | requests | CPU µs a request | heap MB | RSS MB | p50 / p99 ms |',
    '|---:|---:|---:|---:|---:|---:|',
    ...someOf(moments).map(
      ({ seconds, requests, cpuMicros, heapBytes, rssBytes, p50Ms, p99Ms }) =>
        `| ${seconds} | ${requests} | ${cpuMicros.toFixed(1)} | ${(heapBytes / 1e6).toFixed(1)} | ${(rssBytes / 1e6).toFixed(0)} | ${p50Ms.toFixed(2)} / ${p99Ms.toFixed(2)} |`
    )
  ].join('\n')
}

function figuresTable({ name, unit, figures }: Figures): string {
  return [
    `## ${name[0].toUpperCase()}${name.slice(1)}`,
    '',
    `| | ${unit} | target |`,
    '|---|---:|---|',
    ...figures.map(({ name, value, most }) => {
      const wanted = most === undefined ? '' : verdict(value <= most, `≤ ${plain(most)}`)
      return `| ${name} | ${plain(value)} | ${wanted} |`
    })
  ].join('\n')
}
