/** Remembers what lines said, so that the next that says the same is copied from the last in the memory of the sink. */
import type { Exchange } from '../http/exchange.ts'
import type { AuditSink } from './audit-logger.ts'
import type { LinePlace } from './line-chunk.ts'
import { flat, sample } from './printed-texts.ts'
import type { PrintedTime } from './printed-time.ts'

/** A sink that keeps lines in memory for a while, and can copy one there. */
export interface RepeatingSink extends AuditSink {
  /** Another number whenever the memory is another, or was emptied: what was in it before cannot be copied. */
  readonly filling: number
  /** Notes where the line is that was written last; its length is known. */
  locate(last: LinePlace): void
  /**
   * Takes the line that is at this place once more, with another time and duration. The place is then that of the copy.
   * @returns false when it must be written instead
   */
  repeat(place: LinePlace, time: PrintedTime, durationMicros: number): boolean
}

const repeatingSinks = new WeakSet<AuditSink>()

/** Said by a sink itself when it is made: one that extends it may want to see every line. */
export function declareRepeating(sink: RepeatingSink): void {
  repeatingSinks.add(sink)
}

export function isRepeating(sink: AuditSink): sink is RepeatingSink {
  return repeatingSinks.has(sink)
}

/** Lines that are remembered at most: more than a chunk of a file holds, so that few fall into one slot. */
const slots = 2_048
/** The upper bits of a number tell the slot. */
const slotShift = 21
/** Others that come to a line's place before one of them takes it. */
const patience = 8
/** Texts of a request that are longer together are not remembered: memory is bounded, whatever clients send. */
const maxRemembered = 1_024

/** What a line says, time and duration left out, and where it is. */
export class RepeatedLine implements LinePlace {
  filling = 0
  at = 0
  length = 0
  durationAt = 0
  durationLength = 0
  second = 0
  #caller: object | undefined = undefined
  #tokenId: string | undefined = undefined
  #path = ''
  #method: string | undefined = ''
  #statusCode = 0
  #address: string | undefined = undefined
  #userAgent: string | undefined = undefined
  #outcome = ''
  #deniedBy: string | undefined = undefined
  #reason: string | undefined = undefined
  /** How many others came to its place since it came itself. */
  #others = 0

  /** Whether it can become another: one that still comes is not given up for each that comes by. */
  get isFree(): boolean {
    return this.#caller === undefined || this.#others >= patience
  }

  says(caller: object, exchange: Exchange): boolean {
    const { req, denial } = exchange
    const isSame =
      this.#caller === caller &&
      this.#statusCode === exchange.statusCode &&
      this.#tokenId === exchange.tokenId &&
      this.#path === exchange.path &&
      this.#method === req.method &&
      this.#userAgent === req.headers['user-agent'] &&
      this.#address === exchange.clientAddress &&
      this.#outcome === exchange.outcome &&
      this.#deniedBy === denial?.stage &&
      this.#reason === denial?.reason
    this.#others = isSame ? 0 : this.#others + 1
    return isSame
  }

  become(caller: object, exchange: Exchange): void {
    const { req, denial } = exchange
    this.#others = 0
    this.#caller = caller
    this.#tokenId = exchange.tokenId
    this.#path = detached(exchange.path)
    this.#method = req.method
    this.#statusCode = exchange.statusCode
    this.#address = exchange.clientAddress
    this.#userAgent = req.headers['user-agent']
    this.#outcome = exchange.outcome
    this.#deniedBy = denial?.stage
    this.#reason = denial?.reason
  }
}

/** A direct-mapped table: a line that comes twice in a row to its slot has it. */
export class RepeatedLines {
  readonly #lines: (RepeatedLine | undefined)[] = new Array(slots).fill(undefined)
  /** What came to each slot last, and to which filling, as a number: a line that comes once must cost next to nothing. */
  readonly #numbers = new Int32Array(slots)

  /**
   * The line that this exchange's may be a copy of, or that may become one to copy from.
   * @param callerNumber of the caller alone
   * @param filling of the sink: a line must come there once before it is looked for
   */
  for(callerNumber: number, exchange: Exchange, filling: number): RepeatedLine | undefined {
    const { path, tokenId, error } = exchange
    // A token's id may be anything where somebody else verified the token.
    if (error !== undefined || (tokenId !== undefined && typeof tokenId !== 'string')) return undefined
    // What tells one line of a caller from another's, most of the time: who sends none with a token is told by the address.
    const sender = sample(tokenId ?? exchange.clientAddress)
    const parts =
      callerNumber + sample(path) * 0x101 + ending(path) * 0x3_001 + exchange.statusCode * 0x10_007
    const number = (Math.imul(parts, 0x9e37_79b1) + Math.imul(sender, 0x85eb_ca6b)) | 0
    const slot = number >>> slotShift
    const here = number ^ filling
    if (this.#numbers[slot] !== here) {
      this.#numbers[slot] = here
      return undefined
    }
    const texts = path.length + lengthOf(exchange.req.headers['user-agent']) + lengthOf(tokenId)
    if (texts > maxRemembered) return undefined
    const line = this.#lines[slot]
    if (line !== undefined) return line
    const fresh = new RepeatedLine()
    this.#lines[slot] = fresh
    return fresh
  }
}

/** Where most paths that are alike differ. */
function ending(path: string): number {
  const { length } = path
  return path.charCodeAt(length - 1) + (length < 3 ? 0 : path.charCodeAt(length - 3) * 0x83)
}

/** The path by itself: as it came it may be a part of the whole URL, which it would keep in memory. */
function detached(path: string): string {
  const copy = flat(path)
  return copy === path ? copy : path
}

function lengthOf(text: string | undefined): number {
  return text === undefined ? 0 : text.length
}
