import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseCompactToken } from '../../../lib/auth/token/compact-token.ts'
import { Refusal } from '../../../lib/auth/token/refusal.ts'
import { TokenHeaders } from '../../../lib/auth/token/token-header.ts'
import { TokenVerifier } from '../../../lib/auth/token/token-verifier.ts'
import { fc } from '../../support/seeded.ts'
import { base64url } from '../forge.ts'

const headers = () => new TokenHeaders(new Set(['RS256']))
const segment = fc.string({
  unit: fc.constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'),
  minLength: 1,
  maxLength: 40
})

test('a segment is canonical exactly when encoding its bytes again gives it back', () => {
  const header = base64url({ alg: 'RS256' })
  const claims = base64url({ sub: 'a' })
  fc.assert(
    fc.property(segment, signature => {
      const canonical = Buffer.from(signature, 'base64url').toString('base64url') === signature
      const token = parseCompactToken(`${header}.${claims}.${signature}`, headers())
      if (canonical) assert.ok(!(token instanceof Refusal))
      else assert.equal(token instanceof Refusal && token.reason, 'non_canonical_token')
    }),
    { numRuns: 2_000 }
  )
})

test('what is read is what JSON.parse reads, or a refusal', () => {
  fc.assert(
    fc.property(fc.jsonValue({ depthSize: 'medium' }), claims => {
      const token = parseCompactToken(
        `${base64url({ alg: 'RS256' })}.${base64url(JSON.stringify(claims))}.AA`,
        headers()
      )
      const isObject = typeof claims === 'object' && claims !== null && !Array.isArray(claims)
      if (isObject)
        assert.deepEqual((token as { claims: unknown }).claims, JSON.parse(JSON.stringify(claims)))
      else assert.equal((token as Refusal).reason, 'malformed_claims')
    }),
    { numRuns: 500 }
  )
})

test('claims are read whole, long ones and short ones in turn, and characters that look like a mistake', () => {
  const read = (claims: Record<string, unknown>) =>
    parseCompactToken(`${base64url({ alg: 'RS256' })}.${base64url(JSON.stringify(claims))}.AA`, headers())
  for (const text of [
    'a',
    'é€😀'.repeat(20_000),
    'b',
    '\ufffd',
    'c'.repeat(6_130),
    '\ufeff',
    '',
    'x\u0000y'
  ]) {
    assert.deepEqual((read({ text, last: 1 }) as { claims: unknown }).claims, { text, last: 1 })
  }
  const broken = Buffer.concat([Buffer.from('{"text":"\ufffd'), Buffer.from([0xe2, 0x82]), Buffer.from('"}')])
  for (const bytes of [broken, Buffer.concat([Buffer.alloc(9_000, 0x20), broken])]) {
    const token = parseCompactToken(`${base64url({ alg: 'RS256' })}.${base64url(bytes)}.AA`, headers())
    assert.equal((token as Refusal).reason, 'malformed_claims')
  }
})

test('no text, no header and no claims make a verifier throw, or wait for anything', () => {
  const issuer = 'https://id.example.com'
  const verifier = new TokenVerifier({ issuer, audience: 'a', jwksUri: `${issuer}/jwks`, fetch: unanswered })
  const json = fc.jsonValue({ depthSize: 'small' })
  const members = fc.dictionary(fc.constantFrom('alg', 'kid', 'typ', 'crit', 'jwk', 'b64', '__proto__'), json)
  const claims = fc.dictionary(
    fc.constantFrom('iss', 'aud', 'exp', 'nbf', 'iat', 'sub', 'cnf', 'typ', 'jti'),
    json
  )
  const tokens = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.tuple(segment, segment, segment).map(parts => parts.join('.')),
    fc
      .tuple(fc.oneof(json, members), fc.oneof(json, claims), segment)
      .map(
        ([head, body, end]) => `${base64url(JSON.stringify(head))}.${base64url(JSON.stringify(body))}.${end}`
      )
  )
  fc.assert(
    fc.property(tokens, token => {
      assert.ok(verifier.check(token) instanceof Refusal)
    }),
    { numRuns: 3_000 }
  )
  verifier.close()
})

function unanswered(_url: string, init: RequestInit): Promise<Response> {
  return new Promise((_, reject) => {
    init.signal?.addEventListener('abort', () => reject(init.signal?.reason))
  })
}
