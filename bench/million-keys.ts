/** A million live keys: what a decision and a key cost then. In a suite of its own: nothing else is to lie in memory. */
import { RateLimiter } from '../lib/rate-limit/rate-limiter.ts'
import { inTurn, namesOf, timed, windowMs, windowSeconds } from './harness/limiter-contenders.ts'
import { shuffledOrder } from './harness/random.ts'
import { counted } from './harness/units.ts'
import type { Contender, Row, Suite } from './suite.ts'

const million = 1_000_000

export const suite: Suite = {
  *rows({ quick }) {
    yield millionRow()
    if (!quick) yield shuffledRow()
  }
}

/**
 * The names are the same string objects every time, as a verified user's are out of the token cache, and come in turn: what
 * is per key stands in memory in that order, what is found by hash does not.
 */
function millionRow(): Row {
  const many = filled(million)
  const few = filled(1_000)
  return {
    name: `${counted(million, 'key')} beside 1 000`,
    contenders: [
      timed('ostiary, 1 000 000 keys', many.limiter, many.names, calmGapMs(million)),
      timed('ostiary, 1 000 keys', few.limiter, few.names, calmGapMs(1_000)),
      mapped('no limiter: a Map of 1 000 000 names and one number read', many.names, placesOf(many.names))
    ],
    targets: [{ peer: 'ostiary, 1 000 keys', ratio: 1 / 3 }],
    // 120 a key and 8 a stamp.
    figures: [
      { name: 'bytes a key with one stamp', value: many.bytesPerKey, most: 128 },
      { name: 'ms of the longest decision while 1 000 000 keys come', value: longestMs(many.names) }
    ]
  }
}

/** The same in an order that no cache foresees. Then even to look at the name waits for memory: that is shown apart. */
function shuffledRow(): Row {
  const many = filled(million)
  const few = filled(1_000)
  const manyNames = shuffled(many.names)
  let characters = 0
  return {
    name: `${counted(million, 'key')} beside 1 000, in random order`,
    contenders: [
      timed('ostiary, 1 000 000 keys', many.limiter, manyNames, calmGapMs(million)),
      timed('ostiary, 1 000 keys', few.limiter, shuffled(few.names), calmGapMs(1_000)),
      inTurn('no limiter: 1 000 000 names are looked at', manyNames, name => {
        characters = (characters + name.length) | 0
      }),
      mapped('no limiter: a Map of 1 000 000 names and one number read', manyNames, placesOf(many.names))
    ]
  }
}

/** The least that anything can cost that finds a number by a name, if it leaves that to the engine. */
function mapped(name: string, names: readonly string[], places: ReadonlyMap<string, number>): Contender {
  const numbers = new Float64Array(names.length).fill(1)
  let sum = 0
  return inTurn(name, names, key => {
    sum = (sum + numbers[places.get(key) as number]) | 0
  })
}

function placesOf(names: readonly string[]): Map<string, number> {
  return new Map(names.map((name, place) => [name, place]))
}

/** A limiter with one stamp for every key, and what that takes: slots, rings, the table, and the keys themselves. */
function filled(keys: number): { limiter: RateLimiter; names: string[]; bytesPerKey: number } {
  const limiter = new RateLimiter({ maxRequests: 100, windowSeconds, maxKeys: keys })
  const before = memoryUsed()
  const names = namesOf(keys)
  for (const [i, name] of names.entries()) limiter.consume(name, 1, i * calmGapMs(keys) - windowMs)
  // The benchmark's own list of the names is not the limiter's.
  return { limiter, names, bytesPerKey: (memoryUsed() - before) / keys - 8 }
}

/** What takes a decision long by its nature does so each time: of several fills, the least of each is compared. */
function longestMs(names: readonly string[]): number {
  const least = new Float64Array(names.length).fill(Infinity)
  for (let fill = 0; fill < 4; fill++) {
    const limiter = new RateLimiter({ maxRequests: 100, windowSeconds, maxKeys: names.length })
    for (const [i, name] of names.entries()) {
      const startedAt = performance.now()
      limiter.consume(name, 1, i * calmGapMs(names.length))
      least[i] = Math.min(least[i], performance.now() - startedAt)
    }
  }
  return least.reduce((one, other) => Math.max(one, other))
}

function memoryUsed(): number {
  // Array buffers of earlier rows are given back beside the collection: the next one waits for that.
  for (let i = 0; i < 3; i++) (globalThis as { gc?: () => void }).gc?.()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

function shuffled(names: readonly string[]): string[] {
  return Array.from(shuffledOrder(names.length), i => names[i])
}

/** One request of each key in three quarters of a window: each finds one that counts, and one that just expired. */
function calmGapMs(keys: number): number {
  return (windowMs * 0.75) / keys
}
