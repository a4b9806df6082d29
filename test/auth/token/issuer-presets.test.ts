/** Tokens as the providers issue them, names and shapes, signed with real keys. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import type { IssuerPreset } from '../../../lib/auth/token/issuer-preset.ts'
import { Refusal } from '../../../lib/auth/token/refusal.ts'
import { TokenVerifier } from '../../../lib/auth/token/token-verifier.ts'

const tenant = 'aaaabbbb-0000-cccc-1111-dddd2222eeee'
const now = Math.floor(Date.now() / 1000)
const times = { iat: now, exp: now + 3_600 }
let signer: { key: CryptoKey; jwk: JWK }

before(async () => {
  const { privateKey, publicKey } = await generateKeyPair('RS256')
  signer = { key: privateKey, jwk: { ...(await exportJWK(publicKey)), kid: 'k1', use: 'sig' } }
})

interface Case {
  preset: IssuerPreset
  issuer: string
  audience: string
  /** Entra publishes its keys without `alg`. */
  alg?: string
  header?: Record<string, unknown>
  claims: Record<string, unknown>
  kind: string
  clientId: string | null
  /** What makes the token a bad one, and why it is refused. */
  wrong: [change: Record<string, unknown>, reason: string, header?: Record<string, unknown>][]
}

const cognito = 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE01'
const client = '3exampleclientid7q8r9s0t1u'
const keycloak = 'https://id.example.com/realms/orders'

const cases: Case[] = [
  {
    preset: 'cognito',
    issuer: cognito,
    audience: client,
    alg: 'RS256',
    claims: {
      sub: client,
      token_use: 'access',
      scope: 'orders-api/read',
      auth_time: now,
      version: 2,
      jti: '11111111-aaaa-4bbb-8ccc-222222222222',
      client_id: client
    },
    kind: 'machine',
    clientId: client,
    wrong: [
      [{ client_id: 'another' }, 'wrong_audience'],
      [{ client_id: undefined, aud: client, token_use: 'id' }, 'wrong_audience'],
      [{ token_use: 'id' }, 'wrong_token_type'],
      [{ token_use: undefined }, 'wrong_token_type'],
      [{ iss: cognito.replace('01', '02') }, 'unknown_issuer']
    ]
  },
  {
    preset: 'entra-v2',
    issuer: `https://login.microsoftonline.com/${tenant}/v2.0`,
    audience: '6e74172b-be56-4843-9ff4-e66a39bb12e3',
    header: { typ: 'JWT', x5t: 'k1' },
    claims: {
      aud: '6e74172b-be56-4843-9ff4-e66a39bb12e3',
      azp: '7f2a0e11-0000-4000-8000-000000000001',
      azpacr: '1',
      idtyp: 'app',
      oid: '9b9c0000-0000-4000-8000-000000000002',
      sub: '9b9c0000-0000-4000-8000-000000000002',
      roles: ['Orders.Read.All'],
      tid: tenant,
      ver: '2.0',
      nbf: now
    },
    kind: 'machine',
    clientId: '7f2a0e11-0000-4000-8000-000000000001',
    wrong: [
      [{ tid: '00000000-0000-0000-0000-000000000000' }, 'unknown_issuer'],
      [{ ver: '1.0' }, 'wrong_token_type'],
      [{}, 'microsoft_graph_token', { nonce: 'x' }]
    ]
  },
  {
    preset: 'entra-v1',
    issuer: `https://sts.windows.net/${tenant}/`,
    audience: 'api://orders',
    header: { typ: 'JWT' },
    claims: {
      aud: 'api://orders',
      appid: '7f2a0e11-0000-4000-8000-000000000001',
      appidacr: '0',
      name: 'Ada Example',
      oid: '11110000-0000-4000-8000-000000000003',
      scp: 'Orders.Read Orders.Write',
      sub: 'AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ',
      tid: tenant,
      unique_name: 'ada@example.com',
      upn: 'ada@example.com',
      ver: '1.0'
    },
    kind: 'human',
    clientId: '7f2a0e11-0000-4000-8000-000000000001',
    wrong: [
      [{ ver: '2.0' }, 'wrong_token_type'],
      [{ iss: `https://sts.windows.net/${tenant}` }, 'unknown_issuer']
    ]
  },
  {
    preset: 'auth0',
    issuer: 'https://login.example.com/',
    audience: 'https://orders.example.com',
    alg: 'RS256',
    header: { typ: 'JWT' },
    claims: {
      sub: 'exampleClientId@clients',
      aud: 'https://orders.example.com',
      azp: 'exampleClientId',
      gty: 'client-credentials',
      scope: 'read:orders'
    },
    kind: 'machine',
    clientId: 'exampleClientId',
    wrong: [
      [{ iss: 'https://login.example.com' }, 'unknown_issuer'],
      [{ aud: 'exampleClientId', nonce: 'n' }, 'wrong_audience']
    ]
  },
  {
    preset: 'okta',
    issuer: 'https://example.okta.com/oauth2/default',
    audience: 'api://default',
    alg: 'RS256',
    claims: {
      ver: 1,
      jti: 'AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE',
      aud: 'api://default',
      cid: '0oabucvyc38HLL1ef0h7',
      uid: '00ub0oNGTSWTBKOLGLNR',
      scp: ['openid', 'orders'],
      auth_time: now,
      sub: 'ada@example.com'
    },
    kind: 'human',
    clientId: '0oabucvyc38HLL1ef0h7',
    wrong: [[{ aud: 'https://example.okta.com' }, 'wrong_audience']]
  },
  {
    preset: 'keycloak',
    issuer: keycloak,
    audience: 'orders-api',
    alg: 'RS256',
    header: { typ: 'JWT' },
    claims: {
      jti: 'onrtac:5d2a0000-0000-4000-8000-000000000004',
      aud: ['orders-api', 'account'],
      sub: 'f6f30000-0000-4000-8000-000000000005',
      typ: 'Bearer',
      azp: 'orders-web',
      sid: '0c7b0000-0000-4000-8000-000000000006',
      scope: 'openid email',
      realm_access: { roles: ['user'] },
      email: 'ada@example.com',
      preferred_username: 'ada'
    },
    kind: 'human',
    clientId: 'orders-web',
    wrong: [
      [{ typ: 'ID' }, 'wrong_token_type'],
      [{ typ: 'Refresh' }, 'wrong_token_type'],
      [{ typ: undefined }, 'wrong_token_type'],
      [{ aud: 'account' }, 'wrong_audience'],
      [{ iss: `${keycloak}/` }, 'unknown_issuer']
    ]
  },
  {
    preset: 'google',
    issuer: 'https://accounts.google.com',
    audience: 'https://orders.example.com',
    alg: 'RS256',
    header: { typ: 'JWT' },
    claims: {
      aud: 'https://orders.example.com',
      azp: '104029292853099978293',
      email: 'caller@example-project.iam.gserviceaccount.com',
      email_verified: true,
      sub: '104029292853099978293'
    },
    kind: 'machine',
    clientId: '104029292853099978293',
    wrong: [
      [{ iss: 'https://accounts.google.com/' }, 'unknown_issuer'],
      [{ aud: 'other' }, 'wrong_audience']
    ]
  },
  {
    preset: 'oidc',
    issuer: 'https://id.example.com',
    audience: 'orders-api',
    alg: 'RS256',
    header: { typ: 'at+jwt' },
    claims: { aud: 'orders-api', sub: 'client-1', client_id: 'client-1', scope: 'read' },
    kind: 'machine',
    clientId: 'client-1',
    wrong: [[{ nonce: 'n' }, 'wrong_token_type', { typ: 'JWT', scope: '' }]]
  }
]

function sign(claims: Record<string, unknown>, header: Record<string, unknown>): Promise<string> {
  return new SignJWT({ ...times, ...claims })
    .setProtectedHeader({ alg: 'RS256', kid: 'k1', ...header })
    .sign(signer.key)
}

for (const { preset, issuer, audience, alg, header = {}, claims, kind, clientId, wrong } of cases) {
  test(`${preset}: a token of ${issuer}`, async () => {
    const jwks = { keys: [{ ...signer.jwk, ...(alg && { alg }) }] }
    const verifier = new TokenVerifier({ preset, issuer, audience, jwks })
    const token = await verifier.verify(await sign({ iss: issuer, ...claims }, header))
    assert.equal(token.issuer, issuer)
    assert.deepEqual([token.identity.kind, token.identity.clientId], [kind, clientId])
    for (const [change, reason, more] of wrong) {
      const { scope: _, ...rest } = claims
      const changed = { iss: issuer, ...(more?.['scope'] === '' ? rest : claims), ...change }
      const verdict = await verifier.check(await sign(changed, { ...header, ...more }))
      assert.ok(verdict instanceof Refusal, JSON.stringify(change))
      assert.equal(verdict.reason, reason, JSON.stringify(change))
    }
  })
}

test('google: the issuer without its scheme', async () => {
  const issuer = 'https://accounts.google.com'
  const verifier = new TokenVerifier({
    preset: 'google',
    issuer,
    audience: 'a',
    jwks: { keys: [signer.jwk] }
  })
  const token = await verifier.verify(await sign({ iss: 'accounts.google.com', aud: 'a', sub: '1' }, {}))
  assert.equal(token.issuer, issuer)
})

test('cognito and keycloak: ID tokens where they are asked for', async () => {
  const jwks = { keys: [signer.jwk] }
  const pool = new TokenVerifier({
    preset: 'cognito',
    issuer: cognito,
    audience: client,
    audienceClaim: 'aud',
    acceptIdTokens: true,
    jwks
  })
  await pool.verify(await sign({ iss: cognito, aud: client, token_use: 'id', sub: 'a' }, {}))
  const realm = new TokenVerifier({
    preset: 'keycloak',
    issuer: keycloak,
    audience: 'orders-web',
    acceptIdTokens: true,
    jwks
  })
  await realm.verify(await sign({ iss: keycloak, aud: 'orders-web', typ: 'ID', nonce: 'n', sub: 'a' }, {}))
})

test('an issuer that cannot be the provider’s fails at construction, with what it should look like', () => {
  const wrong: [IssuerPreset, string][] = [
    ['cognito', `${cognito}/`],
    ['cognito', 'https://example.auth.eu-west-1.amazoncognito.com'],
    ['entra-v1', `https://sts.windows.net/${tenant}`],
    ['entra-v1', `https://login.microsoftonline.com/${tenant}/v2.0`],
    ['entra-v2', `https://login.microsoftonline.com/${tenant}/v2.0/`],
    ['entra-v2', 'https://login.microsoftonline.com/common/v2.0'],
    ['auth0', 'https://example.eu.auth0.com'],
    ['okta', 'https://example.okta.com'],
    ['keycloak', `${keycloak}/`],
    ['google', 'https://accounts.google.com/'],
    ['auth0', 'http://example.eu.auth0.com/'],
    ['cognito', 'http://localhost.example.com/local_1'],
    ['okta', 'http://127.0.0.1.example.com/oauth2/default']
  ]
  for (const [preset, issuer] of wrong) {
    assert.throws(
      () => new TokenVerifier({ preset, issuer, audience: 'a', jwks: { keys: [] } }),
      (error: Error) =>
        error.message.includes(JSON.stringify(issuer)) && /must look like "https/.test(error.message)
    )
  }
})

test('an emulator of a provider on this machine may speak plain http', () => {
  const emulated: [IssuerPreset, string][] = [
    ['cognito', 'http://localhost:9229/local_1'],
    ['entra-v2', `http://127.0.0.1:8080/${tenant}/v2.0`],
    ['auth0', 'http://localhost:3000/'],
    ['okta', 'http://[::1]:8080/oauth2/default']
  ]
  for (const [preset, issuer] of emulated) {
    new TokenVerifier({ preset, issuer, audience: 'a', jwks: { keys: [signer.jwk] } }).close()
  }
})
