/** What it costs to share windows between threads: the shared limiter beside the one of a single thread. */
import { RateLimiter } from '../lib/rate-limit/rate-limiter.ts'
import { SharedRateLimiter } from '../lib/rate-limit/shared/shared-rate-limiter.ts'
import { counted } from './harness/units.ts'
import type { Contender, Row, Suite } from './suite.ts'

const operations = 2_000
const options = { maxRequests: 100, windowSeconds: 60, maxKeys: 200_000 }

export const suite: Suite = {
  *rows() {
    for (const keys of [1, 1_000, 100_000]) {
      yield row(`${counted(keys, 'key')}, allowed`, keys, 60_000 / keys)
      yield row(`${counted(keys, 'key')}, refused`, keys, 0)
    }
  }
}

/** @param gapMs between two requests of all */
function row(name: string, keys: number, gapMs: number): Row {
  const shared = new SharedRateLimiter(options)
  const plain = new RateLimiter(options)
  const names = Array.from({ length: keys }, (_, i) => `ip:10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
  if (gapMs === 0)
    for (const key of names) for (const limiter of [shared, plain]) limiter.consume(key, 100, 0)
  const contenders: [Contender, Contender] = [
    contender('ostiary, shared', shared, names, gapMs),
    contender('ostiary, one thread', plain, names, gapMs)
  ]
  return { name, contenders, figures: [{ name: 'bytes of shared memory', value: shared.stats.bytes }] }
}

function contender(
  name: string,
  limiter: RateLimiter | SharedRateLimiter,
  keys: string[],
  gapMs: number
): Contender {
  let now = 0
  let next = 0
  return {
    name,
    operations,
    run() {
      for (let i = 0; i < operations; i++) {
        limiter.consume(keys[next], 1, now)
        now += gapMs
        next = next + 1 === keys.length ? 0 : next + 1
      }
    }
  }
}
