/** Six situations of a key set in production, minute by minute, without waiting for them. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { JwksCache, type JwksCacheOptions } from '../../../lib/auth/keys/jwks-cache.ts'
import { Reporter } from '../../../lib/http/reporter.ts'
import { ScriptedProvider, SimulatedTime, turns } from '../simulation.ts'

const minute = 60_000
const seconds = 1_000
const quiet = new Reporter({ onReport() {} })
let oldKey: JWK
let newKey: JWK

before(async () => {
  const make = async (kid: string) => {
    const { publicKey } = await generateKeyPair('ES256')
    return { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' }
  }
  oldKey = await make('old')
  newKey = await make('new')
})

/** A service in front of the cache: what its requests met. */
class Service {
  readonly time = new SimulatedTime()
  readonly provider = new ScriptedProvider(this.time, { keys: [oldKey] })
  readonly cache: JwksCache
  served = 0
  failed = 0
  blocked = 0
  #seed = 1

  constructor(options: Partial<JwksCacheOptions> = {}) {
    this.cache = new JwksCache({
      jwksUri: 'https://id.example.com/jwks',
      fetch: this.provider.fetch,
      clock: this.time,
      random: () => this.#random(),
      reporter: quiet,
      ...options
    })
    this.provider.cache = this.cache
  }

  /** A token with this key id comes in. */
  request(kid: string): void {
    if (this.#serve(kid)) return
    const refresh = this.cache.seek(kid)
    if (refresh === undefined) {
      this.failed++
      return
    }
    this.blocked++
    refresh.then(() => {
      if (!this.#serve(kid)) this.failed++
    })
  }

  /** A token with a key id that does not exist; what becomes of it counts for nothing. */
  junk(kid = `junk-${this.#random()}`): void {
    if (this.cache.candidates(kid, 'ES256').length === 0) this.cache.seek(kid)
  }

  #serve(kid: string): boolean {
    if (this.cache.candidates(kid, 'ES256').length === 0) return false
    this.cache.countUse()
    this.served++
    return true
  }

  #random(): number {
    this.#seed = (Math.imul(this.#seed, 1_103_515_245) + 12_345) & 0x7fffffff
    return this.#seed / 0x80000000
  }
}

for (const strategy of ['time', 'usage', 'both'] as const) {
  const rate = strategy === 'both' ? 200 : 50
  test(`S1 ${strategy}: an hour at ${rate} requests a second`, async () => {
    const service = new Service({ strategy })
    await service.time.run(60 * minute, 1000 / rate, () => service.request('old'))
    assert.ok(service.provider.fetches <= 12, `${service.provider.fetches} fetches`)
    assert.ok(service.blocked <= 40, `${service.blocked} blocked`)
    assert.equal(service.failed, 0)
    assert.ok(service.served > rate * 3_599)
  })

  test(`S6 ${strategy}: a removed key on a quiet service`, async () => {
    const service = new Service({ strategy })
    service.time.at(30 * minute, () => {
      service.provider.document = { keys: [newKey] }
    })
    await service.time.run(30 * minute, 10 * seconds, () => service.request('old'))
    let acceptedUntil = 0
    await service.time.run(120 * minute, 10 * seconds, () => {
      if (service.cache.candidates('old', 'ES256').length > 0) acceptedUntil = service.time.elapsed
    })
    const freshMs = (strategy === 'usage' ? 60 : 20) * minute
    assert.ok(
      acceptedUntil > 0 && acceptedUntil - 30 * minute < freshMs,
      `${acceptedUntil / minute - 30} minutes`
    )
  })
}

test('S2: a sudden rotation fails nobody', async () => {
  const service = new Service()
  let kid = 'old'
  service.time.at(10 * minute, () => {
    service.provider.document = { keys: [newKey] }
    kid = 'new'
  })
  await service.time.run(30 * minute, 20, () => service.request(kid))
  await turns()
  assert.equal(service.failed, 0)
  // The first load, and those that waited for the new key.
  assert.ok(service.blocked <= 20, `${service.blocked} blocked`)
  assert.ok(service.served > 89_000)
})

test('S2: a rotation while a refresh is under way, which still brings the old keys, fails nobody either', async () => {
  const service = new Service()
  let kid = 'old'
  await service.time.run(30 * minute, 20, () => {
    if (service.provider.fetches === 2 && kid === 'old') {
      kid = 'new'
      service.time.at(service.time.elapsed + service.provider.latencyMs + 1, () => {
        service.provider.document = { keys: [newKey] }
      })
    }
    service.request(kid)
  })
  await turns()
  assert.equal(kid, 'new')
  assert.equal(service.failed, 0)
  assert.ok(service.blocked <= 40, `${service.blocked} blocked`)
  assert.ok(service.provider.fetches <= 8, `${service.provider.fetches} fetches`)
})

test('S3: half an hour without the identity provider', async () => {
  const service = new Service()
  let before = 0
  let during = 0
  service.time.at(10 * minute, () => {
    service.provider.blackHole = true
    before = service.provider.fetches
  })
  service.time.at(40 * minute, () => {
    service.provider.blackHole = false
    during = service.provider.fetches - before
  })
  await service.time.run(60 * minute, 20, () => service.request('old'))
  assert.equal(service.failed, 0)
  assert.ok(service.blocked <= 10, `${service.blocked} blocked`)
  assert.ok(during > 3 && during <= 39, `${during} fetches`)
  assert.equal(service.cache.stats.consecutiveFailures, 0)
  assert.equal(service.cache.stats.stale, false)
})

test('S4: twenty made-up key ids a second for half an hour', async () => {
  const service = new Service()
  await service.time.run(30 * minute, 50, () => {
    service.request('old')
    service.junk()
  })
  assert.ok(service.provider.fetches <= 63, `${service.provider.fetches} fetches`)
  assert.equal(service.failed, 0)
})

/** Flood with rotation at 15 minutes and some: how many good requests, ten a second, the rotation fails. */
async function floodAndRotation(at: number, junk: (service: Service) => void): Promise<Service> {
  const service = new Service()
  let kid = 'old'
  let turn = 0
  service.time.at(at, () => {
    service.provider.document = { keys: [newKey] }
    kid = 'new'
  })
  await service.time.run(30 * minute, 50, () => {
    junk(service)
    if (turn++ % 2 === 0) service.request(kid)
  })
  await turns()
  return service
}

test('S5: a rotation during such a flood, whenever it comes', async () => {
  for (let at = 15 * minute; at < 16 * minute; at += 17 * seconds) {
    const service = await floodAndRotation(at, flooded => flooded.junk())
    assert.ok(service.failed <= 11, `${service.failed} failed`)
    assert.ok(service.provider.fetches <= 63, `${service.provider.fetches} fetches`)
  }
})

test('S5: ids that come twice spend both budgets; the door is open again within a minute', async () => {
  for (let at = 15 * minute; at < 16 * minute; at += 19 * seconds) {
    let turn = 0
    const service = await floodAndRotation(at, flooded => flooded.junk(`junk-${turn++ >> 1}`))
    assert.ok(service.failed <= 10 * 60, `${service.failed} failed`)
    assert.ok(service.provider.fetches <= 64, `${service.provider.fetches} fetches`)
  }
})
