/** Tells machines from people by the claims of their tokens, and says which claim showed it. */
import { cloudProviders, idTokenAudience } from './providers/cloud-providers.ts'
import { hostedLogins } from './providers/hosted-logins.ts'
import { loginServers } from './providers/login-servers.ts'
import { clientClaims, judgeByMarkers } from './providers/markers.ts'
import type { Provider } from './providers/provider.ts'
import { type CallerKind, scopesOf, TokenShape, textOf } from './providers/token-shape.ts'
import { workloads } from './providers/workloads.ts'

export type { CallerKind } from './providers/token-shape.ts'

export interface CallerExplanation {
  /** Whom the subject of the token is: a program, a person, or what the claims cannot tell. */
  readonly kind: CallerKind
  /** The OAuth client that got the token; null where the claims do not say. */
  readonly clientId: string | null
  /** The identity provider whose rules were used, such as `auth0`; null: rules that hold for every issuer. */
  readonly provider: string | null
  /** The claim that showed it. */
  readonly reason: string
}

export interface TokenMetadata {
  readonly isM2M: boolean
  readonly clientId: string | null
  readonly tokenUse: string | null
  readonly scopes: readonly string[]
  /** True for people only; false when the claims cannot tell. */
  readonly hasUserContext: boolean
  readonly subject: string | null
  /** The client, or else the subject; machines only. */
  readonly serviceAccount?: string | null
  /** People only. */
  readonly username?: string | null
  readonly email?: string | null
}

const providers: readonly Provider[] = [...workloads, ...cloudProviders, ...hostedLogins, ...loginServers]

/** The names that `M2MTokenDetector.explain` gives and an issuer's `m2m` option takes. */
export const providerNames: readonly string[] = providers.map(provider => provider.name)

/**
 * Three answers, not two: a token whose claims fit both a program and a person is `unknown`, and guards for people refuse it.
 * The rules of the provider that issued the token come first, markers that hold for every issuer after them. Judges decoded
 * claims of any shape without throwing, and verifies nothing.
 */
export class M2MTokenDetector {
  /** There is nothing to construct: what it knows is the same for everybody. */
  private constructor() {}

  /** True where the claims show that the subject is a program. */
  static isM2MToken(claims: unknown, header?: unknown): boolean {
    return M2MTokenDetector.explain(claims, header).kind === 'machine'
  }

  static getClientId(claims: unknown): string | null {
    const token = new TokenShape(claims, undefined)
    return clientIdOf(token, providerOf(token))
  }

  static getTokenMetadata(claims: unknown, header?: unknown): TokenMetadata {
    const { kind, clientId } = M2MTokenDetector.explain(claims, header)
    const token = new TokenShape(claims, undefined)
    const metadata = {
      isM2M: kind === 'machine',
      clientId,
      tokenUse: token.text('token_use') ?? null,
      scopes: scopesOf(token.claims),
      hasUserContext: kind === 'human',
      subject: token.sub ?? null
    }
    if (kind === 'machine') return { ...metadata, serviceAccount: clientId ?? token.sub ?? null }
    if (kind === 'human') return { ...metadata, username: usernameOf(token), email: emailOf(token) }
    return metadata
  }

  /** @param header the token's JOSE header: some providers name the grant there */
  static explain(claims: unknown, header?: unknown): CallerExplanation {
    return explainAs(new TokenShape(claims, header), undefined)
  }
}

/** Judges by the rules of one provider, whatever the issuer looks like: for custom domains. */
export function explainAs(token: TokenShape, providerName: string | undefined): CallerExplanation {
  const provider =
    providerName === undefined ? providerOf(token) : providers.find(({ name }) => name === providerName)
  const { kind, reason } = provider?.judge(token) ?? judgeByMarkers(token)
  return { kind, clientId: clientIdOf(token, provider), provider: provider?.name ?? null, reason }
}

function providerOf(token: TokenShape): Provider | undefined {
  return providers.find(provider => provider.issued(token))
}

function clientIdOf(token: TokenShape, provider: Provider | undefined): string | null {
  const own = provider?.clientId?.(token)
  if (own !== undefined) return own
  for (const claim of clientClaims) {
    const client = token.text(claim)
    if (client !== undefined) return client
  }
  if (token.sub !== undefined && token.sub === token.iss) return token.sub
  return (
    idTokenAudience(token) ?? (token.sub !== undefined && token.sub === token.onlyAudience ? token.sub : null)
  )
}

function usernameOf(token: TokenShape): string | null {
  for (const claim of [
    'cognito:username',
    'username',
    'preferred_username',
    'user_name',
    'upn',
    'unique_name'
  ]) {
    const name = token.text(claim)
    if (name !== undefined) return name
  }
  return null
}

/** The e-mail address of a token; B2C sends a list. Blank is none. */
export function emailOf(token: TokenShape): string | null {
  const { emails } = token.claims
  return token.text('email') ?? (Array.isArray(emails) ? textOf(emails[0]) : undefined) ?? null
}
