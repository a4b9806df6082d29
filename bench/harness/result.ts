/** What a run measured, and whether it holds what the design asks for. */
import type { EndToEndResult, Figure, Figures, Row, Timeline } from '../suite.ts'
import type { Measured } from './measure.ts'
import { plain, time } from './units.ts'

export interface Result {
  suite: string
  row: string
  measured: Measured[]
  figures: Figure[]
  curve: Row['curve']
  mostNs: number | undefined
  targets: { peer: string; ratio: number; reached: number; met: boolean }[]
}

export interface Report {
  results: Result[]
  endToEnd: EndToEndResult[]
  timelines: Timeline[]
  figures: Figures[]
}

export function emptyReport(): Report {
  return { results: [], endToEnd: [], timelines: [], figures: [] }
}

/** One line of the table of targets. */
export interface Target {
  path: string
  wanted: string
  reached: string
  met: boolean
}

export function resultOf(suite: string, row: Row, measured: Measured[]): Result {
  const targets = (row.targets ?? []).map(({ peer, ratio }) => {
    const found = measured.find(({ contender }) => contender === peer)
    if (found === undefined) throw new Error(`${suite} / ${row.name}: no contender called ${peer}`)
    return { peer, ratio, reached: found.ratio, met: found.ratio >= ratio }
  })
  const { name, figures = [], curve, mostNs } = row
  return { suite, row: name, measured, figures, curve, mostNs, targets }
}

/** Less is nothing that can be told from how one process differs from the next. */
const leastShare = 1 / 50

/** What the overhead of one is as a share of another's, such as `1/4.2`: for those that have one. */
export function shareOf(name: string, { servers, beside }: EndToEndResult): string {
  if (beside === undefined || name === servers[0].name) return ''
  const [own, peer] = [overheadOf(name, servers), overheadOf(beside, servers)]
  if (own < leastShare * peer) return `< 1/${1 / leastShare}`
  return own < peer ? `1/${(peer / own).toFixed(1)}` : plain(own / peer)
}

/** All targets that the run covers, those missed first. */
export function targetsOf({ results, endToEnd, figures }: Report): Target[] {
  const targets = [
    ...endToEnd.flatMap(overheads),
    ...results.flatMap(ratios),
    ...results.flatMap(times),
    ...results.flatMap(({ suite, row, figures }) => bounds(`${suite}: ${row}`, '', figures)),
    ...figures.flatMap(({ name, unit, figures }) => bounds(name, unit, figures))
  ]
  return targets.toSorted((a, b) => Number(a.met) - Number(b.met))
}

function overheads({ servers, beside, targets = [] }: EndToEndResult): Target[] {
  if (beside === undefined) return []
  const peer = overheadOf(beside, servers)
  return targets.map(({ path, server, share }) => {
    const own = overheadOf(server, servers)
    return {
      path: `${path}, beside ${beside}`,
      wanted: `≤ 1/${Math.round(1 / share)} of its overhead`,
      reached: `1/${(peer / own).toFixed(1)}: ${own.toFixed(1)} of ${peer.toFixed(1)} µs`,
      met: own <= share * peer
    }
  })
}

/** @returns µs a request above bare */
function overheadOf(wanted: string, servers: EndToEndResult['servers']): number {
  const found = servers.find(({ name }) => name === wanted)
  if (found === undefined) throw new Error(`no server called ${wanted}`)
  return found.cpuMicros - servers[0].cpuMicros
}

function ratios({ suite, row, targets }: Result): Target[] {
  return targets.map(({ peer, ratio, reached, met }) => ({
    path: `${suite}: ${row}, beside ${peer}`,
    // A peer that must not be much faster is easier read the other way round.
    wanted: ratio < 1 ? `≤ ${plain(1 / ratio)}× its time` : `≥ ${plain(ratio)}× as fast`,
    reached: ratio < 1 ? `${(1 / reached).toFixed(2)}×` : `${reached.toFixed(1)}×`,
    met
  }))
}

function times({ suite, row, measured, mostNs }: Result): Target[] {
  if (mostNs === undefined) return []
  const [{ medianNs }] = measured
  return [
    {
      path: `${suite}: ${row}`,
      wanted: `≤ ${time(mostNs)}`,
      reached: time(medianNs),
      met: medianNs <= mostNs
    }
  ]
}

function bounds(of: string, unit: string, figures: readonly Figure[]): Target[] {
  return figures.flatMap(({ name, value, most }) => {
    if (most === undefined) return []
    const path = `${of}: ${name}`
    const inUnit = (figure: number): string => `${plain(figure)} ${unit}`.trim()
    return [{ path, wanted: `≤ ${inUnit(most)}`, reached: inUnit(value), met: value <= most }]
  })
}
