import assert from 'node:assert/strict'
import test from 'node:test'
import { actorOf, checkIdentityOptions, identityOf } from '../../../lib/auth/caller/identity.ts'
import type { Claims } from '../../../lib/auth/token/verified-token.ts'

const iss = 'https://issuer.example'

test('a machine is its client', () => {
  const identity = identityOf({ iss, sub: 'worker', client_id: 'worker', scope: 'a b' })
  assert.deepEqual(identity, {
    id: 'worker',
    key: 'client:worker',
    name: null,
    email: null,
    kind: 'machine',
    isM2M: true,
    clientId: 'worker',
    scopes: ['a', 'b'],
    provider: null,
    evidence: 'sub equals client_id'
  })
  assert.ok(Object.isFrozen(identity) && Object.isFrozen(identity.scopes))
  assert.throws(() => (identity.scopes as string[]).push('admin'), TypeError)
})

const ids: [string, Claims, string, string][] = [
  ['a person', { sub: 'jane', sid: 's', client_id: 'web' }, 'jane', 'user:jane'],
  ['a machine whose sub is another id', { sub: 'x@clients', azp: 'y' }, 'x@clients', 'client:y'],
  ['a machine without sub', { client_id: 'worker' }, 'worker', 'client:worker'],
  ['a machine with a blank sub', { client_id: 'worker', sub: '' }, 'worker', 'client:worker'],
  ['a workload', { sub: 'spiffe://corp/db' }, 'spiffe://corp/db', 'client:spiffe://corp/db'],
  ['a machine without sub and client', { role: 'service_role', jti: 'j' }, '', 'token:j'],
  ['one that may be both', { sub: 'svc', client_id: 'web' }, 'svc', 'user:svc'],
  ['a person without sub', { sid: 's', jti: 'j' }, '', 'token:j'],
  ['nobody', {}, '', 'token:'],
  ['a sub that is no text', { sub: 7 as never }, '', 'token:']
]
for (const [what, claims, id, key] of ids) {
  test(`id and key of ${what}`, () => {
    const identity = identityOf(claims)
    assert.deepEqual([identity.id, identity.key], [id, key])
  })
}

test('callers of several issuers never share a key', () => {
  const options = { issuerInKey: true }
  const keys = ['https://a.example', 'https://b.example'].flatMap(issuer => [
    identityOf({ iss: issuer, sub: 'x', sid: 's' }, {}, options).key,
    identityOf({ iss: issuer, sub: 'x', client_id: 'x' }, {}, options).key,
    identityOf({ iss: issuer, jti: 'x' }, {}, options).key
  ])
  assert.equal(new Set(keys).size, 6)
  assert.equal(keys[0], 'user:https://a.example|x')
})

const scopeShapes: [Claims, string[]][] = [
  [{ scope: 'a b' }, ['a', 'b']],
  [{ scope: ' a  b ' }, ['a', 'b']],
  [{ scope: ['a', 'b', '', 7] }, ['a', 'b']],
  [{ scp: 'a b' }, ['a', 'b']],
  [{ scp: ['a'] }, ['a']],
  [{ scope: 'a b', scp: ['b', 'c'] }, ['a', 'b', 'c']],
  [{ scope: 7 }, []],
  [{ scope: { a: 1 } }, []],
  [{}, []]
]
for (const [claims, scopes] of scopeShapes) {
  test(`scopes of ${JSON.stringify(claims)}`, () => assert.deepEqual(identityOf(claims).scopes, scopes))
}

const names: [Claims, string | null, string | null][] = [
  [{ name: 'Jane Doe', email: 'jane@corp.example' }, 'Jane Doe', 'jane@corp.example'],
  [{ name: ' ', given_name: 'Jane', family_name: 'Doe', email: '' }, 'Jane Doe', null],
  [{ preferred_username: 'jane', email: '   ' }, 'jane', null],
  [{ username: 'jane', emails: ['a@corp.example', 'b@corp.example'] }, 'jane', 'a@corp.example'],
  [{ emails: [] }, null, null],
  [{ name: 7, email: ['x'] }, null, null]
]
for (const [claims, name, email] of names) {
  test(`name and e-mail of ${JSON.stringify(claims)}`, () => {
    const identity = identityOf({ sub: 'x', ...claims })
    assert.deepEqual([identity.name, identity.email], [name, email])
  })
}

test('operators know better: listed machines, a provider’s rules, a rule of their own', () => {
  const zitadel = { iss: 'https://x.zitadel.cloud', sub: '1005', client_id: 'worker' }
  assert.equal(identityOf(zitadel).kind, 'unknown')
  const bySubject = identityOf(zitadel, {}, { machineSubjects: ['1005'] })
  assert.deepEqual(
    [bySubject.kind, bySubject.key, bySubject.evidence],
    ['machine', 'client:worker', 'a listed machine subject']
  )
  assert.equal(
    identityOf(zitadel, {}, { machineSubjects: ['1006'], machineClients: ['web'] }).kind,
    'unknown'
  )
  const byClient = identityOf(zitadel, {}, { machineClients: ['worker'] })
  assert.deepEqual([byClient.kind, byClient.evidence], ['machine', 'a listed machine client'])

  const okta = { iss: 'https://id.corp.example', sub: 'jane@corp.example', cid: '0oa1', uid: '00u1' }
  assert.deepEqual([identityOf(okta).kind, identityOf(okta, {}, { m2m: 'okta' }).kind], ['unknown', 'human'])
  assert.equal(identityOf(okta, {}, { m2m: 'okta' }).provider, 'okta')

  const rule = (claims: Claims, header: { typ?: string }) =>
    header.typ === 'robot' ? ('machine' as const) : claims['staff'] === true ? ('human' as const) : undefined
  assert.equal(identityOf({ sub: 'a' }, { typ: 'robot' }, { m2m: rule }).kind, 'machine')
  const human = identityOf({ sub: 'a', staff: true }, {}, { m2m: rule })
  assert.deepEqual([human.kind, human.isM2M, human.evidence], ['human', false, 'the issuer’s own rule'])
  assert.equal(identityOf({ sub: 'a', client_id: 'a' }, {}, { m2m: rule }).kind, 'machine')
  assert.throws(
    () => identityOf({}, {}, { m2m: () => 'robot' as never }),
    /m2m: a rule must answer .*, got robot/
  )
})

test('an actor is the outermost one', () => {
  const actors: [Claims, string | null][] = [
    [{ sub: 'jane', act: { sub: 'agent', act: { sub: 'inner' } } }, 'agent'],
    [{ act: { client_id: 'api' } }, 'api'],
    [{ act: { act: { sub: 'inner' } } }, null],
    [{ act: 'agent' }, null],
    [{ act: { sub: 7 } }, null],
    [{}, null]
  ]
  for (const [claims, actor] of actors) assert.equal(actorOf(claims), actor)
})

test('wrong options are named', () => {
  const wrong: [object, RegExp][] = [
    [{ m2m: 'autho' }, /^TypeError: authenticate: m2m must be a function or one of .*auth0.*, got "autho"$/],
    [{ m2m: 7 }, /m2m must be a function or one of .*, got 7/],
    [{ machineSubjects: 'x' }, /authenticate: machineSubjects must be a list of non-empty strings, got "x"/],
    [{ machineClients: ['a', ''] }, /machineClients must be a list of non-empty strings, got \["a",""\]/]
  ]
  for (const [options, message] of wrong)
    assert.throws(() => checkIdentityOptions(options, 'authenticate'), message)
  checkIdentityOptions({ m2m: 'keycloak', machineClients: ['a'], machineSubjects: [] }, 'authenticate')
  checkIdentityOptions({ m2m: () => undefined }, 'authenticate')
})
