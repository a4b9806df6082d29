/** What guards need to know of the authentication in front of them: how to challenge, and where memberships come from. */
import type { Exchange } from '../http/exchange.ts'
import { Memberships } from './memberships.ts'
import { User } from './user.ts'

/** Parameters of every challenge (RFC 6750, section 3; RFC 9728, section 5.1). */
export interface ChallengeParameters {
  readonly realm?: string
  /** URL of the protected resource metadata. */
  readonly resourceMetadata?: string
}

export interface AuthContext {
  readonly challenge: ChallengeParameters
  readonly memberships: Memberships
}

const kContext = Symbol('ostiary.auth')
type Bearing = Exchange & { [kContext]?: AuthContext }

const noAuthentication: AuthContext = { challenge: {}, memberships: new Memberships() }

/** Leaves the context with a request that goes on without a user, for the guards behind. */
export function passAnonymous(exchange: Exchange, context: AuthContext): void {
  ;(exchange as Bearing)[kContext] = context
}

export function authContextOf(exchange: Exchange): AuthContext {
  const { user } = exchange
  return user instanceof User ? user.context : ((exchange as Bearing)[kContext] ?? noAuthentication)
}

/** The value of `WWW-Authenticate`. Parameters are fixed words and configured values, never text of the request. */
export function bearerChallenge(
  challenge: ChallengeParameters,
  parameters: Readonly<Record<string, string>>
): string {
  const all = { realm: challenge.realm, ...parameters, resource_metadata: challenge.resourceMetadata }
  const written = Object.entries(all)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}="${String(value).replace(/["\\]/g, '\\$&')}"`)
  return written.length === 0 ? 'Bearer' : `Bearer ${written.join(', ')}`
}
