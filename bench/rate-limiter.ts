/** What a decision costs in memory: beside express-rate-limit's store and rate-limiter-flexible, and by number of keys. */
import { MemoryStore, type Options } from 'express-rate-limit'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { RateLimiter } from '../lib/rate-limit/rate-limiter.ts'
import { shuffledOrder } from './harness/random.ts'
import { counted } from './harness/units.ts'
import type { Contender, Row, Suite } from './suite.ts'

const operations = 5_000
const windowSeconds = 60
const windowMs = windowSeconds * 1_000
const million = 1_000_000

export const suite: Suite = {
  *rows({ quick }) {
    // First, while nothing else takes memory that its figure could be mistaken for.
    yield millionRow()
    if (!quick) yield shuffledRow()
    const counts = quick ? [1_000, 100_000] : [1, 1_000, 100_000, million]
    const otherLimits = quick ? [] : [10, 1_000]
    for (const keys of counts) yield allowedRow(keys, 100)
    for (const limit of otherLimits) yield allowedRow(1_000, limit)
    // At a million keys every one of them has to be filled first.
    for (const keys of counts) yield refusedRow(keys, keys < million ? 100 : 10)
    for (const limit of otherLimits) yield refusedRow(1_000, limit)
    yield ownClockRow()
    yield floodRow()
  }
}

/** Four of five units of every window are used, so that each request also sees one expire. */
function allowedRow(keys: number, limit: number): Row {
  const names = namesOf(keys)
  const options = { maxRequests: limit, windowSeconds, maxKeys: keys }
  return {
    name: `${counted(keys, 'key')}, limit ${limit}, allowed`,
    contenders: [
      timed('ostiary, now given', new RateLimiter(options), names, gapMs(keys, limit)),
      clocked(new RateLimiter({ ...options, clock: readClock(gapMs(keys, limit)) }), names),
      ...peers(names, limit * million)
    ],
    ...(keys === 1_000 && limit === 100 ? { targets: targets(4, 10) } : {})
  }
}

function refusedRow(keys: number, limit: number): Row {
  const names = namesOf(keys)
  const limiter = new RateLimiter({ maxRequests: limit, windowSeconds, maxKeys: keys, clock: readClock(0) })
  for (const name of names) for (let i = 0; i < limit; i++) limiter.consume(name, 1, 0)
  return {
    name: `${counted(keys, 'key')}, limit ${limit}, refused`,
    contenders: [timed('ostiary, now given', limiter, names, 0), clocked(limiter, names), ...peers(names, 1)]
  }
}

function ownClockRow(): Row {
  const names = namesOf(1_000)
  const limiter = new RateLimiter({ maxRequests: 100, windowSeconds })
  return {
    name: '1 000 keys, limit 100, its own clock',
    contenders: [clocked(limiter, names), ...peers(names, 100)],
    targets: targets(1.4, 3.5)
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

/** Every request brings a key that was never seen; a tenth of what comes within a window has room. */
function floodRow(): Row {
  const limiter = new RateLimiter({ maxRequests: 100, windowSeconds })
  const store = memoryStore()
  let fresh = 0
  let now = 0
  return {
    name: 'a flood of fresh keys',
    contenders: [
      {
        name: 'ostiary, at its cap of 100 000 keys',
        operations,
        run() {
          for (let i = 0; i < operations; i++) {
            now += 0.06
            limiter.consume(`ip:${fresh++}`, 1, now)
          }
        }
      },
      {
        name: 'express-rate-limit, which forgets nobody',
        operations,
        async run() {
          for (let i = 0; i < operations; i++) await store.increment(`ip:${fresh++}`)
          // It has no cap. The benchmark's own memory has.
          if (fresh > 2 * million) await store.resetAll()
        }
      }
    ],
    close: () => store.shutdown()
  }
}

function peers(names: readonly string[], limit: number): Contender[] {
  const store = memoryStore()
  const flexible = new RateLimiterMemory({ points: limit, duration: windowSeconds })
  return [
    awaiting('express-rate-limit', names, async name => (await store.increment(name)).totalHits <= limit),
    awaiting('rate-limiter-flexible', names, name =>
      flexible.consume(name).then(
        () => true,
        () => false
      )
    )
  ]
}

function targets(express: number, flexible: number): { peer: string; ratio: number }[] {
  return [
    { peer: 'express-rate-limit', ratio: express },
    { peer: 'rate-limiter-flexible', ratio: flexible }
  ]
}

function memoryStore(): MemoryStore {
  const store = new MemoryStore()
  store.init({ windowMs } as Options)
  return store
}

function timed(name: string, limiter: RateLimiter, names: readonly string[], gap: number): Contender {
  let next = 0
  let now = 1
  return {
    name,
    operations,
    run() {
      // Locals: a variable that a closure shares costs as much as part of what is measured.
      let i = next
      let time = now
      for (let n = 0; n < operations; n++) {
        time += gap
        limiter.consume(names[i], 1, time)
        i = i + 1 === names.length ? 0 : i + 1
      }
      next = i
      now = time
    }
  }
}

function clocked(limiter: RateLimiter, names: readonly string[]): Contender {
  return inTurn('ostiary, its own clock', names, name => limiter.consume(name))
}

/** Costs what a limiter's own clock does, and gives the time that a row is about: some ms later each time. */
function readClock(gap: number): () => number {
  let time = 1
  return () => {
    performance.now()
    time += gap
    return time
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

function inTurn(name: string, names: readonly string[], use: (name: string) => unknown): Contender {
  let next = 0
  return {
    name,
    operations,
    run() {
      let i = next
      for (let n = 0; n < operations; n++) {
        use(names[i])
        i = i + 1 === names.length ? 0 : i + 1
      }
      next = i
    }
  }
}

function awaiting(
  name: string,
  names: readonly string[],
  consume: (name: string) => Promise<boolean>
): Contender {
  let next = 0
  return {
    name,
    operations,
    async run() {
      let i = next
      for (let n = 0; n < operations; n++) {
        await consume(names[i])
        i = i + 1 === names.length ? 0 : i + 1
      }
      next = i
    }
  }
}

/** A limiter with one stamp for every key, and what that takes: slots, rings, the table, and the keys themselves. */
function filled(keys: number): { limiter: RateLimiter; names: string[]; bytesPerKey: number } {
  const limiter = new RateLimiter({ maxRequests: 100, windowSeconds, maxKeys: keys })
  const before = memoryUsed()
  const names: string[] = new Array(keys)
  for (let i = 0; i < keys; i++) {
    names[i] = `user:${100_000 + i}`
    limiter.consume(names[i], 1, i * calmGapMs(keys) - windowMs)
  }
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

function namesOf(keys: number): string[] {
  return Array.from({ length: keys }, (_, i) => `user:${100_000 + i}`)
}

/** One request of each key in three quarters of a window: each finds one that counts, and one that just expired. */
function calmGapMs(keys: number): number {
  return (windowMs * 0.75) / keys
}

function gapMs(keys: number, limit: number): number {
  return (windowMs * 1.25) / (keys * limit)
}
