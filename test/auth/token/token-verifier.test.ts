import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { Refusal, TokenError } from '../../../lib/auth/token/refusal.ts'
import {
  TokenVerifier,
  type TokenVerifierOptions,
  type Verdict
} from '../../../lib/auth/token/token-verifier.ts'
import type { VerifiedToken } from '../../../lib/auth/token/verified-token.ts'
import { Reporter } from '../../../lib/http/reporter.ts'
import { ScriptedProvider, SimulatedTime } from '../simulation.ts'

const issuer = 'https://id.example.com'
const audience = 'orders-api'
const minute = 60_000

interface Signer {
  privateKey: CryptoKey
  jwk: JWK
}
let one: Signer
let two: Signer

before(async () => {
  one = await makeSigner('one')
  two = await makeSigner('two')
})

async function makeSigner(kid: string): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256' } }
}

function sign(time: SimulatedTime, claims: Record<string, unknown> = {}, signer = one): Promise<string> {
  const now = Math.floor(time.now() / 1000)
  return new SignJWT({ iss: issuer, aud: audience, sub: 'ada', iat: now, exp: now + 600, ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: signer.jwk.kid as string })
    .sign(signer.privateKey)
}

/** A verifier in simulated time, with its keys given in place. */
async function inPlace(options: Partial<TokenVerifierOptions> = {}) {
  const time = new SimulatedTime()
  const verifier = new TokenVerifier({
    issuer,
    audience,
    jwks: { keys: [one.jwk] },
    clock: time,
    ...options
  } as TokenVerifierOptions)
  await verifier.ready()
  return { time, verifier }
}

/** A verifier in simulated time, whose keys are fetched. */
async function fetched(options: Partial<TokenVerifierOptions> = {}) {
  const time = new SimulatedTime()
  const provider = new ScriptedProvider(time, { keys: [one.jwk] })
  const verifier = new TokenVerifier({
    issuer,
    audience,
    jwksUri: 'https://id.example.com/jwks',
    clock: time,
    fetch: provider.fetch,
    reporter: new Reporter({ onReport() {} }),
    ...options
  } as TokenVerifierOptions)
  watch(provider, verifier)
  await time.run(1_000)
  return { time, verifier, provider }
}

/** Has the simulated time stand still while the verifier reads an answer. */
function watch(provider: ScriptedProvider, verifier: TokenVerifier): void {
  provider.cache = {
    get stats() {
      return verifier.stats.jwks[issuer]
    }
  } as never
}

function reasonOf(verdict: Verdict): string | undefined {
  return verdict instanceof Refusal ? verdict.reason : undefined
}

/** The verdict, within a second in which the identity provider may answer. */
async function inTime(time: SimulatedTime, verifier: TokenVerifier, token: string): Promise<Verdict> {
  const verdict = verifier.check(token)
  await time.run(time.elapsed + 1_000)
  return verdict
}

/** The verdict, which must be at hand without a promise. */
function atOnce(verifier: TokenVerifier, token: string): Verdict {
  const verdict = verifier.check(token)
  assert.ok(!(verdict instanceof Promise))
  return verdict
}

test('verify gives what was proven, and rejects with a code', async () => {
  const { time, verifier } = await inPlace()
  const token = await verifier.verify(await sign(time, { jti: 'j1', scope: 'a b', client_id: 'app' }))
  assert.equal(token.issuer, issuer)
  assert.equal(token.tokenId, 'j1')
  assert.equal(token.expiresAt, Math.floor(time.now() / 1000) + 600)
  assert.equal(token.header.alg, 'ES256')
  assert.deepEqual(token.identity.scopes, ['a', 'b'])
  assert.equal(typeof token.evidence, 'string')
  await assert.rejects(verifier.verify('junk'), (error: TokenError) => {
    assert.ok(error instanceof TokenError)
    assert.deepEqual([error.code, error.reason], ['ERR_TOKEN_MALFORMED_TOKEN', 'malformed_token'])
    return true
  })
})

test('what is no text is a malformed token', async () => {
  const { verifier } = await inPlace()
  for (const token of [undefined, null, 7, {}, []]) {
    await assert.rejects(verifier.verify(token as never), { code: 'ERR_TOKEN_MALFORMED_TOKEN' })
  }
})

test('a hit is synchronous, and the very same object', async () => {
  const { time, verifier } = await inPlace()
  const token = await sign(time)
  const first = await verifier.verify(token)
  // As the HTTP parser makes it: equal, and another string.
  const again = Buffer.from(token).toString('latin1')
  assert.equal(atOnce(verifier, again), first)
  assert.equal(verifier.stats.signatures, 1)
})

test('exp is asked on every hit, by the wall clock', async () => {
  const { time, verifier } = await inPlace({ cache: { maxAgeSeconds: 3_600 } })
  const token = await sign(time, { exp: Math.floor(time.now() / 1000) + 60 })
  await verifier.verify(token)
  time.wallShift = 64_999
  assert.equal(reasonOf(atOnce(verifier, token)), undefined)
  time.wallShift = 65_000
  assert.equal(reasonOf(atOnce(verifier, token)), 'expired')
  assert.deepEqual([verifier.stats.cache.expired, verifier.stats.cache.entries], [1, 0])
})

test('a wall clock that steps back revives nothing', async () => {
  const { time, verifier } = await inPlace({ cache: { maxAgeSeconds: 3_600 } })
  const token = await sign(time, { exp: Math.floor(time.now() / 1000) + 60, iat: undefined })
  await verifier.verify(token)
  time.wallShift = -3_600_000
  time.elapsed += 64_000
  assert.equal(reasonOf(atOnce(verifier, token)), undefined)
  // A lifetime later by the clock that only goes forward the entry is gone, and the token is verified anew.
  time.elapsed += 1_000
  const anew = verifier.check(token)
  assert.ok(anew instanceof Promise)
  assert.equal(verifier.stats.cache.entries, 0)
  assert.equal(reasonOf(await anew), undefined)
  assert.equal(verifier.stats.cache.entries, 1)

  time.wallShift = 3_600_000
  assert.equal(reasonOf(atOnce(verifier, token)), 'expired')
  assert.equal(verifier.stats.cache.entries, 0)
})

test('nbf is asked on every hit, and "not yet" is not remembered', async () => {
  const { time, verifier } = await inPlace()
  const token = await sign(time, { nbf: Math.floor(time.now() / 1000) + 30, iat: undefined })
  assert.equal(reasonOf(atOnce(verifier, token)), 'not_yet_valid')
  time.elapsed += 25_000
  assert.equal(reasonOf(await verifier.check(token)), undefined)
  time.wallShift = -1
  assert.equal(reasonOf(atOnce(verifier, token)), 'not_yet_valid')
  time.wallShift = 0
  assert.equal(reasonOf(atOnce(verifier, token)), undefined)
})

test('an entry lives a minute at most, then its token is verified anew', async () => {
  const { time, verifier } = await inPlace()
  const token = await sign(time)
  await verifier.verify(token)
  time.elapsed += 59_999
  atOnce(verifier, token)
  time.elapsed += 1
  await verifier.verify(token)
  assert.equal(verifier.stats.signatures, 2)
})

test('a key that the issuer withdrew takes its entries with it', async () => {
  const { time, verifier, provider } = await fetched({ cache: { maxAgeSeconds: 36_000 } })
  const exp = Math.floor(time.now() / 1000) + 36_000
  const token = await sign(time, { exp })
  await verifier.verify(token)
  provider.document = { keys: [two.jwk] }
  // Due at 16 minutes, ± 10 %.
  await time.run(14 * minute)
  assert.equal(reasonOf(atOnce(verifier, token)), undefined)
  await time.run(25 * minute)
  assert.equal(verifier.stats.cache.entries, 0)
  assert.equal(reasonOf(await inTime(time, verifier, token)), 'unknown_key')
  assert.equal(reasonOf(await inTime(time, verifier, await sign(time, { exp }, two))), undefined)
})

test('a key that stays is imported once, and its entries stay', async () => {
  const { time, verifier, provider } = await fetched({ cache: { maxAgeSeconds: 36_000 } })
  const token = await sign(time, { exp: Math.floor(time.now() / 1000) + 36_000 })
  await verifier.verify(token)
  provider.document = { keys: [two.jwk, { ...one.jwk }] }
  await time.run(30 * minute)
  atOnce(verifier, token)
  assert.equal(verifier.stats.signatures, 1)
})

test('keys beyond maxStaleSeconds are worth nothing, nor is what they verified: 503', async () => {
  const { time, verifier, provider } = await fetched({
    cache: { maxAgeSeconds: 360_000 },
    jwksCache: { maxStaleSeconds: 7_200 }
  })
  const exp = Math.floor(time.now() / 1000) + 36_000
  const token = await sign(time, { exp })
  const other = await sign(time, { exp, sub: 'bob' })
  await verifier.verify(token)
  provider.status = 500
  await time.run(110 * minute)
  assert.equal(reasonOf(atOnce(verifier, token)), undefined)
  assert.equal(verifier.stats.jwks[issuer]?.stale, true)
  assert.equal(reasonOf(await inTime(time, verifier, other)), undefined)
  await time.run(125 * minute)
  assert.equal(reasonOf(await inTime(time, verifier, token)), 'keys_unavailable')
  provider.status = 200
  await time.run(130 * minute)
  assert.equal(reasonOf(await inTime(time, verifier, token)), undefined)
})

test('what is handed out is frozen to the bottom', async () => {
  const { time, verifier } = await inPlace()
  const token = await verifier.verify(
    await sign(time, { roles: ['user'], realm: { access: { roles: ['a'] } } })
  )
  const change = [
    () => (token.claims['roles'] as string[]).push('admin'),
    () => ((token.claims['realm'] as { access: { roles: string[] } }).access.roles[0] = 'admin'),
    () => Object.assign(token.claims, { sub: 'root' }),
    () => Object.assign(token.header, { alg: 'none' }),
    () => Object.assign(token, { issuer: 'x' }),
    () => Object.assign(token.identity, { isM2M: true }),
    () => (token.identity.scopes as string[]).push('admin')
  ]
  for (const attempt of change) assert.throws(attempt, TypeError)
})

test('what one configuration accepted another does not', async () => {
  const time = new SimulatedTime()
  const jwks = { keys: [one.jwk] }
  const make = (more: object) => new TokenVerifier({ issuer, audience, jwks, clock: time, ...more })
  const token = await sign(time)
  const lenient = make({})
  await lenient.verify(token)
  for (const [more, reason] of [
    [{ audience: 'billing' }, 'wrong_audience'],
    [{ algorithms: ['RS256'] }, 'algorithm_not_allowed'],
    [{ issuer: 'https://other.example.com' }, 'unknown_issuer'],
    [{ requiredClaims: ['scope'] }, 'missing_claim']
  ] as const) {
    assert.equal(reasonOf(await make(more).check(token)), reason)
  }
  assert.equal(reasonOf(atOnce(lenient, token)), undefined)
})

test('a token of another length, ending or beginning is another token', async () => {
  const { time, verifier } = await inPlace()
  const token = await sign(time)
  await verifier.verify(token)
  const [header, , signature] = token.split('.') as [string, string, string]
  const claims = Buffer.from(JSON.stringify({ iss: issuer, aud: audience, sub: 'root', exp: 2e9 })).toString(
    'base64url'
  )
  assert.equal(reasonOf(await verifier.check(`${header}.${claims}.${signature}`)), 'bad_signature')
  assert.equal(reasonOf(await verifier.check(`${header}.${signature}`)), 'malformed_token')
})

test('entries and bytes are bounded, and what is used stays', async () => {
  const { time, verifier } = await inPlace({ cache: { maxEntries: 4 } })
  const tokens = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map(sub => sign(time, { sub })))
  const [a, b, c, d, e, f] = tokens as [string, string, string, string, string, string]
  for (const token of [a, b, c, d]) await verifier.verify(token)
  atOnce(verifier, a)
  await verifier.verify(e)
  await verifier.verify(f)
  assert.deepEqual(
    [a, b, c, d, e, f].map(token => verifier.find(token) !== undefined),
    [true, false, false, true, true, true]
  )
  assert.deepEqual([verifier.stats.cache.entries, verifier.stats.cache.evictions], [4, 2])

  const small = await inPlace({ cache: { maxBytes: 5_000 } })
  for (const token of tokens) await small.verifier.verify(token)
  assert.ok(small.verifier.stats.cache.bytes <= 5_000)
  assert.ok(small.verifier.stats.cache.entries >= 2)
})

test('no cache at all, and tokens too long for it: verified every time', async () => {
  for (const cache of [{ maxEntries: 0 }, { maxTokenBytes: 100 }, { maxBytes: 100 }]) {
    const { time, verifier } = await inPlace({ cache })
    const token = await sign(time)
    await verifier.verify(token)
    await verifier.verify(token)
    assert.deepEqual([verifier.stats.signatures, verifier.stats.cache.entries], [2, 0])
  }
})

test('hashTokens keeps digests only', async () => {
  const { time, verifier } = await inPlace({ cache: { hashTokens: true } })
  const token = await sign(time)
  const first = await verifier.verify(token)
  assert.equal(atOnce(verifier, token), first)
  const entry = verifier.find(token)
  assert.equal(entry?.text, '')
  assert.ok(entry !== undefined && !token.includes(entry.key))
  assert.equal(verifier.find(`${token}A`), undefined)
})

test('entries go by subject, or all of them, also for those who still hold one', async () => {
  const { time, verifier } = await inPlace()
  const ada = await sign(time)
  const bob = await sign(time, { sub: 'bob' })
  await verifier.verify(ada)
  await verifier.verify(bob)
  const held = verifier.find(ada)
  assert.equal(verifier.cache.deleteBySubject('ada'), 1)
  assert.equal(held && verifier.recall(held, time.monotonic()), undefined)
  assert.equal(verifier.find(ada), undefined)
  assert.notEqual(verifier.find(bob), undefined)
  verifier.cache.clear()
  assert.equal(verifier.stats.cache.entries, 0)
  assert.equal(verifier.stats.cache.bytes, 0)
})

test('keys that are long in coming are no excuse for a token that ran out meanwhile', async () => {
  const time = new SimulatedTime()
  const provider = new ScriptedProvider(time, { keys: [one.jwk] })
  provider.latencyMs = 4_000
  const verifier = new TokenVerifier({
    issuer,
    audience,
    jwksUri: 'https://id.example.com/jwks',
    clock: time,
    clockToleranceSeconds: 0,
    fetch: provider.fetch
  })
  watch(provider, verifier)
  const now = Math.floor(time.now() / 1000)
  const short = verifier.check(await sign(time, { exp: now + 3 }))
  const long = verifier.check(await sign(time, { exp: now + 30 }))
  await time.run(5_000)
  assert.equal(reasonOf(await short), 'expired')
  assert.equal(reasonOf(await long), undefined)
  assert.equal(verifier.stats.signatures, 1)
  verifier.close()
})

test('one token that comes many times at once is verified once', async () => {
  const { time, verifier } = await inPlace()
  const token = await sign(time)
  const verdicts = await Promise.all(Array.from({ length: 20 }, () => verifier.verify(token)))
  assert.equal(new Set<VerifiedToken>(verdicts).size, 1)
  assert.deepEqual([verifier.stats.signatures, verifier.stats.joined], [1, 19])
})

test('bad signatures are remembered for five seconds, apart from good tokens', async () => {
  const { time, verifier } = await inPlace({ cache: { maxEntries: 3 } })
  const good = await Promise.all(['a', 'b', 'c'].map(sub => sign(time, { sub })))
  for (const token of good) await verifier.verify(token)
  const forged = await sign(time, {}, { ...two, jwk: { ...two.jwk, kid: 'one' } })
  assert.equal(reasonOf(await verifier.check(forged)), 'bad_signature')
  assert.equal(reasonOf(atOnce(verifier, forged)), 'bad_signature')
  assert.equal(verifier.stats.signatures, 4)
  time.elapsed += 5_000
  assert.equal(reasonOf(await verifier.check(forged)), 'bad_signature')
  assert.equal(verifier.stats.signatures, 5)
  for (let i = 0; i < 20; i++) {
    const junk = await sign(time, { jti: String(i) }, { ...two, jwk: { ...two.jwk, kid: 'one' } })
    assert.equal(reasonOf(await verifier.check(junk)), 'bad_signature')
  }
  for (const token of good) assert.equal(reasonOf(atOnce(verifier, token)), undefined)
})

test('a bad signature is forgotten when the key changes under its id', async () => {
  const { time, verifier, provider } = await fetched({ jwksCache: { random: () => 0.5 } })
  const replaced = { ...two, jwk: { ...two.jwk, kid: 'one' } }
  provider.document = { keys: [replaced.jwk] }
  const token = await sign(time, { exp: Math.floor(time.now() / 1000) + 36_000 }, replaced)
  // Loaded at 200 ms, so the next refresh starts 16 minutes later, and takes 200 ms.
  await time.run(16 * minute + 300)
  assert.equal(reasonOf(await verifier.check(token)), 'bad_signature')
  assert.equal(reasonOf(atOnce(verifier, token)), 'bad_signature')
  assert.equal(verifier.stats.jwks[issuer]?.refreshes, 1)
  await time.run(16 * minute + 500)
  assert.equal(verifier.stats.jwks[issuer]?.refreshes, 2)
  assert.equal(reasonOf(await verifier.check(token)), undefined)
})

test('unknown keys and fetch errors are not remembered as failures', async () => {
  const { time, verifier, provider } = await fetched()
  provider.document = { keys: [one.jwk, two.jwk] }
  provider.status = 500
  const token = await sign(time, {}, two)
  assert.equal(reasonOf(await inTime(time, verifier, token)), 'keys_unavailable')
  provider.status = 200
  await time.run(5_000)
  assert.equal(reasonOf(await inTime(time, verifier, token)), undefined)
})

test('bound tokens are let through to whoever says it checks them', async () => {
  const { time, verifier } = await inPlace({ confirmations: ['jkt'] })
  assert.equal(reasonOf(await verifier.check(await sign(time, { cnf: { jkt: 'x' } }))), undefined)
  for (const cnf of [{ 'x5t#S256': 'x' }, { jkt: 'x', kid: 'y' }]) {
    assert.equal(reasonOf(await verifier.check(await sign(time, { cnf }))), 'unchecked_confirmation')
  }
})

test('several issuers: one subject at two of them is two callers', async () => {
  const other = 'https://other.example.com'
  const time = new SimulatedTime()
  const verifier = new TokenVerifier({
    clock: time,
    issuers: [
      { issuer, audience, jwks: { keys: [one.jwk] } },
      { issuer: other, audience, jwks: { keys: [two.jwk] } }
    ]
  })
  const a = await verifier.verify(await sign(time))
  const b = await verifier.verify(await sign(time, { iss: other }, two))
  assert.equal(a.identity.id, b.identity.id)
  assert.notEqual(a.identity.key, b.identity.key)
  assert.deepEqual([a.issuer, b.issuer], [issuer, other])
})

test('a key set in place without a usable key is told, by ready and to the reporter', async () => {
  const told: unknown[] = []
  const reporter = new Reporter({ onReport: ({ what, error }) => told.push(what, (error as Error).message) })
  const time = new SimulatedTime()
  const verifier = new TokenVerifier({ issuer, audience, jwks: { keys: [] }, clock: time, reporter })
  await assert.rejects(verifier.ready(), /no usable key among 0/)
  assert.deepEqual(told, ['jwks_read', 'no usable key among 0 in the JWK set'])
  assert.equal(reasonOf(await verifier.check(await sign(time))), 'unknown_key')
})

test('an issuer that is configured with or without its slash is told, and stays unknown', async () => {
  const told: string[] = []
  const clock = () => 0
  const reporter = new Reporter({ clock, onReport: ({ what, error }) => told.push(`${what}: ${error}`) })
  const { time, verifier } = await inPlace({ reporter })
  for (const iss of ['https://evil.example.com/', `${issuer}//`, issuer.toUpperCase(), undefined, 7]) {
    assert.equal(reasonOf(await verifier.check(await sign(time, { iss }))), 'unknown_issuer')
  }
  assert.deepEqual(told, [])
  for (let i = 0; i < 3; i++) {
    assert.equal(reasonOf(await verifier.check(await sign(time, { iss: `${issuer}/` }))), 'unknown_issuer')
  }
  assert.deepEqual(told, [
    `issuer_mismatch: Error: a token’s iss is "${issuer}/", the issuer is configured as "${issuer}": they differ in the trailing slash`
  ])
  assert.equal(reporter.counts.get('issuer_mismatch'), 3)
})

test('callers are told apart by the application’s rule, and a rule that answers nonsense is a fault', async () => {
  const time = new SimulatedTime()
  const trust = { issuer, audience, jwks: { keys: [one.jwk] }, clock: time }
  const machines = new TokenVerifier({
    ...trust,
    m2m: claims => (claims.sub === 'ada' ? 'machine' : undefined)
  })
  assert.equal((await machines.verify(await sign(time))).identity.kind, 'machine')
  const nonsense = new TokenVerifier({ ...trust, m2m: () => 'robot' as never })
  const token = await nonsense.verify(await sign(time))
  assert.throws(() => token.identity, /must answer 'machine', 'human', 'unknown' or undefined, got robot/)
})

test('revocations must be a list that can be asked', () => {
  const options = { issuer, audience, jwks: { keys: [one.jwk] }, revocations: [] as never }
  assert.throws(() => new TokenVerifier(options), /revocations must have a method check, got /)
})

test('several issuers: each has its own algorithms', async () => {
  const other = 'https://other.example.com'
  const time = new SimulatedTime()
  const verifier = new TokenVerifier({
    clock: time,
    issuers: [
      { issuer, audience, jwks: { keys: [one.jwk] } },
      { issuer: other, audience, jwks: { keys: [two.jwk] }, algorithms: ['RS256'] }
    ]
  })
  await verifier.verify(await sign(time))
  assert.equal(reasonOf(await verifier.check(await sign(time, { iss: other }, two))), 'algorithm_not_allowed')
})

test('revocation is asked about cached tokens too, and a list that cannot tell is no list that says good', async () => {
  let state: 'good' | 'revoked' | 'unavailable' = 'good'
  const { time, verifier } = await inPlace({ revocations: { check: () => state } })
  const token = await sign(time)
  await verifier.verify(token)
  state = 'revoked'
  assert.equal(reasonOf(atOnce(verifier, token)), 'revoked')
  state = 'unavailable'
  assert.equal(reasonOf(atOnce(verifier, token)), 'revocations_unavailable')
  state = undefined as never
  assert.equal(reasonOf(atOnce(verifier, token)), 'revocations_unavailable')
  assert.equal(verifier.stats.signatures, 1)
})
