/** Remembers how texts that come again and again are printed: user agents, above all. */
import { jsonString } from './json-text.ts'

const slots = 256
/** Longer ones are not remembered: memory is bounded, whatever clients send. */
const maxRemembered = 512

/** A direct-mapped cache: a text that falls into another's slot takes it over. Comparing is far cheaper than escaping. */
export class PrintedTexts {
  readonly #texts: string[] = new Array(slots).fill('')
  readonly #printed: string[] = new Array(slots).fill('""')

  /** The text as `jsonString` prints it. */
  of(text: string): string {
    const slot = sample(text) & (slots - 1)
    if (this.#texts[slot] !== text) {
      this.#texts[slot] = text
      this.#printed[slot] = flat(jsonString(text))
    }
    return this.#printed[slot]
  }
}

interface Pair {
  first: string | undefined
  second: string | undefined
  printed: string
  flat: boolean
}

/** The same for two texts that stand side by side. What comes only once is not worth the copy that makes it one piece. */
export class PrintedPairs {
  readonly #print: (first: string | undefined, second: string | undefined) => string
  readonly #pairs: (Pair | undefined)[] = new Array(slots).fill(undefined)

  constructor(print: (first: string | undefined, second: string | undefined) => string) {
    this.#print = print
  }

  of(first: string | undefined, second: string | undefined): string {
    if (lengthOf(first) + lengthOf(second) > maxRemembered) return this.#print(first, second)
    const slot = (sample(first) + sample(second) * 5) & (slots - 1)
    const pair = this.#pairs[slot]
    if (pair !== undefined && pair.first === first && pair.second === second) {
      if (!pair.flat) {
        pair.printed = flat(pair.printed)
        pair.flat = true
      }
      return pair.printed
    }
    const printed = this.#print(first, second)
    this.#pairs[slot] = { first, second, printed, flat: false }
    return printed
  }
}

function lengthOf(text: string | undefined): number {
  return text === undefined ? 0 : text.length
}

/** A number that tells most texts apart, of three of their characters. */
export function sample(text: string | undefined): number {
  if (text === undefined || text === '') return 0
  const { length } = text
  return length * 31 + text.charCodeAt(length >> 1) * 7 + text.charCodeAt(length > 1 ? length - 2 : 0)
}

/** The same text in one piece of memory: what is copied often should not be put together each time. */
export function flat(asciiText: string): string {
  return Buffer.from(asciiText, 'latin1').toString('latin1')
}
