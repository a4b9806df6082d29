import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import test from 'node:test'
import { requireUser } from '../../lib/auth/guards/caller-guards.ts'
import {
  type ProtectedResourceMetadataOptions,
  protectedResourceMetadata
} from '../../lib/auth/protected-resource-metadata.ts'
import { pipeline } from '../../lib/http/pipeline.ts'
import { listen } from '../support/server.ts'
import { signedIn } from './signed-in.ts'

const resource = 'https://api.corp.example/mcp'
const authorizationServers = ['https://login.corp.example/']

test('a client without a token finds its way from the challenge to the authorization server', async t => {
  const server = createServer((req, res) => handle(req, res))
  const port = await listen(t, server)
  const origin = `http://127.0.0.1:${port}`
  const metadata = protectedResourceMetadata({
    resource: `${origin}/mcp`,
    authorizationServers,
    scopesSupported: ['a']
  })
  const handle = pipeline(
    metadata,
    signedIn(undefined, { challenge: { resourceMetadata: metadata.url } }),
    requireUser()
  ).wrap((_, res) => res.end())

  const refused = await fetch(`${origin}/mcp`)
  const challenge = refused.headers.get('www-authenticate') ?? ''
  assert.equal(refused.status, 401)
  const where = /resource_metadata="([^"]+)"/.exec(challenge)?.[1]
  assert.equal(where, `${origin}/.well-known/oauth-protected-resource/mcp`)
  const found = await fetch(where)
  assert.equal(found.status, 200)
  assert.equal(found.headers.get('content-type'), 'application/json')
  assert.equal(found.headers.get('access-control-allow-origin'), '*')
  assert.equal(found.headers.get('cache-control'), 'public, max-age=3600')
  assert.deepEqual(await found.json(), {
    resource: `${origin}/mcp`,
    authorization_servers: authorizationServers,
    scopes_supported: ['a'],
    bearer_methods_supported: ['header']
  })
})

test('writes every option under its registered name', async t => {
  const metadata = protectedResourceMetadata({
    resource,
    authorizationServers,
    scopesSupported: ['a', 'b'],
    bearerMethodsSupported: [],
    resourceName: 'Orders',
    resourceDocumentation: 'https://corp.example/docs',
    resourcePolicyUri: 'https://corp.example/policy',
    resourceTosUri: 'https://corp.example/tos',
    jwksUri: 'https://corp.example/jwks',
    resourceSigningAlgValuesSupported: ['ES256'],
    tlsClientCertificateBoundAccessTokens: true,
    authorizationDetailsTypesSupported: ['payment'],
    dpopSigningAlgValuesSupported: ['ES256'],
    dpopBoundAccessTokensRequired: false,
    extensions: { 'resource_name#de': 'Bestellungen' },
    maxAgeSeconds: 0
  })
  const port = await listen(t, createServer(metadata))
  const response = await fetch(`http://127.0.0.1:${port}${metadata.path}?x=1`)
  assert.equal(response.headers.get('cache-control'), 'public, max-age=0')
  assert.deepEqual(await response.json(), {
    resource,
    authorization_servers: authorizationServers,
    scopes_supported: ['a', 'b'],
    bearer_methods_supported: [],
    resource_name: 'Orders',
    resource_documentation: 'https://corp.example/docs',
    resource_policy_uri: 'https://corp.example/policy',
    resource_tos_uri: 'https://corp.example/tos',
    jwks_uri: 'https://corp.example/jwks',
    resource_signing_alg_values_supported: ['ES256'],
    tls_client_certificate_bound_access_tokens: true,
    authorization_details_types_supported: ['payment'],
    dpop_signing_alg_values_supported: ['ES256'],
    dpop_bound_access_tokens_required: false,
    'resource_name#de': 'Bestellungen'
  })
})

const places: [string, string, string][] = [
  [
    'https://api.example',
    '/.well-known/oauth-protected-resource',
    'https://api.example/.well-known/oauth-protected-resource'
  ],
  [
    'https://api.example/',
    '/.well-known/oauth-protected-resource',
    'https://api.example/.well-known/oauth-protected-resource'
  ],
  [
    'https://api.example:8443/a/b/',
    '/.well-known/oauth-protected-resource/a/b/',
    'https://api.example:8443/.well-known/oauth-protected-resource/a/b/'
  ],
  [
    'https://api.example/a?k=v',
    '/.well-known/oauth-protected-resource/a',
    'https://api.example/.well-known/oauth-protected-resource/a?k=v'
  ]
]
for (const [of, path, url] of places) {
  test(`the document of ${of} is at ${path}`, () => {
    const metadata = protectedResourceMetadata({ resource: of, authorizationServers })
    assert.deepEqual([metadata.path, metadata.url], [path, url])
  })
}

test('answers the methods of a document, and nothing else', async t => {
  const metadata = protectedResourceMetadata({ resource, authorizationServers })
  const origin = `http://127.0.0.1:${await listen(t, createServer(metadata))}`
  const head = await fetch(origin + metadata.path, { method: 'HEAD' })
  assert.deepEqual([head.status, await head.text()], [200, ''])
  assert.ok(Number(head.headers.get('content-length')) > 0)
  const preflight = await fetch(origin + metadata.path, { method: 'OPTIONS' })
  assert.equal(preflight.status, 204)
  assert.equal(preflight.headers.get('access-control-allow-headers'), '*')
  const post = await fetch(origin + metadata.path, { method: 'POST', body: 'x' })
  assert.deepEqual([post.status, post.headers.get('allow')], [405, 'GET, HEAD, OPTIONS'])
  for (const path of [
    '/',
    '/.well-known/oauth-protected-resource',
    `${metadata.path}/`,
    `${metadata.path}%2f`
  ]) {
    assert.equal((await fetch(origin + path)).status, 404, path)
  }
})

test('wrong options are named', () => {
  const wrong: [Partial<ProtectedResourceMetadataOptions> | object, RegExp][] = [
    [
      { resource: 'http://api.example' },
      /^TypeError: protectedResourceMetadata: resource must be an https URL .*, got "http:\/\/api.example"$/
    ],
    [{ resource: 'https://api.example/#x' }, /resource must be an https URL/],
    [{ authorizationServers: [] }, /authorizationServers must be a list of issuers, got \[\]/],
    [{ authorizationServers: 'https://a.example' }, /authorizationServers must be a list of issuers/],
    [{ authorizationServers: ['login'] }, /authorizationServers must be an https URL .* got "login"/],
    [{ scopesSupported: [] }, /scopesSupported must be a list of non-empty strings, got \[\]/],
    [
      { bearerMethodsSupported: ['cookie'] },
      /bearerMethodsSupported must be a list out of header, body, query/
    ],
    [{ resourceName: '' }, /resourceName must be a non-empty string, got ""/],
    [{ resourceTosUri: 'x' }, /resourceTosUri must be an https URL/],
    [
      { dpopSigningAlgValuesSupported: ['none'] },
      /dpopSigningAlgValuesSupported must be a list without none/
    ],
    [{ extensions: { resource: 'x' } }, /extensions must not hold resource/],
    [{ maxAgeSeconds: -1 }, /maxAgeSeconds must be a non-negative integer, got -1/]
  ]
  for (const [options, message] of wrong) {
    assert.throws(() => protectedResourceMetadata({ resource, authorizationServers, ...options }), message)
  }
})
