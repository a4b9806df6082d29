/** What a decision costs in memory, beside express-rate-limit's store and rate-limiter-flexible. */
import { MemoryStore, type Options } from 'express-rate-limit'
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { RateLimiter } from '../lib/rate-limit/rate-limiter.ts'
import { inTurn, namesOf, operations, timed, windowMs, windowSeconds } from './harness/limiter-contenders.ts'
import { counted } from './harness/units.ts'
import type { Contender, Row, Suite } from './suite.ts'

const million = 1_000_000

export const suite: Suite = {
  *rows({ quick }) {
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

function gapMs(keys: number, limit: number): number {
  return (windowMs * 1.25) / (keys * limit)
}
