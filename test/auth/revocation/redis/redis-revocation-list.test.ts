import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis, type RedisOptions } from 'ioredis'
import {
  RedisRevocationList,
  type RedisRevocationListOptions
} from '../../../../lib/auth/revocation/redis/redis-revocation-list.ts'
import { Reporter } from '../../../../lib/http/reporter.ts'
import { missing } from '../../../support/program.ts'
import { connectRedis, type RedisServer, startRedis } from '../../../support/redis-server.ts'
import { verified } from '../../signed-in.ts'

const skip = missing('redis-server')
const issuer = 'https://issuer.example'
const jane = verified({ iss: issuer, sub: 'jane', sid: 's', jti: 'j1', iat: 1_000 })
const joe = verified({ iss: issuer, sub: 'joe', sid: 's', jti: 'j2', iat: 1_000 })

/** For tests of outages: how soon a list notices. In the others a busy machine must not look like one. */
const soon = { maxStaleMs: 250, timeoutMs: 150 }

function listOn(t: TestContext, server: RedisServer, options: Partial<RedisRevocationListOptions> = {}) {
  const reporter = new Reporter({ onReport: () => {} })
  const client = connectRedis(t, server)
  const list = new RedisRevocationList({
    client,
    pollMs: 40,
    maxStaleMs: 600_000,
    timeoutMs: 60_000,
    reporter,
    ...options
  })
  t.after(() => list.close())
  return { list, reporter, client }
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; !(await holds()); waited += 10) {
    if (waited > 60_000) assert.fail(`never happened: ${what}`)
    await delay(10)
  }
}

/** A list is ready once it is loaded; whether it is told of changes by then is up to its other connection. */
async function listening(client: Redis, lists: number, prefix = 'ostiary'): Promise<void> {
  const channel = `{${prefix}:revocations}:feed`
  await until(
    'all listen',
    async () => ((await client.call('PUBSUB', 'NUMSUB', channel)) as number[])[1] === lists
  )
}

/** What Redis did not take in time is to be sent again. */
function taken(revoking: Promise<void>): Promise<boolean> {
  return revoking.then(
    () => true,
    () => false
  )
}

test('a revocation reaches every process, and those that start later', { skip }, async t => {
  const server = await startRedis(t)
  // Once the lists are loaded all is told by messages: no poll comes before them.
  const rarely = { pollMs: 60_000 }
  const { list: a, client } = listOn(t, server, rarely)
  const b = listOn(t, server, rarely).list
  assert.equal(a.check(jane), 'unavailable', 'nothing is known yet')
  await Promise.all([a.ready(), b.ready(), listening(client, 2)])
  assert.deepEqual([a.check(jane), b.check(jane)], ['good', 'good'])
  const sent = a.revoke({ issuer, tokenId: 'j1' })
  assert.equal(a.check(jane), 'revoked', 'in force here before Redis has answered')
  await sent
  await until('b hears of it', () => b.check(jane) === 'revoked')
  assert.equal(b.stats.received, 1)
  await b.revoke({ issuer, subject: 'joe' })
  await b.revoke({ issuer, tokenId: 'j3', expiresAt: Number.POSITIVE_INFINITY })
  const lasting = verified({ iss: issuer, sub: 'x', sid: 's', jti: 'j3', iat: 1_000 })
  await until('a hears of what lasts', () => a.check(lasting) === 'revoked')
  await until('a hears of it', () => a.check(joe) === 'revoked')
  const c = listOn(t, server, rarely).list
  await c.ready()
  assert.deepEqual([c.check(jane), c.check(joe), c.check(lasting)], ['revoked', 'revoked', 'revoked'])
  assert.equal(c.stats.loads, 1)
  assert.equal(a.stats.loads, 1, 'messages kept it level')
})

test('a message that was lost is noticed', { skip }, async t => {
  const server = await startRedis(t)
  const { list, client } = listOn(t, server)
  await list.ready()
  await client.zadd(
    '{ostiary:revocations}',
    Date.now() + 60_000,
    JSON.stringify(['tokens', issuer, 'j1', null])
  )
  await client.incr('{ostiary:revocations}:changes')
  await until('the next polls find it', () => list.check(jane) === 'revoked')
  assert.equal(list.stats.loads, 2)
})

/** A client whose duplicates give answers to GET when they are let go. */
class Holding extends Redis {
  held: Promise<void> | undefined
  answers = 0
  parent: Holding = this

  override get = (async (key: string) => {
    const answer = await this.call('GET', key)
    this.parent.answers++
    await this.parent.held
    return answer as string | null
  }) as Redis['get']

  override duplicate(override?: Partial<RedisOptions>): Redis {
    const twin = new Holding({ ...this.options, ...override, replyMapping: 'legacy' })
    twin.parent = this
    return twin
  }
}

test('a message that overtakes the answer to a poll is no loss', { skip }, async t => {
  const server = await startRedis(t)
  const client = new Holding({ port: server.port, host: '127.0.0.1' })
  client.on('error', () => undefined)
  t.after(() => client.disconnect())
  const { list, reporter } = listOn(t, server, { client })
  const other = listOn(t, server)
  await Promise.all([list.ready(), other.list.ready(), listening(other.client, 2)])
  let release = () => {}
  client.held = new Promise(resolve => {
    release = resolve
  })
  const { answers } = client
  await until('Redis has answered the next poll', () => client.answers > answers)
  await other.list.revoke({ issuer, tokenId: 'j1' })
  await until('the message is there', () => list.stats.received === 1)
  client.held = undefined
  const reported = reporter.counts.get('revocation_list')
  release()
  await until('it has asked again', () => client.answers > answers + 2)
  assert.equal(list.stats.loads, 1)
  assert.equal(reporter.counts.get('revocation_list'), reported)
  assert.equal(list.check(jane), 'revoked')
})

test('an outage: closed, or open, and back', { skip }, async t => {
  const server = await startRedis(t, '--appendonly', 'yes', '--appendfsync', 'always')
  const closed = listOn(t, server, soon)
  const open = listOn(t, server, { ...soon, onOutage: 'open' })
  await Promise.all([closed.list.ready(), open.list.ready()])
  await until('Redis takes it', () => taken(closed.list.revoke({ issuer, tokenId: 'j1' })))
  await until('both know', () => open.list.check(jane) === 'revoked')
  await server.stop()
  await until('the copy counts as out of date', () => closed.list.check(joe) === 'unavailable')
  await until('the other too', () => !open.list.stats.fresh)
  assert.equal(closed.list.check(jane), 'revoked')
  assert.deepEqual([open.list.check(jane), open.list.check(joe)], ['revoked', 'good'])
  await assert.rejects(closed.list.revoke({ issuer, tokenId: 'j2' }))
  assert.equal(closed.list.check(joe), 'revoked', 'in force in this process')
  await server.start()
  await until('the copy is confirmed', () => closed.list.stats.fresh && open.list.stats.fresh)
  assert.equal(closed.list.check(verified({ iss: issuer, jti: 'j3' })), 'good')
  assert.ok((closed.reporter.counts.get('revocation_list') ?? 0) > 0)
  assert.ok(closed.list.stats.failures > 0)
})

test('a server that hangs is an outage', { skip }, async t => {
  const server = await startRedis(t)
  const { list } = listOn(t, server, soon)
  await list.ready()
  server.pause()
  await until('the copy counts as out of date', () => list.check(jane) === 'unavailable')
  server.resume()
  await until('the copy is confirmed', () => list.check(jane) === 'good')
})

test('what Redis lost is written back', { skip }, async t => {
  const server = await startRedis(t)
  const { list, client } = listOn(t, server)
  await Promise.all([list.ready(), listening(client, 1)])
  await list.revoke({ issuer, tokenId: 'j1' })
  await list.revoke({ issuer, subject: 'joe' })
  await list.revoke({ issuer, clientId: 'web' })
  await until('it has heard of its own changes', () => list.stats.received === 3)
  await client.flushall()
  await until('they are written back', async () => (await client.zcard('{ostiary:revocations}')) === 3)
  const late = listOn(t, server).list
  await late.ready()
  assert.deepEqual([late.check(jane), late.check(joe)], ['revoked', 'revoked'])
  await until('level again', () => list.stats.fresh)
})

test('an incomplete copy is no answer', { skip }, async t => {
  const server = await startRedis(t)
  const { list: full, client } = listOn(t, server, { maxEntries: 1 })
  const writer = listOn(t, server).list
  const garbled = listOn(t, server, { prefix: 'other' })
  await Promise.all([
    full.ready(),
    writer.ready(),
    garbled.list.ready(),
    // One that hears of the second entry only has room for it.
    listening(client, 2),
    listening(garbled.client, 1, 'other')
  ])
  await writer.revoke({ issuer, tokenId: 'j1' })
  await writer.revoke({ issuer, tokenId: 'j9' })
  await until('the list is full', () => full.check(joe) === 'unavailable')
  assert.equal(full.check(jane), 'revoked')
  assert.equal(garbled.list.check(joe), 'good', 'another prefix is another list')
  // It may have asked before there was a connection.
  const { failures } = garbled.list.stats
  for (const text of ['x', '[]', '["tokens",7,"a",null]', '["users","i","a",null]']) {
    await garbled.client.publish('{other:revocations}:feed', JSON.stringify([1, Date.now() + 9_000, text]))
  }
  await garbled.client.publish('{other:revocations}:feed', 'no JSON')
  await until('five are counted', () => garbled.list.stats.failures === failures + 5)
})

test('closes once and for all', { skip }, async t => {
  const server = await startRedis(t)
  const { list } = listOn(t, server)
  await list.ready()
  list.close()
  list.close()
  assert.equal(list.check(jane), 'unavailable')
})

test('wrong options are named', () => {
  const client = { duplicate: () => assert.fail('not yet') }
  const wrong: [object, RegExp][] = [
    [
      { client: undefined },
      /^TypeError: RedisRevocationList: client must be an ioredis client, got undefined$/
    ],
    [{ prefix: '' }, /prefix must be a non-empty string without braces, got ""/],
    [{ prefix: '{a}' }, /prefix must be/],
    [{ onOutage: 'local' }, /onOutage must be 'closed' or 'open', got "local"/],
    [{ pollMs: 0 }, /pollMs must be a positive number of ms, got 0/],
    [{ timeoutMs: Number.NaN }, /timeoutMs must be a positive number of ms, got NaN/],
    [{ maxStaleMs: 1_000 }, /maxStaleMs must be more than pollMs, got 1000/],
    [{ maxEntries: 0 }, /maxEntries must be a positive integer, got 0/],
    [{ retentionSeconds: 0 }, /retentionSeconds must be a positive number, got 0/]
  ]
  for (const [options, message] of wrong) {
    assert.throws(() => new RedisRevocationList({ client: client as never, ...options }), message)
  }
})
