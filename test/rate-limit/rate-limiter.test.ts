import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { RateLimiter } from '../../lib/rate-limit/rate-limiter.ts'

interface Trace {
  name: string
  maxRequests: number
  windowMs: number
  /** time, cost, allowed, remaining, retryAfterMs (null: never), resetMs */
  events: [number, number, boolean, number, number | null, number][]
}

const { traces } = JSON.parse(
  readFileSync(new URL('../vectors/rate-limit-traces.json', import.meta.url), 'utf8')
) as { traces: Trace[] }

for (const { name, maxRequests, windowMs, events } of traces) {
  test(`trace: ${name}`, () => {
    const limiter = new RateLimiter({ maxRequests, windowSeconds: windowMs / 1_000 })
    for (const [time, cost, allowed, remaining, retryAfterMs, resetMs] of events) {
      const decision = limiter.consume('k', cost, time)
      const expected = {
        allowed,
        limit: maxRequests,
        remaining,
        retryAfterMs: retryAfterMs ?? undefined,
        resetMs
      }
      assert.deepEqual(decision, expected, `at ${time}, cost ${cost}`)
    }
  })
}
