/** What one operation costs against how much is remembered: live keys, distinct tokens, series. */
import { randomBytes } from 'node:crypto'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { TokenVerifier } from '../lib/auth/token/token-verifier.ts'
import { type Exchange, openExchange } from '../lib/http/exchange.ts'
import { metrics } from '../lib/metrics/http-metrics.ts'
import { RateLimiter } from '../lib/rate-limit/rate-limiter.ts'
import { shuffledOrder } from './harness/random.ts'
import { counted } from './harness/units.ts'
import type { Row, Suite } from './suite.ts'

const operations = 5_000
const million = 1_000_000

export const suite: Suite = {
  async *rows({ quick }) {
    const sizes = quick ? [1, 1_000, 100_000] : [1, 10, 100, 1_000, 10_000, 100_000, million]
    for (const keys of sizes) yield keyRow(keys)
    const tokens = await TokenBench.prepare(Math.max(...sizes))
    for (const count of sizes) yield tokens.row(count)
    for (const series of sizes.filter(size => size <= 100_000)) yield seriesRow(series)
  }
}

/** Keys are asked for in an order that no cache of the processor foresees. */
function keyRow(keys: number): Row {
  const limiter = new RateLimiter({ maxRequests: 100, windowSeconds: 60, maxKeys: keys })
  const names = Array.from({ length: keys }, (_, i) => `user:person-${i}`)
  for (const name of names) limiter.consume(name, 1, 0)
  const order = shuffledOrder(keys)
  let next = 0
  return {
    name: `a decision among ${counted(keys, 'live key')}`,
    curve: { of: 'live keys', x: keys },
    contenders: [
      {
        name: 'ostiary',
        operations,
        run() {
          for (let i = 0; i < operations; i++) {
            limiter.consume(names[order[next]], 1, 1)
            next = next + 1 === keys ? 0 : next + 1
          }
        }
      }
    ]
  }
}

/** Characters at a token's end that make it another. */
const distinct = 32

/**
 * One token is really signed and verified. What stands for the others in the cache are copies with another end and the
 * same proof: to look them up is the same work, and to sign a million takes minutes.
 */
class TokenBench {
  readonly #verifier: TokenVerifier
  readonly #token: string
  readonly #scratch: Buffer
  readonly #ends: Buffer

  private constructor(verifier: TokenVerifier, token: string, most: number) {
    this.#ends = Buffer.from(randomBytes((most * distinct) / 2).toString('hex'), 'latin1')
    this.#verifier = verifier
    this.#token = token
    this.#scratch = Buffer.from(token, 'latin1')
  }

  /** @param most tokens */
  static async prepare(most: number): Promise<TokenBench> {
    const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
    const jwk = { ...(await exportJWK(publicKey)), kid: 'bench', alg: 'RS256' }
    const verifier = new TokenVerifier({
      issuer: 'https://login.example.com/',
      audience: 'orders-api',
      jwks: { keys: [jwk] },
      cache: { maxEntries: most, maxBytes: 4 * 1_024 ** 3, maxAgeSeconds: 86_400 }
    })
    const token = await new SignJWT({ scope: 'orders:read', email: 'ada@example.com' })
      .setProtectedHeader({ alg: 'RS256', kid: 'bench', typ: 'at+jwt' })
      .setIssuer('https://login.example.com/')
      .setAudience('orders-api')
      .setSubject('ada')
      .setIssuedAt()
      .setExpirationTime('1d')
      .sign(privateKey)
    await verifier.verify(token)
    return new TokenBench(verifier, token, most)
  }

  row(count: number): Row {
    const { cache } = this.#verifier
    const proof = cache.find(this.#token)
    if (proof === undefined) throw new Error('the signed token is not in the cache')
    for (let i = cache.stats.entries - 1; i < count; i++) {
      cache.add(this.#text(i), proof, Date.now(), performance.now())
    }
    const order = shuffledOrder(count)
    const verifier = this.#verifier
    let next = 0
    return {
      name: `a token among ${counted(count, 'token')}, each time a fresh string of ${this.#token.length} bytes`,
      curve: { of: 'distinct tokens', x: count },
      contenders: [
        {
          name: 'ostiary',
          operations,
          run: () => {
            for (let i = 0; i < operations; i++) {
              if (verifier.check(this.#text(order[next])) instanceof Promise)
                throw new Error('not in the cache')
              next = next + 1 === count ? 0 : next + 1
            }
          }
        }
      ]
    }
  }

  /** A string that is new at every call, as the HTTP parser makes it. */
  #text(i: number): string {
    const text = this.#scratch
    this.#ends.copy(text, text.length - distinct, i * distinct, (i + 1) * distinct)
    return text.toString('latin1')
  }
}

/** Every series is a route of its own. */
function seriesRow(series: number): Row {
  const routes = Array.from({ length: series }, (_, i) => `/orders-${i}/:id`)
  const order = shuffledOrder(series)
  let route = routes[0]
  const { stage } = metrics({ maxSeries: series + 1, route: () => route })
  const exchange = endedExchange()
  for (route of routes) stage.enter(exchange)
  let next = 0
  return {
    name: `a request recorded among ${counted(series, 'route')}`,
    curve: { of: 'series', x: series },
    contenders: [
      {
        name: 'ostiary',
        operations,
        run() {
          for (let i = 0; i < operations; i++) {
            route = routes[order[next]]
            // On an exchange that has ended, the listener is called at once.
            stage.enter(exchange)
            next = next + 1 === series ? 0 : next + 1
          }
        }
      }
    ]
  }
}

function endedExchange(): Exchange {
  const req = new IncomingMessage(new Socket())
  req.method = 'GET'
  req.url = '/'
  const exchange = openExchange(req, new ServerResponse(req))
  exchange.end(true)
  exchange.statusCode = 200
  exchange.outcome = 'completed'
  exchange.headAt = exchange.startedAt + 1
  exchange.endedAt = exchange.startedAt + 2
  return exchange
}
