/** What guards need to know of the authentication in front of them: how to challenge, and where memberships come from. */
import type { Exchange } from '../../http/exchange.ts'
import { Memberships } from '../caller/memberships.ts'
import { User } from '../caller/user.ts'

/** Parameters of every challenge (RFC 6750, section 3; RFC 9728, section 5.1). */
export interface ChallengeParameters {
  readonly realm?: string
  /** URL of the protected resource metadata. */
  readonly resourceMetadata?: string
  /** Signatures of DPoP proofs, where tokens bound to a key are taken too (RFC 9449, section 7.1). */
  readonly dpopAlgorithms?: readonly string[]
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

/**
 * The value of `WWW-Authenticate`. Parameters are fixed words and configured values, never text of the request.
 * @param scheme by which the token was sent, if any
 */
export function challengeOf(
  challenge: ChallengeParameters,
  parameters: Readonly<Record<string, string>>,
  scheme: 'Bearer' | 'DPoP' = 'Bearer'
): string {
  const { realm, resourceMetadata: resource_metadata, dpopAlgorithms } = challenge
  const algs = dpopAlgorithms?.join(' ')
  if (scheme === 'DPoP') return written('DPoP', { realm, ...parameters, algs, resource_metadata })
  const bearer = written('Bearer', { realm, ...parameters, resource_metadata })
  return algs === undefined ? bearer : `${bearer}, ${written('DPoP', { algs })}`
}

function written(scheme: string, parameters: Readonly<Record<string, string | undefined>>): string {
  const pairs = Object.entries(parameters)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}="${String(value).replace(/["\\]/g, '\\$&')}"`)
  return pairs.length === 0 ? scheme : `${scheme} ${pairs.join(', ')}`
}
