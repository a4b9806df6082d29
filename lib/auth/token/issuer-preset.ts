/** The quirks of identity providers, so that a configuration is an issuer and an audience everywhere. */
import { checkText, shown, wrongOption } from '../../options.ts'
import { type Refusal, refusals } from './refusal.ts'
import type { Claims, TokenHeader } from './verified-token.ts'

/**
 * * `cognito`: access tokens have no `aud`; `client_id` is the audience, so `audience` lists app client ids.
 * * `entra-v1`, `entra-v2`: one tenant; `tid` and `ver` must fit; Microsoft Graph's tokens are for Graph alone.
 * * `auth0`: the issuer ends with a slash.
 * * `okta`: a custom authorization server; tokens of the org server cannot be verified by others.
 * * `keycloak`: the claim `typ` must be `Bearer`.
 * * `google`: access tokens are opaque, so ID tokens are accepted; `iss` may lack the scheme.
 */
export type IssuerPreset =
  | 'oidc'
  | 'cognito'
  | 'entra-v1'
  | 'entra-v2'
  | 'auth0'
  | 'okta'
  | 'keycloak'
  | 'google'

export interface PresetRules {
  /** Whose rules tell machine from human; undefined: the detector finds out. */
  provider?: string
  /** Other spellings of the issuer in `iss`. */
  aliases: readonly string[]
  algorithms?: readonly string[]
  audienceClaim: string
  acceptIdTokens: boolean
  judge(claims: Claims, header: TokenHeader): Refusal | undefined
}

interface Asked {
  issuer: string
  preset?: IssuerPreset
  acceptIdTokens?: boolean
}

/** @throws TypeError when the preset does not exist, or the issuer cannot be one of this provider's */
export function issuerPreset(options: Asked): PresetRules {
  const { issuer, preset = 'oidc' } = options
  checkText('authenticate', 'issuer', issuer)
  const make = Object.hasOwn(presets, preset) ? presets[preset] : undefined
  if (make === undefined) {
    throw wrongOption('authenticate', 'preset', `one of ${Object.keys(presets).join(', ')}`, shown(preset))
  }
  const shape = shapes[preset]
  // An emulator of the provider on this machine speaks plain http.
  const secured = issuer.replace(/^http:(?=\/\/(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?\/)/, 'https:')
  if (shape !== undefined && !shape.pattern.test(secured)) {
    throw new TypeError(
      `authenticate: issuer of preset ${preset} must look like ${JSON.stringify(shape.example)}, got ${JSON.stringify(issuer)}`
    )
  }
  return { ...plain, ...make(options) }
}

const shapes: Partial<Record<IssuerPreset, { pattern: RegExp; example: string }>> = {
  cognito: {
    pattern: /^https:\/\/[^/]+\/[\w-]+_\w+$/,
    example: 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE01'
  },
  'entra-v1': {
    pattern: /^https:\/\/[^/]+\/[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\/$/,
    example: 'https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/'
  },
  'entra-v2': {
    pattern: /^https:\/\/[^/]+\/[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\/v2\.0$/,
    example: 'https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0'
  },
  auth0: { pattern: /^https:\/\/[^/]+\/$/, example: 'https://example.eu.auth0.com/' },
  okta: {
    pattern: /^https:\/\/[^/]+\/oauth2\/[^/]+$/,
    example: 'https://example.okta.com/oauth2/default'
  },
  keycloak: {
    pattern: /^https?:\/\/.+\/realms\/[^/]+$/,
    example: 'https://id.example.com/realms/orders'
  },
  google: { pattern: /^https:\/\/accounts\.google\.com$/, example: 'https://accounts.google.com' }
}

const plain: PresetRules = {
  aliases: [],
  audienceClaim: 'aud',
  acceptIdTokens: false,
  judge: () => undefined
}

const presets: Record<IssuerPreset, (options: Asked) => Partial<PresetRules>> = {
  oidc: () => ({}),
  cognito: ({ acceptIdTokens = false }) => ({
    provider: 'cognito',
    algorithms: ['RS256'],
    audienceClaim: 'client_id',
    judge: ({ token_use: use }) =>
      use === 'access' || (use === 'id' && acceptIdTokens) ? undefined : refusals.type
  }),
  'entra-v1': ({ issuer }) => entra(issuer, '1.0'),
  'entra-v2': ({ issuer }) => entra(issuer, '2.0'),
  auth0: () => ({ provider: 'auth0', algorithms: ['RS256', 'PS256'] }),
  okta: () => ({ provider: 'okta', algorithms: ['RS256', 'ES256'] }),
  keycloak: ({ acceptIdTokens = false }) => ({
    provider: 'keycloak',
    judge: ({ typ }) =>
      typ === 'Bearer' || typ === 'DPoP' || (typ === 'ID' && acceptIdTokens) ? undefined : refusals.type
  }),
  google: () => ({
    provider: 'google',
    algorithms: ['RS256'],
    aliases: ['accounts.google.com'],
    acceptIdTokens: true
  })
}

function entra(issuer: string, version: string): Partial<PresetRules> {
  const tenant = issuer.split('/')[3]
  return {
    provider: 'entra',
    algorithms: ['RS256'],
    judge({ tid, ver }, header) {
      // A `nonce` in the header is hashed before signing: the signature never verifies outside Graph.
      if (Object.hasOwn(header, 'nonce')) return refusals.graphToken
      if (tid !== tenant) return refusals.issuer
      return ver === version ? undefined : refusals.type
    }
  }
}
