/** Which paths a stage skips. */
import { checkObject, checkOption, shown } from '../options.ts'

export interface PathFilterOptions {
  /** Paths that match as a whole. */
  exact?: readonly string[]
  /** Beginnings of paths, each ending in a slash. */
  prefix?: readonly string[]
}

/** Health checks, metrics and static files: what the stages skip unless told otherwise. */
export const defaultSkip: Required<PathFilterOptions> = {
  exact: ['/health', '/healthz', '/ready', '/metrics'],
  prefix: ['/static/']
}

/**
 * Anything that a handler, a router or `new URL` could read as another path: dot segments, an encoded dot, slash,
 * backslash, percent or control, doubled slashes, backslashes, path parameters, fragments, and what is not printable ASCII.
 */
const ambiguous = /\/\.{1,2}(?:[/;]|$)|%(?:2e|2f|5c|25|[01][0-9a-f]|7f)|\/\/|[\\;#]|[^!-~]/i

/**
 * Decides on the path as received, and never matches one that could mean another path further on.
 * @throws TypeError when it is told something else than lists, an entry does not start with a slash, or a prefix does not end
 *   in one
 */
export class PathFilter {
  readonly #exact: ReadonlySet<string>
  /** Of the exact paths, a bit each, so that hardly a path has to be hashed; the last stands for 31 and more. */
  readonly #lengths: number
  readonly #prefix: readonly string[]

  constructor(options: PathFilterOptions) {
    checkPathFilterOptions('PathFilter', 'options', options)
    const { exact = [], prefix = [] } = options
    checkOption(Array.isArray(exact), 'PathFilter', 'exact', 'a list', shown(exact))
    checkOption(Array.isArray(prefix), 'PathFilter', 'prefix', 'a list', shown(prefix))
    for (const path of exact) checkPath('exact', path, /^\//, 'start with a slash')
    for (const path of prefix) checkPath('prefix', path, /^\/(?:.*\/)?$/, 'start and end with a slash')
    this.#exact = new Set(exact)
    this.#lengths = exact.reduce((bits, path) => bits | lengthBit(path), 0)
    this.#prefix = [...prefix]
  }

  /** @param path the request path without the query, as received */
  matches(path: string): boolean {
    if ((this.#lengths & lengthBit(path)) !== 0 && this.#exact.has(path)) return !ambiguous.test(path)
    for (let i = 0; i < this.#prefix.length; i++) {
      if (path.startsWith(this.#prefix[i])) return !ambiguous.test(path)
    }
    return false
  }
}

function lengthBit({ length }: string): number {
  return 1 << Math.min(length, 31)
}

/**
 * A list, or another name in the place of `exact` and `prefix`, would skip nothing without a word.
 * @throws TypeError that names the owner's option
 */
export function checkPathFilterOptions(owner: string, option: string, value: unknown): void {
  checkObject(owner, option, value)
  const other = Object.keys(value as object).find(name => name !== 'exact' && name !== 'prefix')
  const wrong = Array.isArray(value) ? value : other
  checkOption(wrong === undefined, owner, option, 'an object of exact and prefix', shown(wrong))
}

function checkPath(option: string, path: unknown, pattern: RegExp, rule: string): void {
  checkEntry(`PathFilter: ${option}`, path, pattern, rule)
  if (ambiguous.test(path)) throw wrongEntry(`PathFilter: ${option}`, path, 'have one reading')
}

/** @throws TypeError unless an entry of a list is a text of some form */
export function checkEntry(
  list: string,
  entry: unknown,
  pattern: RegExp,
  rule: string
): asserts entry is string {
  if (typeof entry !== 'string' || !pattern.test(entry)) throw wrongEntry(list, entry, rule)
}

function wrongEntry(list: string, entry: unknown, rule: string): TypeError {
  return new TypeError(`${list} entries must ${rule}, got ${shown(entry)}`)
}
