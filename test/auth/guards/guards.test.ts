import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import test, { type TestContext } from 'node:test'
import connect from 'connect'
import { MembershipError } from '../../../lib/auth/caller/memberships.ts'
import { requireHuman, requireM2M, requireUser } from '../../../lib/auth/guards/caller-guards.ts'
import {
  hasGroups,
  hasPermissions,
  hasRoles,
  requireGroups,
  requirePermissions,
  requireRoles
} from '../../../lib/auth/guards/membership-guards.ts'
import { hasScopes, requireScopes } from '../../../lib/auth/guards/scope-guards.ts'
import type { Claims } from '../../../lib/auth/token/verified-token.ts'
import { ClientAddress } from '../../../lib/http/client-address.ts'
import { type Denial, exchangeOf } from '../../../lib/http/exchange.ts'
import { composed, type Middleware, pipeline } from '../../../lib/http/pipeline.ts'
import { Reporter } from '../../../lib/http/reporter.ts'
import { listen } from '../../support/server.ts'
import { type SignedInOptions, signedIn } from '../signed-in.ts'

const machine: Claims = { sub: 'worker', client_id: 'worker', scope: 'orders:read' }
const person: Claims = { sub: 'jane', client_id: 'web', sid: 's1', scope: 'orders:read orders:write' }
const doubtful: Claims = { sub: 'svc-7f3a9', client_id: 'web', scope: 'orders:read' }
const delegated: Claims = { ...person, act: { sub: 'agent' } }
const nobody: Claims = { jti: 'j1', sid: 's1' }

interface Answer {
  status: number
  challenge: string | null
  retryAfter: string | null
  body: Record<string, unknown>
  denial: Denial | undefined
}

async function ask(
  t: TestContext,
  claims: Claims | undefined,
  guard: Middleware,
  options: SignedInOptions = {}
): Promise<Answer> {
  const { promise: ended, resolve } = withResolver<Denial | undefined>()
  const handle = pipeline(signedIn(claims, options), guard).wrap((_, answer) => answer.end('{"ok":true}'))
  const server = createServer((req, res) => {
    handle(req, res)
    exchangeOf(req).onEnd(exchange => resolve(exchange.denial))
  })
  const port = await listen(t, server)
  const response = await fetch(`http://127.0.0.1:${port}/`)
  const body = (await response.json()) as Record<string, unknown>
  return {
    status: response.status,
    challenge: response.headers.get('www-authenticate'),
    retryAfter: response.headers.get('retry-after'),
    body,
    denial: await ended
  }
}

function withResolver<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}

test('anonymous callers get a challenge without an error code from every guard', async t => {
  const challenge = {
    realm: 'orders',
    resourceMetadata: 'https://api.example/.well-known/oauth-protected-resource'
  }
  for (const guard of [requireUser(), requireHuman(), requireM2M(), requireScopes('a'), requireRoles('a')]) {
    const answer = await ask(t, undefined, guard, { challenge })
    assert.equal(answer.status, 401)
    assert.equal(
      answer.challenge,
      'Bearer realm="orders", resource_metadata="https://api.example/.well-known/oauth-protected-resource"'
    )
    assert.equal(answer.body['code'], 'authentication_required')
    assert.deepEqual(answer.denial, { stage: guard.stage.name, reason: 'missing_credentials' })
  }
})

test('a guard without authentication in front of it refuses', async t => {
  const port = await listen(t, createServer(requireUser().wrap((_, res) => res.end())))
  const response = await fetch(`http://127.0.0.1:${port}/`)
  assert.equal(response.status, 401)
  assert.equal(response.headers.get('www-authenticate'), 'Bearer')
})

const kinds: [string, Claims, () => Middleware, number, string | undefined, string | undefined][] = [
  ['a person is a user', person, requireUser, 200, undefined, undefined],
  ['a machine is a user', machine, requireUser, 200, undefined, undefined],
  ['one of whom nothing tells is a user', doubtful, requireUser, 200, undefined, undefined],
  ['nobody is not a user', nobody, requireUser, 403, 'subject_required', 'missing_subject'],
  ['a person is human', person, requireHuman, 200, undefined, undefined],
  ['a machine is not human', machine, requireHuman, 403, 'human_required', 'not_human'],
  ['in doubt not human', doubtful, requireHuman, 403, 'human_required', 'unknown_caller'],
  ['nobody is not human', nobody, requireHuman, 403, 'subject_required', 'missing_subject'],
  ['somebody acting for a person', delegated, requireHuman, 200, undefined, undefined],
  [
    'somebody acting for a person where nobody may',
    delegated,
    () => requireHuman({ allowDelegated: false }),
    403,
    'human_required',
    'delegated'
  ],
  ['a machine is a machine', machine, requireM2M, 200, undefined, undefined],
  ['a person is no machine', person, requireM2M, 403, 'machine_required', 'not_machine'],
  ['in doubt no machine', doubtful, requireM2M, 403, 'machine_required', 'unknown_caller']
]

for (const [name, claims, guard, status, code, reason] of kinds) {
  test(name, async t => {
    const answer = await ask(t, claims, guard())
    assert.equal(answer.status, status)
    assert.equal(answer.body['code'], code)
    assert.equal(answer.denial?.reason, reason)
    // More scope cannot help: no error code.
    assert.equal(answer.challenge, status === 200 ? null : 'Bearer')
  })
}

const scopeCases: [string, Claims, Middleware, boolean][] = [
  ['one scope', machine, requireScopes('orders:read'), true],
  ['all of two', person, requireScopes('orders:write', 'orders:read'), true],
  ['one of two is not all', machine, requireScopes('orders:read', 'orders:write'), false],
  ['one of two is any', machine, requireScopes.any('orders:write', 'orders:read'), true],
  ['none of two is not any', machine, requireScopes.any('orders:write', 'orders:delete'), false],
  [
    'a longer scope is another',
    { ...machine, scope: 'orders:readonly' },
    requireScopes('orders:read'),
    false
  ],
  ['case matters', machine, requireScopes('Orders:read'), false],
  ['scope as an array', { ...machine, scope: ['orders:read'] }, requireScopes('orders:read'), true],
  ['scp as text', { sub: 'a', scp: 'x orders:read' }, requireScopes('orders:read'), true],
  ['scp as an array', { sub: 'a', scp: ['orders:read'] }, requireScopes('orders:read'), true],
  ['no scope at all', { sub: 'a' }, requireScopes('orders:read'), false],
  ['a scope that is a number', { sub: 'a', scope: 7 }, requireScopes('7'), false]
]

for (const [name, claims, guard, passes] of scopeCases) {
  test(`scopes: ${name}`, async t => {
    const answer = await ask(t, claims, guard, { challenge: { realm: 'a"b\\c' } })
    assert.equal(answer.status, passes ? 200 : 403)
    if (passes) return
    assert.match(
      answer.challenge ?? '',
      /^Bearer realm="a\\"b\\\\c", error="insufficient_scope", error_description="[^"]+", scope="[^"]+"$/
    )
    assert.equal(answer.body['code'], 'insufficient_scope')
    assert.equal(answer.denial?.reason, 'insufficient_scope')
  })
}

test('a 403 names the scopes it takes', async t => {
  const answer = await ask(t, machine, requireScopes('orders:read', 'orders:write'))
  assert.match(answer.challenge ?? '', /scope="orders:read orders:write"/)
})

const membershipCases: [string, Claims, Middleware, boolean, string | undefined][] = [
  ['a group', { ...person, groups: ['a', 'b'] }, requireGroups('b'), true, undefined],
  ['one of the groups', { ...person, groups: ['b'] }, requireGroups('a', 'b'), true, undefined],
  ['not all groups', { ...person, groups: ['b'] }, requireGroups.all('a', 'b'), false, 'missing_group'],
  ['all roles', { ...person, roles: ['a', 'b'] }, requireRoles.all('b', 'a'), true, undefined],
  ['no role', person, requireRoles('admin'), false, 'missing_role'],
  [
    'a permission',
    { ...person, permissions: ['orders:read'] },
    requirePermissions('orders:read'),
    true,
    undefined
  ],
  [
    'no permission',
    { ...person, permissions: ['orders:reads'] },
    requirePermissions('orders:read'),
    false,
    'missing_permission'
  ],
  ['a role from the prototype', { ...person, roles: [] }, requireRoles('constructor'), false, 'missing_role']
]

for (const [name, claims, guard, passes, reason] of membershipCases) {
  test(`memberships: ${name}`, async t => {
    const answer = await ask(t, claims, guard)
    assert.equal(answer.status, passes ? 200 : 403)
    assert.equal(answer.denial?.reason, reason)
    assert.equal(answer.body['code'], reason)
    if (!passes) assert.equal(answer.challenge, 'Bearer')
  })
}

test('memberships are loaded once a request, however many guards ask', async t => {
  let loads = 0
  const roles = {
    load: async (user: { id: string }) => {
      loads++
      await new Promise(resolve => setImmediate(resolve))
      return [`role-of-${user.id}`]
    }
  }
  const seen: boolean[] = []
  const handle = pipeline(
    signedIn(person, { memberships: { roles, timeoutMs: 600_000 } }),
    requireRoles('role-of-jane'),
    requireRoles.all('role-of-jane')
  ).wrap(async (req, res) => {
    seen.push(await hasRoles(req, 'x', 'role-of-jane'), await hasRoles.all(req, 'x', 'role-of-jane'))
    seen.push(await hasGroups(req, 'x'), await hasPermissions(req, 'x'))
    res.end()
  })
  const port = await listen(t, createServer(handle))
  for (let request = 1; request <= 2; request++) {
    assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 200)
    assert.equal(loads, request)
  }
  assert.deepEqual(seen, [true, false, false, false, true, false, false, false])
})

const failures: [string, () => never | Promise<never>][] = [
  [
    'throws',
    () => {
      throw new Error('directory is down at ldap://10.0.0.1')
    }
  ],
  ['rejects', () => Promise.reject(new Error('directory is down at ldap://10.0.0.1'))],
  ['gives no list', () => Promise.resolve('admin' as never)],
  ['gives a list of other things', () => Promise.resolve([1] as never)],
  ['never answers', () => new Promise<never>(() => {})]
]

for (const [name, load] of failures) {
  test(`a provider that ${name} is a 503, in guards and in handlers`, async t => {
    const reporter = new Reporter({ onReport: () => {} })
    let calls = 0
    const provider = {
      load: () => {
        calls++
        return load()
      }
    }
    const signIn = signedIn(person, { memberships: { groups: provider, timeoutMs: 20 } }).stage
    const context = { reporter, clientAddress: new ClientAddress() }
    const guarded = composed([signIn, requireGroups('a').stage, requireGroups('b').stage], context).wrap(
      () => {
        assert.fail('the guard let it pass')
      }
    )
    const asking = composed([signIn], context).wrap(async (req, res) => {
      await assert.rejects(hasGroups(req, 'a'), MembershipError)
      res.end(String(await hasGroups(req, 'a')))
    })
    const port = await listen(
      t,
      createServer((req, res) => (req.url === '/guard' ? guarded : asking)(req, res))
    )
    for (const path of ['/guard', '/handler']) {
      const response = await fetch(`http://127.0.0.1:${port}${path}`)
      assert.equal(response.status, 503)
      assert.doesNotMatch(await response.text(), /ldap/)
      if (path === '/guard') assert.equal(response.headers.get('retry-after'), '1')
    }
    assert.equal(calls, 2)
    assert.equal(reporter.counts.get('membership_provider'), 2)
  })
}

test('questions about scopes', async t => {
  const answers: boolean[] = []
  const handle = pipeline(signedIn(person)).wrap(async (req, res) => {
    answers.push(
      await hasScopes(req, 'orders:read', 'orders:write'),
      await hasScopes(req, 'orders:read', 'x'),
      await hasScopes.any(req, 'orders:read', 'x'),
      await hasScopes.any(req, 'x')
    )
    await assert.rejects(hasScopes(req), /hasScopes: needs one or more names/)
    res.end()
  })
  const anonymous = pipeline(signedIn(undefined)).wrap(async (req, res) => {
    answers.push(await hasScopes(req, 'a'), await hasRoles(req, 'a'), await hasRoles.all(req, 'a'))
    res.end()
  })
  const port = await listen(
    t,
    createServer((req, res) => (req.url === '/' ? handle : anonymous)(req, res))
  )
  assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 200)
  assert.equal((await fetch(`http://127.0.0.1:${port}/anonymous`)).status, 200)
  assert.deepEqual(answers, [true, false, true, false, false, false, false])
})

test('guards work in a Connect stack', async t => {
  const app = connect()
  app.use(signedIn(machine))
  app.use('/people', requireHuman())
  app.use((_req: unknown, res: { end(text: string): void }) => res.end('in'))
  const port = await listen(t, createServer(app))
  assert.equal((await fetch(`http://127.0.0.1:${port}/people`)).status, 403)
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/all`)).text(), 'in')
})

test('wrong guards are named at construction', () => {
  const wrong: [() => unknown, RegExp][] = [
    [() => requireScopes(), /^TypeError: requireScopes: needs one or more names, got \[\]$/],
    [() => requireScopes('a b'), /requireScopes: needs one or more names, got "a b"/],
    [() => requireScopes.any(''), /requireScopes\.any: needs one or more names, got ""/],
    [() => requireScopes(['a'] as never), /got \["a"\]/],
    [() => requireGroups(), /requireGroups: needs/],
    [() => requireRoles.all('a', ' '), /requireRoles\.all: needs one or more names, got " "/],
    [() => requirePermissions(undefined as never), /requirePermissions: needs/],
    [
      () => requireHuman({ allowDelegated: 'no' as never }),
      /requireHuman: allowDelegated must be true or false, got no/
    ]
  ]
  for (const [make, message] of wrong) {
    assert.throws(make, error => message.test(String(error)) || assert.fail(String(error)) === undefined)
  }
})
