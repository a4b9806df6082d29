/** Which requests a tier of limits is for. */
import { posix } from 'node:path'
import type { Exchange } from '../http/exchange.ts'
import { checkEntry } from '../http/path-filter.ts'
import { checkOption, shown } from '../options.ts'

export interface TierMatch {
  /** Paths that match as a whole. */
  exact?: readonly string[]
  /** Beginnings of paths, each ending in a slash. */
  prefix?: readonly string[]
  /** Default: any. `GET` is also `HEAD`. */
  methods?: readonly string[]
}

/** What a path must hold to mean another one to some handler or router further on. */
const otherReadings = /[%\\;#]|\/\/|\/\./
/** Of a path, what a URL parser does not take for one. */
const rest = /[?#].*/s
const decodings = 3

/**
 * Matches what any handler could take for one of the paths, so that no spelling gets around a limit: in upper case, with
 * a slash at the end, percent-encoded, with dot segments, doubled slashes, backslashes, path parameters or a fragment.
 */
export class TierMatcher {
  readonly #exact: ReadonlySet<string>
  readonly #prefix: readonly string[]
  readonly #methods: ReadonlySet<string> | undefined
  readonly #anyPath: boolean

  /** @throws TypeError when a path does not start with a slash, a prefix does not end in one, or nothing is matched */
  constructor(match: TierMatch) {
    checkOption(typeof match === 'object' && match !== null, 'rateLimit', 'match', 'an object', shown(match))
    const { exact = [], prefix = [], methods } = match
    for (const path of exact) checkEntry('rateLimit: match.exact', path, /^\//, 'start with a slash')
    for (const path of prefix)
      checkEntry('rateLimit: match.prefix', path, /^\/(?:.*\/)?$/, 'start and end with a slash')
    if (methods !== undefined)
      for (const method of methods)
        checkEntry('rateLimit: match.methods', method, /^[A-Z]+$/, 'be in capitals')
    if (exact.length + prefix.length === 0 && methods === undefined) {
      throw new TypeError('rateLimit: match must have exact, prefix or methods')
    }
    this.#exact = new Set(exact.map(withoutEnd))
    this.#prefix = prefix.map(path => path.toLowerCase())
    this.#methods = methods === undefined ? undefined : new Set(methods)
    this.#anyPath = exact.length + prefix.length === 0
  }

  matches({ req, path }: Exchange): boolean {
    if (this.#methods !== undefined && !this.#hasMethod(req.method ?? 'GET')) return false
    return this.#anyPath || this.#hasPath(path) || (otherReadings.test(path) && this.#hasOther(decoded(path)))
  }

  #hasMethod(method: string): boolean {
    return this.#methods!.has(method) || (method === 'HEAD' && this.#methods!.has('GET'))
  }

  #hasOther(path: string): boolean {
    return (
      this.#hasPath(plainest(path)) || (rest.test(path) && this.#hasPath(plainest(path.replace(rest, ''))))
    )
  }

  #hasPath(path: string): boolean {
    const lower = path.toLowerCase()
    if (this.#exact.has(withoutEnd(lower))) return true
    for (const prefix of this.#prefix) {
      if (lower.startsWith(prefix) || lower === withoutEnd(prefix)) return true
    }
    return false
  }
}

function decoded(path: string): string {
  let plain = path
  for (let i = 0; i < decodings && plain.includes('%'); i++) {
    plain = plain.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16))
    )
  }
  return plain
}

/** What the most lenient router would make of a path. */
function plainest(path: string): string {
  return posix.normalize(path.replaceAll('\\', '/').replace(/;[^/]*/g, ''))
}

function withoutEnd(path: string): string {
  const lower = path.toLowerCase()
  return lower.length > 1 && lower.endsWith('/') ? lower.slice(0, -1) : lower
}
