/** One of several processes that ask one limiter: sends [before, after, key] of all that was admitted, in ms of one clock. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { RedisRateLimiter } from '../../../lib/redis.ts'

const [port, name, maxRequests, windowSeconds, lease, leaseMs, runMs, share] = process.argv.slice(2)
const client = new Redis(Number(port), '127.0.0.1')
const limiter = new RedisRateLimiter({
  client,
  name,
  maxRequests: Number(maxRequests),
  windowSeconds: Number(windowSeconds),
  lease: Number(lease),
  leaseMs: Number(leaseMs),
  timeoutMs: 60_000
})

const admitted: [number, number, number][] = []
await limiter.peek('warm')
process.send!('ready')
await new Promise(resolve => process.once('message', resolve))
const end = milliseconds() + Number(runMs)
await Promise.all([work(0), work(0), work(0), work(1), work(2)])
await limiter.close()
process.send!({ admitted, stats: limiter.stats }, () => {
  client.disconnect()
  process.disconnect()
})

async function work(key: number): Promise<void> {
  for (let i = 0; milliseconds() < end || admittedOf(key) < Number(share); i++) {
    const before = milliseconds()
    const { allowed } = await limiter.consume(`key-${key}`)
    if (allowed) admitted.push([before, milliseconds(), key])
    // Some bursts, some silences: leases end used, half used and unused.
    if (i % 64 === 0) await sleep((i * 7) % 90)
    else if (!allowed) await sleep(1)
  }
}

function admittedOf(key: number): number {
  return admitted.filter(entry => entry[2] === key).length
}

function milliseconds(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1_000 + nanoseconds / 1e6
}
