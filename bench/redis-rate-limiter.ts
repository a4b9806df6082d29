/** Limits on a real redis-server over loopback: single calls and leases beside the usual Redis limiters. */
import { Redis } from 'ioredis'
import { RedisStore } from 'rate-limit-redis'
import { RateLimiterRedis } from 'rate-limiter-flexible'
import { RedisRateLimiter } from '../lib/redis.ts'
import { missing } from '../test/support/program.ts'
import { startRedis } from '../test/support/redis-server.ts'
import type { Contender, Row, Suite } from './suite.ts'

/** Never reached: allowed requests are measured. What a sliding window holds is what one second brings. */
const limit = 10_000_000
const windowSeconds = 1
const lease = 1_000
/** Requests one after another that make one measurement at concurrency 1. */
const inTurn = 32

type Consume = (key: string) => Promise<unknown>

export const suite: Suite = {
  async *rows() {
    const skipped = missing('redis-server')
    if (skipped !== false) {
      console.log(`skipped: ${skipped}`)
      return
    }
    for (const concurrency of [1, 64, 512]) yield await allowedRow(concurrency)
    yield await refusedRow()
  }
}

async function allowedRow(concurrency: number): Promise<Row> {
  const site = await Site.open()
  const leasing = site.limiter(limit, lease)
  const single = site.limiter(limit, 1)
  const peers: Contender[] = []
  for (const pipelining of [false, true]) {
    const how = pipelining ? ', auto-pipelining' : ''
    peers.push(
      contender(`rate-limiter-flexible${how}`, concurrency, site.flexible(limit, pipelining)),
      contender(`rate-limit-redis${how}`, concurrency, await site.store(pipelining))
    )
    if (pipelining) {
      const piped = site.limiter(limit, 1, true)
      peers.push(contender('ostiary, single calls, auto-pipelining', concurrency, key => piped.consume(key)))
    }
  }
  return {
    name: `one hot key, allowed, concurrency ${concurrency}`,
    contenders: [
      contender(`ostiary, leases of ${lease}`, concurrency, key => leasing.consume(key)),
      contender('ostiary, single calls', concurrency, key => single.consume(key)),
      ...peers
    ],
    targets: [
      { peer: 'rate-limiter-flexible', ratio: 10 },
      { peer: 'rate-limiter-flexible, auto-pipelining', ratio: 10 }
    ],
    close: () => site.close()
  }
}

/** A key that is over its limit; rate-limiter-flexible is told to remember that in memory too. */
async function refusedRow(): Promise<Row> {
  const site = await Site.open()
  const limiter = site.limiter(1, 1, false, 3_600)
  const flexible = new RateLimiterRedis({
    storeClient: site.client(false),
    points: 1,
    duration: 3_600,
    inMemoryBlockOnConsumed: 1
  })
  return {
    name: 'one blocked key, refused',
    contenders: [
      contender('ostiary', 1, key => limiter.consume(key)),
      contender('rate-limiter-flexible, inMemoryBlockOnConsumed', 1, key =>
        flexible.consume(key).catch(() => undefined)
      )
    ],
    close: () => site.close()
  }
}

function contender(name: string, concurrency: number, consume: Consume): Contender {
  if (concurrency === 1) {
    return {
      name,
      operations: inTurn,
      async run() {
        for (let i = 0; i < inTurn; i++) await consume('hot')
      }
    }
  }
  return {
    name,
    operations: concurrency,
    async run() {
      const pending: Promise<unknown>[] = []
      for (let i = 0; i < concurrency; i++) pending.push(consume('hot'))
      await Promise.all(pending)
    }
  }
}

/** A server with its clients and limiters. */
class Site {
  readonly #port: number
  readonly #cleanups: (() => Promise<void> | void)[]
  #limiters = 0

  constructor(port: number, cleanups: (() => Promise<void> | void)[]) {
    this.#port = port
    this.#cleanups = cleanups
  }

  static async open(): Promise<Site> {
    const cleanups: (() => Promise<void> | void)[] = []
    const server = await startRedis({ after: fn => cleanups.unshift(fn) })
    return new Site(server.port, cleanups)
  }

  client(enableAutoPipelining: boolean): Redis {
    const client = new Redis(this.#port, '127.0.0.1', { enableAutoPipelining })
    this.#cleanups.unshift(() => client.disconnect())
    return client
  }

  limiter(maxRequests: number, lease: number, pipelining = false, seconds = windowSeconds): RedisRateLimiter {
    const limiter = new RedisRateLimiter({
      client: this.client(pipelining),
      maxRequests,
      windowSeconds: seconds,
      lease,
      name: String(++this.#limiters),
      timeoutMs: 10_000
    })
    this.#cleanups.unshift(() => limiter.close())
    return limiter
  }

  flexible(points: number, pipelining: boolean): Consume {
    const keyPrefix = `flexible-${pipelining}`
    const limiter = new RateLimiterRedis({
      storeClient: this.client(pipelining),
      points,
      duration: windowSeconds,
      keyPrefix
    })
    return key => limiter.consume(key)
  }

  async store(pipelining: boolean): Promise<Consume> {
    const client = this.client(pipelining)
    const store = new RedisStore({
      prefix: `store-${pipelining}:`,
      sendCommand: (command: string, ...args: string[]) => client.call(command, ...args) as Promise<never>
    })
    await store.init({ windowMs: windowSeconds * 1_000 } as never)
    return key => store.increment(key)
  }

  async close(): Promise<void> {
    for (const cleanup of this.#cleanups) await cleanup()
  }
}
