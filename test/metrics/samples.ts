/** Reads the Prometheus text format back, strictly enough to notice a broken line. */

const line = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^\n]*)\})? (\S+)(?: # \{[^\n]*\} \S+ \S+)?$/

export interface Sample {
  name: string
  labels: Record<string, string>
  value: number
}

export function samples(text: string): Sample[] {
  return text
    .split('\n')
    .filter(row => row !== '' && !row.startsWith('#'))
    .map(row => {
      const match = line.exec(row)
      if (match === null) throw new Error(`not a sample: ${row}`)
      return { name: match[1], labels: labelsOf(match[2] ?? ''), value: numberOf(match[3]) }
    })
}

/** The value of the one sample of this name whose labels include all of the given ones. */
export function sampleOf(
  text: string,
  name: string,
  labels: Record<string, string> = {}
): number | undefined {
  const found = samples(text).filter(
    sample =>
      sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value)
  )
  if (found.length > 1) throw new Error(`${found.length} samples of ${name} with ${JSON.stringify(labels)}`)
  return found[0]?.value
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  for (const [, name, value] of text.matchAll(/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"/g)) {
    labels[name] = value.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
  }
  return labels
}

function numberOf(text: string): number {
  return text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text)
}
