/** Remembers how texts that come again and again are printed: user agents, above all. */
import { jsonString } from './json-text.ts'

const slots = 256

/** A direct-mapped cache: a text that falls into another's slot takes it over. Comparing is far cheaper than escaping. */
export class PrintedTexts {
  readonly #texts: string[] = new Array(slots).fill('')
  readonly #printed: string[] = new Array(slots).fill('""')

  /** The text as `jsonString` prints it. */
  of(text: string): string {
    const { length } = text
    const slot = (length * 31 + text.charCodeAt(length >> 1) * 7 + text.charCodeAt(length - 2)) & (slots - 1)
    if (this.#texts[slot] !== text) {
      this.#texts[slot] = text
      this.#printed[slot] = flat(jsonString(text))
    }
    return this.#printed[slot]
  }
}

/** The same text in one piece of memory: what is copied often should not be put together each time. */
export function flat(asciiText: string): string {
  return Buffer.from(asciiText, 'latin1').toString('latin1')
}
