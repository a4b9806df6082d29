import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { RedisReplays, type RedisReplaysOptions } from '../../../../lib/auth/sender/redis/redis-replays.ts'
import { Reporter } from '../../../../lib/http/reporter.ts'
import { missing } from '../../../support/program.ts'
import { connectRedis, type RedisServer, startRedis } from '../../../support/redis-server.ts'
import { type GuardedServer, guardedServer, localIssuer } from '../../guarded-server.ts'

const skip = missing('redis-server')

function replaysOn(t: TestContext, server: RedisServer, options: Partial<RedisReplaysOptions> = {}) {
  const reporter = new Reporter({ onReport: () => {} })
  const client = connectRedis(t, server)
  const replays = new RedisReplays({ client, timeoutMs: 30_000, reporter, ...options })
  t.after(() => replays.close())
  return { replays, reporter, client }
}

/** It queues nothing, so the first answer may have to wait for the connection. */
async function connected({ add }: { add(name: string): Promise<unknown> }): Promise<void> {
  for (;;) {
    try {
      await add(`probe-${randomUUID()}`)
      return
    } catch {
      await delay(10)
    }
  }
}

async function pairOn(t: TestContext, server: RedisServer, options: Partial<RedisReplaysOptions> = {}) {
  const [a, b] = [replaysOn(t, server, options), replaysOn(t, server, options)]
  for (const { replays } of [a, b]) await connected({ add: name => replays.add(name, Date.now() + 1_000) })
  return [a, b] as const
}

test('a name is new once, whichever process is asked, and however many at once', { skip }, async t => {
  const server = await startRedis(t)
  const [a, b] = await pairOn(t, server)
  const until = Date.now() + 60_000
  assert.equal(await a.replays.add('n1', until), true)
  assert.equal(await b.replays.add('n1', until), false)
  assert.equal(await a.replays.add('n1', until), false)
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? a : b).replays.add('n2', until))
  )
  assert.equal(answers.filter(Boolean).length, 1)
  assert.equal(await b.replays.add('n3', until), true)
  const { added, replayed } = b.replays.stats
  assert.equal(added + a.replays.stats.added, 5, 'with the two probes')
  assert.equal(replayed + a.replays.stats.replayed, 41)
})

test('a name is kept until it cannot be used, and a minute more for clocks that differ', {
  skip
}, async t => {
  const server = await startRedis(t)
  const clock = { now: 1_000_000 }
  const { replays, client } = replaysOn(t, server, { prefix: 'orders', clock: () => clock.now })
  await connected({ add: name => replays.add(name, clock.now) })
  await replays.add('long', clock.now + 120_000)
  await replays.add('past', clock.now - 5_000)
  const [long, past] = [await client.pttl('orders:replay:long'), await client.pttl('orders:replay:past')]
  assert.ok(long > 120_000 && long <= 180_000, `${long}`)
  assert.ok(past > 0 && past <= 60_001, `${past}`)
  await client.del('orders:replay:long')
  assert.equal(await replays.add('long', clock.now + 120_000), true, 'forgotten names are new')
})

test('while Redis is away nothing passes, or what this process has not seen', { skip }, async t => {
  const server = await startRedis(t)
  const until = Date.now() + 60_000
  const [closed] = await pairOn(t, server)
  const [open, other] = await pairOn(t, server, { onOutage: 'open' })
  assert.equal(await open.replays.add('before', until), true)
  await server.stop()
  await assert.rejects(closed.replays.add('n1', until))
  assert.equal(await open.replays.add('n1', until), true)
  assert.equal(await open.replays.add('n1', until), false)
  assert.equal(await open.replays.add('before', until), false)
  assert.equal(await other.replays.add('before', until), true, 'another process cannot know')
  assert.ok(closed.replays.stats.failures > 0)
  assert.ok((closed.reporter.counts.get('dpop_replays') ?? 0) > 0)
  await server.start()
  await connected({ add: name => closed.replays.add(name, until) })
  assert.equal(await closed.replays.add('n1', until), true)
})

test('a server that hangs is an outage', { skip }, async t => {
  const server = await startRedis(t)
  const { replays } = replaysOn(t, server, { timeoutMs: 100 })
  await connected({ add: name => replays.add(name, Date.now() + 1_000) })
  server.pause()
  t.after(() => server.resume())
  await assert.rejects(replays.add('n1', Date.now() + 60_000), /Redis did not answer within 100 ms/)
})

test('a proof that one server took is refused by the other, and by both while Redis is away', {
  skip
}, async t => {
  const redis = await startRedis(t)
  const pair = await pairOn(t, redis)
  const issuer = await localIssuer(t)
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const jwk = await exportJWK(publicKey)
  const token = await issuer.issue({ cnf: { jkt: await calculateJwkThumbprint(jwk) } })
  const proof = () =>
    new SignJWT({
      jti: randomUUID(),
      htm: 'GET',
      htu: 'https://api.example.com/orders',
      iat: Math.floor(Date.now() / 1000),
      ath: createHash('sha256').update(token).digest('base64url')
    })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk })
      .sign(privateKey)
  const [one, two] = await Promise.all(
    pair.map(({ replays }) =>
      guardedServer(t, {
        issuer: issuer.url,
        audience: issuer.audience,
        dpop: { origin: 'https://api.example.com', maxAgeSeconds: 600, replays }
      })
    )
  )
  const send = async (server: GuardedServer, dpop: string) => {
    const { status, reason } = await server.ask([`Authorization: DPoP ${token}`, `DPoP: ${dpop}`])
    return `${status} ${reason}`
  }
  const first = await proof()
  assert.equal(await send(one as GuardedServer, first), '200 undefined')
  assert.equal(await send(two as GuardedServer, first), '401 dpop_proof_replayed')
  assert.equal(await send(two as GuardedServer, await proof()), '200 undefined')
  await redis.stop()
  for (const server of [one, two]) {
    assert.equal(await send(server as GuardedServer, await proof()), '503 dpop_replays_unavailable')
  }
})

test('wrong options are named', () => {
  const client = { duplicate: () => assert.fail('not yet') }
  const wrong: [object, RegExp][] = [
    [{ client: undefined }, /^TypeError: RedisReplays: client must be an ioredis client, got undefined$/],
    [{ prefix: '' }, /prefix must be a non-empty string, got ""/],
    [{ onOutage: 'local' }, /onOutage must be 'closed' or 'open', got "local"/],
    [{ timeoutMs: 0 }, /timeoutMs must be a positive number of ms, got 0/],
    [{ timeoutMs: Number.NaN }, /got NaN/]
  ]
  for (const [options, message] of wrong) {
    assert.throws(() => new RedisReplays({ client: client as never, ...options }), message)
  }
})
