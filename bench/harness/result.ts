/** What a run measured, and whether it holds what the design asks for. */
import type { EndToEndResult, Figures, Row, Timeline } from '../suite.ts'
import type { Measured } from './measure.ts'

export interface Result {
  suite: string
  row: string
  measured: Measured[]
  figures: Record<string, number>
  curve: Row['curve']
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
  return { suite, row: row.name, measured, figures: row.figures ?? {}, curve: row.curve, targets }
}

/** All targets that the run covers, those missed first. */
export function targetsOf({ results, endToEnd, figures }: Report): Target[] {
  const targets = [
    ...endToEnd.flatMap(overheads),
    ...results.flatMap(ratios),
    ...figures.flatMap(({ name, unit, figures }) => figures.flatMap(figure => bounds(name, unit, figure)))
  ]
  return targets.toSorted((a, b) => Number(a.met) - Number(b.met))
}

function overheads({ servers, targets = [] }: EndToEndResult): Target[] {
  const above = (wanted: string): number => {
    const found = servers.find(({ name }) => name === wanted)
    if (found === undefined) throw new Error(`no server called ${wanted}`)
    return found.cpuMicros - servers[0].cpuMicros
  }
  return targets.map(({ path, server, beside, share }) => {
    const [own, peer] = [above(server), above(beside)]
    return {
      path: `${path}, beside ${beside}`,
      wanted: `≤ 1/${Math.round(1 / share)} of its overhead`,
      reached: `1/${(peer / own).toFixed(1)}: ${own.toFixed(1)} of ${peer.toFixed(1)} µs`,
      met: own <= share * peer
    }
  })
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

function bounds(of: string, unit: string, { name, value, most }: Figures['figures'][number]): Target[] {
  if (most === undefined) return []
  const path = `${name}, ${of}`
  return [{ path, wanted: `≤ ${most} ${unit}`, reached: `${plain(value)} ${unit}`, met: value <= most }]
}

function plain(value: number): string {
  return String(Math.round(value * 100) / 100)
}
