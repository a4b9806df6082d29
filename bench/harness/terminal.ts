/** What was measured, as lines for the terminal. */
import type { EndToEndResult, Figure, Figures, Timeline } from '../suite.ts'
import { type Report, type Result, shareOf } from './result.ts'
import { plain, someOf, time } from './units.ts'

export function reportLines({ results, endToEnd, timelines, figures }: Report): string[] {
  return [
    ...results.flatMap(resultLines),
    ...endToEnd.flatMap(endToEndLines),
    ...timelines.flatMap(timelineLines),
    ...figures.flatMap(figureLines)
  ]
}

/** The lines of one result: ratios first, then times. */
function resultLines({ row, measured, figures, mostNs, targets }: Result): string[] {
  const rows = measured.map(({ contender, medianNs, spread, ratio }, i) => {
    const target = targets.find(({ peer }) => peer === contender)
    const wanted = [
      ...(target === undefined ? [] : [verdict(target.met, `${Number(target.ratio.toPrecision(2))}x`)]),
      ...(i > 0 || mostNs === undefined ? [] : [verdict(medianNs <= mostNs, time(mostNs))])
    ].join('')
    return `  ${`${ratio.toFixed(2)}x`.padStart(9)}  ${time(medianNs).padStart(10)} ±${(spread * 50).toFixed(0).padStart(2)} %  ${contender}${wanted}`
  })
  return [row, ...rows, ...figures.map(figureLine)]
}

/** The lines of one end-to-end comparison: CPU a request, and what is above the first server. */
function endToEndLines(result: EndToEndResult): string[] {
  const { name, beside, servers } = result
  const bare = servers[0].cpuMicros
  return [
    `${name}: µs of CPU a request, above bare,${beside === undefined ? '' : ` share of ${beside},`} requests/s, p50/p99/p99.9 ms, heap MB`,
    ...servers.map(({ name, cpuMicros, traffic, heapBytes }) =>
      [
        cpuMicros.toFixed(1).padStart(7),
        `+${(cpuMicros - bare).toFixed(1)}`.padStart(7),
        shareOf(name, result).padStart(6),
        (traffic?.requestsPerSecond.toFixed(0) ?? '').padStart(7),
        (traffic === undefined
          ? ''
          : `${traffic.p50Ms.toFixed(1)}/${traffic.p99Ms.toFixed(1)}/${traffic.p999Ms.toFixed(1)}`
        ).padStart(15),
        (heapBytes / 1e6).toFixed(1).padStart(6),
        ` ${name}`
      ].join(' ')
    )
  ]
}

/** The lines of one timeline: a dozen of its moments. */
function timelineLines({ name, moments }: Timeline): string[] {
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

/** The lines of one list of figures. */
function figureLines({ name, unit, figures }: Figures): string[] {
  return [`${name}: ${unit}`, ...figures.map(figureLine)]
}

function figureLine({ name, value, most }: Figure): string {
  return `  ${plain(value).padStart(9)}  ${name}${most === undefined ? '' : verdict(value <= most, plain(most))}`
}

function verdict(met: boolean, wanted: string): string {
  return `  ${met ? 'reaches' : 'MISSES'} ${wanted}`
}
