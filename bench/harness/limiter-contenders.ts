/** Contenders of the benchmarks of rate limiters: decisions about many names in turn. */
import type { RateLimiter } from '../../lib/rate-limit/rate-limiter.ts'
import type { Contender } from '../suite.ts'

export const operations = 5_000
export const windowSeconds = 60
export const windowMs = windowSeconds * 1_000

/** @param gap ms between two decisions */
export function timed(name: string, limiter: RateLimiter, names: readonly string[], gap: number): Contender {
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

export function inTurn(name: string, names: readonly string[], use: (name: string) => unknown): Contender {
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

export function namesOf(keys: number): string[] {
  return Array.from({ length: keys }, (_, i) => `user:${100_000 + i}`)
}
