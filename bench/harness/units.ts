/** How figures are written. */

/** @param ns nanoseconds */
export function time(ns: number): string {
  if (ns < 1_000) return `${ns.toPrecision(3)} ns`
  if (ns < 1_000_000) return `${(ns / 1_000).toPrecision(3)} µs`
  return ns < 1e9 ? `${(ns / 1_000_000).toPrecision(3)} ms` : `${(ns / 1e9).toPrecision(3)} s`
}

/** At most two decimals. */
export function plain(value: number): string {
  return String(Math.round(value * 100) / 100)
}

/** `1 key`, `1 000 keys`. */
export function counted(count: number, what: string): string {
  return `${count.toLocaleString('en').replaceAll(',', ' ')} ${what}${count === 1 ? '' : 's'}`
}

/** A dozen of many, the last among them. */
export function someOf<T>(all: readonly T[]): T[] {
  const step = Math.max(1, Math.ceil(all.length / 12))
  return all.filter((_, i) => i === all.length - 1 || i % step === 0)
}
