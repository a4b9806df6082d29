/** Puts a user into the exchange as `authenticate` does, from claims alone: for tests of what stands behind it. */

import { type IdentityOptions, identityOf } from '../../lib/auth/caller/identity.ts'
import { type MembershipOptions, Memberships } from '../../lib/auth/caller/memberships.ts'
import { User } from '../../lib/auth/caller/user.ts'
import { type AuthContext, passAnonymous } from '../../lib/auth/guards/auth-context.ts'
import { signingInputDigest } from '../../lib/auth/revocation/revocation-list.ts'
import type { Claims, VerifiedToken } from '../../lib/auth/token/verified-token.ts'
import type { Exchange } from '../../lib/http/exchange.ts'
import { type StageMiddleware, stageMiddleware } from '../../lib/http/pipeline.ts'

export interface SignedInOptions {
  challenge?: AuthContext['challenge']
  memberships?: MembershipOptions
  identity?: IdentityOptions
}

export function verified(claims: Claims, options: IdentityOptions = {}, text = ''): VerifiedToken {
  const identity = identityOf(claims, {}, options)
  return {
    claims,
    header: {},
    issuer: claims.iss ?? 'https://issuer.example',
    tokenId: claims.jti,
    digest: claims.jti === undefined ? signingInputDigest(text) : undefined,
    expiresAt: claims.exp ?? 0,
    identity,
    evidence: identity.evidence
  }
}

/** @param claims undefined: an anonymous caller */
export function signedIn(claims: Claims | undefined, options: SignedInOptions = {}): StageMiddleware {
  const context: AuthContext = {
    challenge: options.challenge ?? {},
    memberships: new Memberships(options.memberships)
  }
  return stageMiddleware({
    name: 'signedIn',
    enter(exchange: Exchange) {
      if (claims === undefined) passAnonymous(exchange, context)
      else exchange.user = new User(verified(claims, options.identity), exchange, context)
      return true
    }
  })
}
