/** Draws measurements as self-contained SVG that reads well on light and on dark. */
import { type ScaleContinuousNumeric, scaleBand, scaleLinear, scaleLog } from 'd3-scale'
import { curveLinear, line } from 'd3-shape'

export interface Bar {
  label: string
  value: number
  /** What the design asks for; drawn as a tick. */
  target?: number | undefined
}

export interface Curve {
  name: string
  points: readonly (readonly [x: number, y: number])[]
}

export interface Axis {
  label: string
  log?: boolean
}

const width = 760
/** Each stands out on white and on near-black. */
const colors = ['#2f6fd0', '#d0662f', '#2f9e6b', '#a04bc0', '#b8920f', '#7f8c99', '#d8436f', '#22a3b8']

/** Horizontal bars on a log axis that starts at 1: how many times the peer takes. */
export function barChart(title: string, bars: readonly Bar[]): string {
  const left = 330
  const height = 60 + bars.length * 24
  const y = scaleBand(
    bars.map((_, i) => i),
    [40, height - 20]
  ).padding(0.25)
  const most = Math.max(2, ...bars.flatMap(({ value, target }) => [value, target ?? 0]))
  const least = Math.min(1, ...bars.map(({ value }) => value))
  const x = scaleLog([least, most], [left, width - 70])
  const drawn = bars.map(({ label, value, target }, i) => {
    const top = y(i) ?? 0
    const from = Math.min(x(1), x(value))
    const tick =
      target === undefined
        ? ''
        : `<path class="target" d="M${x(target)} ${top - 3}V${top + y.bandwidth() + 3}"/>`
    return (
      `<text x="${left - 8}" y="${top + y.bandwidth() - 4}" text-anchor="end">${escaped(label)}</text>` +
      `<rect x="${from}" y="${top}" width="${Math.max(1, Math.abs(x(value) - x(1)))}" height="${y.bandwidth()}" fill="${colors[0]}"/>${tick}` +
      `<text x="${Math.max(x(value), x(1)) + 6}" y="${top + y.bandwidth() - 4}">${value.toPrecision(3)}×</text>`
    )
  })
  return svg(title, height, drawn.join('\n'))
}

/** Curves with a legend. */
export function lineChart(title: string, curves: readonly Curve[], xAxis: Axis, yAxis: Axis): string {
  const height = 420 + curves.length * 18
  const bottom = 380
  const xs = curves.flatMap(({ points }) => points.map(([x]) => x))
  const ys = curves.flatMap(({ points }) => points.map(([, y]) => y))
  const x = (xAxis.log ? scaleLog() : scaleLinear())
    .domain([Math.min(...xs), Math.max(...xs)])
    .range([70, width - 30])
  const y = (yAxis.log ? scaleLog() : scaleLinear())
    .domain([yAxis.log ? Math.min(...ys) : 0, Math.max(...ys)])
    .range([bottom, 40])
    .nice()
  const path = line<readonly [number, number]>()
    .x(([px]) => x(px))
    .y(([, py]) => y(py))
    .curve(curveLinear)
  const grid = [
    ...ticksOf(y, yAxis).map(
      tick =>
        `<path class="grid" d="M70 ${y(tick)}H${width - 30}"/><text x="64" y="${y(tick) + 4}" text-anchor="end">${short(tick)}</text>`
    ),
    ...ticksOf(x, xAxis).map(
      tick =>
        `<path class="grid" d="M${x(tick)} 40V${bottom}"/><text x="${x(tick)}" y="${bottom + 18}" text-anchor="middle">${short(tick)}</text>`
    )
  ]
  const drawn = curves.map(({ name, points }, i) => {
    const legend = bottom + 52 + i * 18
    const stroke = `fill="none" stroke="${colors[i % colors.length]}" stroke-width="2"${dashes(i)}`
    return (
      `<path d="${path(points)}" ${stroke}/>` +
      `<path d="M70 ${legend - 4}h30" ${stroke}/><text x="108" y="${legend}">${escaped(name)}</text>`
    )
  })
  const labels =
    `<text x="${width / 2}" y="${bottom + 34}" text-anchor="middle">${escaped(xAxis.label)}</text>` +
    `<text transform="translate(16 ${bottom / 2}) rotate(-90)" text-anchor="middle">${escaped(yAxis.label)}</text>`
  return svg(title, height, [...grid, labels, ...drawn].join('\n'))
}

/** A handful of round values: powers of ten where an axis spans some, else 1, 2 and 5 of each. */
function ticksOf(scale: ScaleContinuousNumeric<number, number>, { log }: Axis): number[] {
  if (!log) return scale.ticks(6)
  const [least, most] = scale.domain().map(Math.log10)
  const steps = most - least > 2 ? [1] : [1, 2, 5]
  const every = Math.max(1, Math.ceil((most - least) / 8))
  const ticks: number[] = []
  for (let power = Math.floor(least); power <= most; power += every) {
    for (const step of steps) ticks.push(step * 10 ** power)
  }
  return ticks.filter(tick => Math.log10(tick) >= least - 1e-9 && Math.log10(tick) <= most + 1e-9)
}

/** Beyond the colors there are, the same again in dashes. */
function dashes(i: number): string {
  const round = Math.floor(i / colors.length)
  return round === 0 ? '' : ` stroke-dasharray="${round * 6} 4"`
}

function svg(title: string, height: number, content: string): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12">
<style>
  svg { background: #fff } text { fill: #222 } .grid { stroke: #ddd } .target { stroke: #c22; stroke-width: 2 }
  @media (prefers-color-scheme: dark) { svg { background: #16181c } text { fill: #ddd } .grid { stroke: #333 } .target { stroke: #f77 } }
</style>
<title>${escaped(title)}</title>
<text x="16" y="22" font-size="15" font-weight="600">${escaped(title)}</text>
${content}
</svg>
`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

function short(value: number): string {
  if (value >= 1_000_000) return `${Number((value / 1_000_000).toPrecision(3))}M`
  return value >= 10_000 ? `${value / 1_000}k` : String(Number(value.toPrecision(3)))
}
