import assert from 'node:assert/strict'
import test from 'node:test'
import {
  MemoryRevocationList,
  RevocationListFullError
} from '../../../lib/auth/revocation/memory-revocation-list.ts'
import { signingInputDigest } from '../../../lib/auth/revocation/revocation-list.ts'
import type { Claims } from '../../../lib/auth/token/verified-token.ts'
import { fc } from '../../support/seeded.ts'
import { verified } from '../signed-in.ts'

const issuer = 'https://issuer.example'
const now = 1_760_000_000_000
const seconds = now / 1000
const jane: Claims = { iss: issuer, sub: 'jane', client_id: 'web', sid: 's', jti: 'j1', iat: seconds - 10 }

function list(options = {}) {
  const clock = { now }
  const revocations = new MemoryRevocationList({ clock: () => clock.now, ...options })
  const check = (claims: Claims, text = '') => revocations.check(verified(claims, {}, text))
  return { clock, revocations, check }
}

test('knows nothing at first', () => {
  assert.equal(list().check(jane), 'good')
})

test('revokes one token of one issuer', () => {
  const { revocations, check } = list()
  revocations.revoke({ issuer, tokenId: 'j1', expiresAt: seconds + 100 })
  assert.equal(check(jane), 'revoked')
  assert.equal(check({ ...jane, jti: 'j2' }), 'good')
  assert.equal(check({ ...jane, iss: 'https://other.example' }), 'good')
  assert.equal(check({ ...jane, jti: '__proto__' }), 'good')
})

test('revokes a token without jti, in every spelling of it', () => {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'ES256' })}.${part({ sub: 'jane' })}.c2lnbmF0dXJl`
  const { revocations, check } = list()
  revocations.revoke({ issuer, digest: signingInputDigest(text), expiresAt: seconds + 100 })
  const { jti: _, ...nameless } = jane
  assert.equal(check(nameless, text), 'revoked')
  assert.equal(check(nameless, `${text.slice(0, -1)}V`), 'revoked')
  assert.equal(check(nameless, `${text}==`), 'revoked')
  assert.equal(check(nameless, text.replace('.', '==.')), 'revoked')
  assert.equal(check(nameless, `${part({ alg: 'ES256' })}.${part({ sub: 'joe' })}.c2lnbmF0dXJl`), 'good')
  assert.equal(check(jane, text), 'good')
})

const epochs: [string, object][] = [
  ['subject', { subject: 'jane' }],
  ['client', { clientId: 'web' }],
  ['issuer', { everything: true }]
]
for (const [name, what] of epochs) {
  test(`revokes what was issued before an instant, by ${name}`, () => {
    const { revocations, check } = list()
    revocations.revoke({ issuer, ...what, notBefore: new Date(now - 10_000) })
    assert.equal(check(jane), 'good', 'issued at that instant')
    assert.equal(check({ ...jane, iat: seconds - 11 }), 'revoked')
    revocations.revoke({ issuer, ...what })
    assert.equal(check(jane), 'revoked')
    assert.equal(check({ ...jane, iat: seconds }), 'good')
    revocations.revoke({ issuer, ...what, notBefore: new Date(now - 100_000) })
    assert.equal(check(jane), 'revoked', 'an older instant takes nothing back')
    assert.equal(check({ ...jane, iss: 'https://other.example' }), 'good')
    const { iat: _, ...undated } = jane
    assert.equal(check(undated), 'revoked')
    assert.equal(revocations.stats.entries, 1)
  })
}

test('keeps entries until what they revoke has expired', () => {
  const { clock, revocations, check } = list({ retentionSeconds: 1_000 })
  revocations.revoke({ issuer, tokenId: 'j1', expiresAt: seconds + 100 })
  revocations.revoke({ issuer, tokenId: 'gone', expiresAt: seconds - 100 })
  revocations.revoke({ issuer, tokenId: 'j3' })
  revocations.revoke({ issuer, subject: 'jane' })
  assert.deepEqual(revocations.stats, { entries: 3, expired: 0 })
  clock.now += 159_000
  revocations.revoke({ issuer, tokenId: 'j4' })
  assert.equal(check(jane), 'revoked')
  clock.now += 61_000
  revocations.revoke({ issuer, tokenId: 'j5' })
  assert.deepEqual(revocations.stats, { entries: 4, expired: 1 })
  clock.now += 2_000_000
  revocations.revoke({ issuer: 'https://other.example', tokenId: 'x' })
  assert.deepEqual(revocations.stats, { entries: 1, expired: 5 })
  assert.equal(check(jane), 'good')
})

test('keeps for ever what revokes a token that never expires', () => {
  const { clock, revocations, check } = list()
  revocations.revoke({ issuer, tokenId: 'j1', expiresAt: Number.POSITIVE_INFINITY })
  clock.now += 100 * 365 * 86_400_000
  revocations.revoke({ issuer, tokenId: 'j2' })
  assert.equal(check(jane), 'revoked')
})

test('refuses a new entry rather than forget an old one, until old ones expire', () => {
  const { clock, revocations, check } = list({ maxEntries: 2 })
  revocations.revoke({ issuer, tokenId: 'j1', expiresAt: seconds + 100 })
  revocations.revoke({ issuer, tokenId: 'j2', expiresAt: seconds + 100 })
  assert.throws(() => revocations.revoke({ issuer, tokenId: 'j3' }), RevocationListFullError)
  revocations.revoke({ issuer, tokenId: 'j2', expiresAt: seconds + 200 })
  assert.equal(check(jane), 'revoked')
  clock.now += 161_000
  revocations.revoke({ issuer, tokenId: 'j3' })
  assert.equal(revocations.stats.entries, 2)
  revocations.clear()
  assert.deepEqual([revocations.stats.entries, check({ ...jane, jti: 'j3' })], [0, 'good'])
})

test('names what is wrong', () => {
  const { revocations } = list()
  const wrong: [unknown, RegExp][] = [
    [{ tokenId: 'a' }, /revoke: issuer must be a non-empty string, got undefined/],
    [{ issuer }, /needs one of tokenId, digest, subject, clientId, everything/],
    [{ issuer, subject: undefined }, /needs one of/],
    [{ issuer, subject: '' }, /needs one of/],
    [{ issuer, subject: 'a', clientId: 'b' }, /needs one of/],
    [{ issuer, everything: 'yes' }, /needs one of/],
    [{ issuer, tokenId: undefined }, /named by tokenId or by digest/],
    [{ issuer, tokenId: 'a', digest: 'b' }, /named by tokenId or by digest/],
    [{ issuer, tokenId: 'a', expiresAt: Number.NaN }, /expiresAt must be seconds since the epoch, got NaN/],
    [{ issuer, subject: 'a', notBefore: new Date('x') }, /notBefore must be a valid date/]
  ]
  for (const [revoked, message] of wrong) assert.throws(() => revocations.revoke(revoked as never), message)
  assert.equal(revocations.stats.entries, 0)
  assert.throws(
    () => list({ maxEntries: 0 }),
    /MemoryRevocationList: maxEntries must be a positive integer, got 0/
  )
  assert.throws(() => list({ retentionSeconds: -1 }), /retentionSeconds must be a positive number, got -1/)
})

test('against a plain list of everything ever revoked', () => {
  const name = fc.constantFrom('a', 'b')
  const issuers = fc.constantFrom('https://a.example', 'https://b.example')
  const step = fc.record({
    issuer: issuers,
    kind: fc.constantFrom('tokenId', 'subject', 'clientId', 'everything'),
    name,
    /** Seconds: of the epoch for kinds, of the expiry for tokens. */
    at: fc.integer({ min: -100, max: 200 }),
    wait: fc.integer({ min: 0, max: 120 })
  })
  const asked = fc.record({
    issuer: issuers,
    jti: name,
    sub: name,
    client: name,
    iat: fc.integer({ min: -150, max: 300 })
  })
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 30 }),
      fc.array(asked, { minLength: 5, maxLength: 20 }),
      (steps, tokens) => {
        const { clock, revocations } = list({ retentionSeconds: 150 })
        const entries: { hits: (token: (typeof tokens)[number]) => boolean; until: number }[] = []
        for (const { issuer, kind, name, at, wait } of steps) {
          clock.now += wait * 1000
          const instant = clock.now + at * 1000
          const seconds = instant / 1000
          if (kind === 'tokenId') {
            revocations.revoke({ issuer, tokenId: name, expiresAt: seconds })
            entries.push({ until: instant, hits: token => token.issuer === issuer && token.jti === name })
          } else {
            const which = kind === 'everything' ? { everything: true as const } : { [kind]: name }
            revocations.revoke({ issuer, ...which, notBefore: new Date(instant) })
            const names = { subject: 'sub', clientId: 'client' } as const
            const same = (token: (typeof tokens)[number]) =>
              kind === 'everything' || token[names[kind as 'subject']] === name
            entries.push({
              until: Math.max(instant, clock.now) + 150_000,
              hits: token => token.issuer === issuer && same(token) && now / 1000 + token.iat < seconds
            })
          }
          for (const token of tokens) {
            const claims = {
              iss: token.issuer,
              sub: token.sub,
              client_id: token.client,
              sid: 's',
              jti: token.jti
            }
            const answer = revocations.check(verified({ ...claims, iat: now / 1000 + token.iat }))
            const matching = entries.filter(({ hits }) => hits(token))
            if (matching.length === 0) assert.equal(answer, 'good')
            if (matching.some(({ until }) => until > clock.now)) assert.equal(answer, 'revoked')
          }
        }
      }
    ),
    { numRuns: 100 }
  )
})
