import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { identityOf } from '../../../lib/auth/caller/identity.ts'
import { M2MTokenDetector } from '../../../lib/auth/caller/m2m-token-detector.ts'
import { fc } from '../../support/seeded.ts'
import { shapes } from './token-shapes.ts'

interface Vector {
  id: string
  provider: string
  grant: string
  header?: unknown
  claims: Record<string, unknown>
  expected: string
  clientId: string | null
}

const { tokens } = JSON.parse(
  readFileSync(new URL('../../vectors/m2m-claims.json', import.meta.url), 'utf8')
) as { tokens: Vector[] }

test('judges every known token shape right', async t => {
  for (const vector of tokens) {
    await t.test(`${vector.id} ${vector.provider}, ${vector.grant}`, () => {
      const { kind, clientId, reason } = M2MTokenDetector.explain(vector.claims, vector.header)
      assert.deepEqual({ kind, clientId }, { kind: vector.expected, clientId: vector.clientId }, reason)
    })
  }
})

test('judges other shapes of the same providers, and of others', async t => {
  for (const [what, expected, clientId, claims, header] of shapes) {
    await t.test(what, () => {
      const answer = M2MTokenDetector.explain(claims, header)
      assert.deepEqual([answer.kind, answer.clientId], [expected, clientId], JSON.stringify(answer))
    })
  }
})

test('answers about claims of any shape without throwing', () => {
  const hostile = [undefined, null, 0, '', 'x', true, [], [1], {}, () => 1, Symbol('x')]
  for (const claims of hostile) {
    assert.equal(M2MTokenDetector.explain(claims, claims).kind, 'unknown')
    assert.equal(M2MTokenDetector.isM2MToken(claims), false)
    assert.equal(M2MTokenDetector.getClientId(claims), null)
  }
  const names = new Set(tokens.flatMap(vector => Object.keys(vector.claims)))
  for (const value of [
    null,
    0,
    Number.NaN,
    '',
    ' ',
    true,
    [],
    [null],
    [[]],
    {},
    { sub: {} },
    'https://',
    'http://['
  ]) {
    const claims = Object.fromEntries([...names].map(name => [name, value]))
    assert.equal(typeof M2MTokenDetector.explain(claims, claims).kind, 'string')
    M2MTokenDetector.getTokenMetadata(claims)
  }
})

test('damaging one claim of a machine’s token never makes it a person’s', () => {
  const machines = [
    ...tokens.filter(({ expected }) => expected === 'machine'),
    ...shapes
      .filter(([, kind]) => kind === 'machine')
      .map(([id, , , claims, header]) => ({ id, claims, header }))
  ]
  for (const { id, claims, header } of machines) {
    // But for `token_use` an API token is its owner's token.
    for (const name of Object.keys(claims).filter(claim => claim !== 'token_use')) {
      for (const value of [undefined, null, '', 7, [], {}]) {
        const { kind, reason } = M2MTokenDetector.explain({ ...claims, [name]: value }, header)
        assert.notEqual(kind, 'human', `${id} with ${name}=${JSON.stringify(value)}: ${reason}`)
      }
    }
  }
})

test('tells what the token is about in the words of the seed system', () => {
  assert.deepEqual(
    M2MTokenDetector.getTokenMetadata({
      sub: 'worker',
      client_id: 'worker',
      token_use: 'access',
      scope: 'orders/read orders/write'
    }),
    {
      isM2M: true,
      clientId: 'worker',
      tokenUse: 'access',
      scopes: ['orders/read', 'orders/write'],
      hasUserContext: false,
      subject: 'worker',
      serviceAccount: 'worker'
    }
  )
  assert.deepEqual(
    M2MTokenDetector.getTokenMetadata({
      iss: 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE01',
      sub: 'u1',
      username: 'jane',
      client_id: 'web',
      token_use: 'access',
      email: ' '
    }),
    {
      isM2M: false,
      clientId: 'web',
      tokenUse: 'access',
      scopes: [],
      hasUserContext: true,
      subject: 'u1',
      username: 'jane',
      email: null
    }
  )
  assert.deepEqual(M2MTokenDetector.getTokenMetadata({ sub: 'x' }), {
    isM2M: false,
    clientId: null,
    tokenUse: null,
    scopes: [],
    hasUserContext: false,
    subject: 'x'
  })
})

test('takes no machine for a person behind an issuer’s own domain', () => {
  const machines = [
    ...tokens
      .filter(({ expected }) => expected === 'machine')
      .map(({ id, claims, header }) => ({ id, claims, header })),
    ...shapes
      .filter(([, kind]) => kind === 'machine')
      .map(([id, , , claims, header]) => ({ id, claims, header }))
  ]
  for (const { id, claims, header } of machines) {
    const { kind, reason } = M2MTokenDetector.explain(
      { ...claims, iss: 'https://login.corp.example' },
      header
    )
    assert.notEqual(kind, 'human', `${id}: ${reason}`)
  }
})

test('says the same in every way of asking, of claims mixed from all providers', () => {
  const all = [...tokens.map(({ claims }) => claims), ...shapes.map(([, , , claims]) => claims)]
  const values = new Map<string, unknown[]>()
  for (const claims of all) {
    for (const [name, value] of Object.entries(claims)) values.set(name, [...(values.get(name) ?? []), value])
  }
  const mixed = fc.record(
    Object.fromEntries(
      [...values].map(([name, known]) => [name, fc.oneof(fc.constantFrom(...known), fc.jsonValue())])
    ),
    { requiredKeys: [] }
  )
  fc.assert(
    fc.property(mixed, claims => {
      const { kind, clientId, reason, provider } = M2MTokenDetector.explain(claims)
      assert.equal(M2MTokenDetector.isM2MToken(claims), kind === 'machine')
      assert.equal(M2MTokenDetector.getClientId(claims), clientId)
      const metadata = M2MTokenDetector.getTokenMetadata(claims)
      assert.deepEqual([metadata.isM2M, metadata.hasUserContext], [kind === 'machine', kind === 'human'])
      const identity = identityOf(claims as never)
      assert.deepEqual([identity.kind, identity.evidence, identity.provider], [kind, reason, provider])
      assert.ok(identity.clientId === null || typeof identity.clientId === 'string')
      assert.match(identity.key, /^(?:user|client|token):/)
      assert.match(reason, /^[a-zA-Z]/)
    }),
    { numRuns: 300 }
  )
})
