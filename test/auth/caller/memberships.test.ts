import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import test, { type TestContext } from 'node:test'
import {
  auth0Permissions,
  claimMemberships,
  cognitoGroups,
  entraGroups,
  entraRoles,
  keycloakRoles,
  MembershipError,
  type MembershipOptions,
  type MembershipProvider,
  Memberships
} from '../../../lib/auth/caller/memberships.ts'
import type { User } from '../../../lib/auth/caller/user.ts'
import type { Claims } from '../../../lib/auth/token/verified-token.ts'
import { exchangeOf } from '../../../lib/http/exchange.ts'
import { pipeline } from '../../../lib/http/pipeline.ts'
import { listen } from '../../support/server.ts'
import { signedIn } from '../signed-in.ts'

/** Runs `look` with the user of a real request. */
async function withUser<T>(
  t: TestContext,
  claims: Claims,
  memberships: MembershipOptions,
  look: (user: User) => Promise<T>
): Promise<T> {
  let seen: Promise<T> | undefined
  const handle = pipeline(signedIn(claims, { memberships })).wrap(async (req, res) => {
    seen = look(exchangeOf(req).user as User)
    await seen.catch(() => undefined)
    res.end()
  })
  const port = await listen(t, createServer(handle))
  await (await fetch(`http://127.0.0.1:${port}/`)).text()
  return seen as Promise<T>
}

const sources: [string, MembershipProvider, Claims, string[]][] = [
  ['Cognito groups', cognitoGroups(), { 'cognito:groups': ['a', 'b'] }, ['a', 'b']],
  ['no Cognito groups', cognitoGroups(), {}, []],
  [
    'Keycloak realm roles',
    keycloakRoles(),
    { realm_access: { roles: ['a'] }, resource_access: { x: { roles: ['b'] } } },
    ['a']
  ],
  [
    'Keycloak client roles',
    keycloakRoles('x'),
    { realm_access: { roles: ['a'] }, resource_access: { x: { roles: ['b'] } } },
    ['b']
  ],
  ['another client’s roles', keycloakRoles('y'), { resource_access: { x: { roles: ['b'] } } }, []],
  ['a client called like a prototype’s member', keycloakRoles('constructor'), { resource_access: {} }, []],
  ['Entra roles', entraRoles(), { roles: ['Admin'] }, ['Admin']],
  ['Entra groups', entraGroups(), { groups: ['g1'] }, ['g1']],
  ['no Entra groups', entraGroups(), { _claim_names: {} }, []],
  ['Auth0 permissions', auth0Permissions(), { permissions: ['read:a'] }, ['read:a']],
  [
    'a claim named by a URL',
    claimMemberships('https://corp.example/roles'),
    { 'https://corp.example/roles': ['r'] },
    ['r']
  ],
  ['text split at spaces', claimMemberships('roles'), { roles: 'a b' }, ['a', 'b']],
  ['what is no list', claimMemberships('roles'), { roles: { a: true } }, []],
  ['a list of other things', claimMemberships('roles'), { roles: ['a', 1, null] }, ['a']]
]
for (const [what, roles, claims, expected] of sources) {
  test(`memberships from claims: ${what}`, async t => {
    assert.deepEqual(await withUser(t, { sub: 'x', ...claims }, { roles }, user => user.roles), expected)
  })
}

for (const claims of [{ _claim_names: { groups: 'src1' } }, { hasgroups: true }] as Claims[]) {
  test(`Entra leaves groups out: ${JSON.stringify(claims)} is an error, not an empty list`, async t => {
    await assert.rejects(
      withUser(t, { sub: 'x', ...claims }, { groups: entraGroups() }, user => user.groups),
      error => error instanceof MembershipError && /Microsoft Graph/.test(String(error.cause))
    )
  })
}

test('without options the claims of these names count', async t => {
  const claims = { sub: 'x', groups: ['g'], roles: ['r'], permissions: ['p'] }
  assert.deepEqual(
    await withUser(t, claims, {}, user => Promise.all([user.groups, user.roles, user.permissions])),
    [['g'], ['r'], ['p']]
  )
})

test('without options other providers’ usual claims count too', async t => {
  const claims = { sub: 'x', 'cognito:groups': ['g'], realm_access: { roles: ['r'] } }
  const lists = await withUser(t, claims, {}, user =>
    Promise.all([user.groups, user.roles, user.permissions])
  )
  assert.deepEqual(lists, [['g'], ['r'], []])
  await assert.rejects(
    withUser(t, { sub: 'x', hasgroups: true }, {}, user => user.groups),
    MembershipError
  )
})

test('a provider gets the user and the exchange, and is asked once', async t => {
  const asked: unknown[] = []
  const permissions: MembershipProvider = {
    async load(user, exchange) {
      asked.push([user.id, exchange.path])
      return ['a']
    }
  }
  const same = await withUser(t, { sub: 'x' }, { permissions }, async user => {
    const [first, second] = await Promise.all([user.permissions, user.permissions])
    return first === second && first === (await user.permissions)
  })
  assert.deepEqual([same, asked], [true, [['x', '/']]])
})

test('a user tells who acts for it, who says so, and what showed its kind', async t => {
  const claims = { iss: 'https://as.example', sub: 'jane', sid: 's', act: { sub: 'agent' } }
  const seen = await withUser(t, claims, {}, async user => [
    user.actor,
    user.issuer,
    user.evidence,
    user.claims
  ])
  assert.deepEqual(seen, ['agent', 'https://as.example', 'sid', claims])
})

test('wrong options are named', () => {
  const wrong: [() => unknown, RegExp][] = [
    [() => new Memberships({ roles: {} as never }), /memberships: roles must have a load function/],
    [
      () => new Memberships({ groups: null as never }),
      /memberships: groups must have a load function, got null/
    ],
    [
      () => new Memberships({ timeoutMs: 0 }),
      /memberships: timeoutMs must be a positive number of ms, got 0/
    ],
    [() => new Memberships({ timeoutMs: Number.NaN }), /got NaN/],
    [() => claimMemberships(), /claimMemberships: claim names must be non-empty strings, got \[\]/],
    [() => keycloakRoles(''), /claim names must be non-empty strings/]
  ]
  for (const [make, message] of wrong) assert.throws(make, message)
})

test('an error names no detail of the provider', () => {
  const error = new MembershipError('roles', new Error('ldap://secret'))
  assert.doesNotMatch(error.message, /ldap/)
  assert.deepEqual([error.statusCode, error.code], [503, 'ERR_MEMBERSHIP_UNAVAILABLE'])
})
