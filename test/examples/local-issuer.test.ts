import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose'
import { LocalIssuer } from '../../examples/local-issuer.ts'

test('the local issuer publishes what it signs with, and trades credentials for tokens', async t => {
  const issuer = await LocalIssuer.start({
    algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
    clients: [{ id: 'batch', secret: 's3cret', scopes: ['orders:read', 'orders:write'] }],
    people: [
      { username: 'ada', password: 'demo', claims: { email: 'ada@example.com' }, scopes: ['orders:read'] }
    ]
  })
  t.after(() => issuer.close())
  const discovery = (await (await fetch(`${issuer.url}/.well-known/openid-configuration`)).json()) as Record<
    string,
    string
  >
  assert.equal(discovery['issuer'], issuer.url)
  const jwks = (await (await fetch(discovery['jwks_uri']!)).json()) as JSONWebKeySet
  const keys = createLocalJWKSet(jwks)
  for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA'] as const) {
    const token = await issuer.issue({ sub: 'x' }, { alg })
    assert.equal(decodeProtectedHeader(token).alg, alg)
    await jwtVerify(token, keys, { issuer: issuer.url, audience: issuer.audience })
  }
  const ask = async (form: Record<string, string>, headers: Record<string, string> = {}) => {
    const res = await fetch(discovery['token_endpoint']!, {
      method: 'POST',
      body: new URLSearchParams(form),
      headers
    })
    return { status: res.status, body: (await res.json()) as Record<string, string> }
  }
  const machine = await ask(
    { grant_type: 'client_credentials', scope: 'orders:read' },
    { authorization: `Basic ${btoa('batch:s3cret')}` }
  )
  const { payload } = await jwtVerify(machine.body['access_token']!, keys)
  assert.equal(payload.sub, 'batch')
  assert.equal(payload['scope'], 'orders:read')
  const person = await ask({ grant_type: 'urn:ostiary:demo:password', username: 'ada', password: 'demo' })
  assert.equal((await jwtVerify(person.body['access_token']!, keys)).payload['email'], 'ada@example.com')
  const client = { grant_type: 'client_credentials', client_id: 'batch' }
  assert.equal((await ask({ ...client, client_secret: 'wrong' })).body['error'], 'invalid_client')
  assert.equal(
    (await ask({ ...client, client_secret: 's3cret', scope: 'admin' })).body['error'],
    'invalid_scope'
  )
  assert.equal((await ask({ grant_type: 'password' })).body['error'], 'unsupported_grant_type')
  const old = await issuer.issue()
  await issuer.rotate()
  const rotated = createLocalJWKSet(issuer.jwks)
  await assert.rejects(jwtVerify(old, rotated), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
  await jwtVerify(await issuer.issue(), rotated)
  await jwtVerify(await issuer.issue({}, { retired: true }), keys)
})
