/** A token that was verified. Who it speaks for is worked out when first asked, and once. */
import { type CallerIdentity, type IdentityOptions, identityOf } from '../caller/identity.ts'
import { signingInputDigest } from '../revocation/revocation-list.ts'
import type { Claims, TokenHeader, VerifiedToken } from './verified-token.ts'

export class ProvenToken implements VerifiedToken {
  readonly claims: Claims
  readonly header: TokenHeader
  readonly issuer: string
  readonly tokenId: string | undefined
  readonly digest: string | undefined
  readonly expiresAt: number
  readonly #options: IdentityOptions
  #identity: CallerIdentity | undefined

  constructor(text: string, header: TokenHeader, claims: Claims, issuer: string, options: IdentityOptions) {
    this.claims = claims
    this.header = header
    this.issuer = issuer
    this.tokenId = claims.jti
    this.digest = claims.jti === undefined ? signingInputDigest(text) : undefined
    this.expiresAt = claims.exp ?? Number.POSITIVE_INFINITY
    this.#options = options
    Object.freeze(this)
  }

  get identity(): CallerIdentity {
    this.#identity ??= identityOf(this.claims, this.header, this.#options)
    return this.#identity
  }

  get evidence(): string {
    return this.identity.evidence
  }
}
