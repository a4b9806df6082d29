/** One configured issuer: what its tokens must look like, checked before any signature. */
import type { JSONWebKeySet } from 'jose'
import type { Reporter } from '../../http/reporter.ts'
import {
  checkBoolean,
  checkObject,
  checkOption,
  checkSeconds,
  checkText,
  checkTexts,
  isTexts,
  shown
} from '../../options.ts'
import type { Clock } from '../clock.ts'
import { checkEndpoint, type Fetch } from '../keys/endpoint.ts'
import { JwksCache, type JwksCacheOptions } from '../keys/jwks-cache.ts'
import { type KeySource, LocalKeys } from '../keys/key-source.ts'
import { asymmetric, checkAlgorithms } from './algorithms.ts'
import { type IssuerPreset, issuerPreset } from './issuer-preset.ts'
import { type Refusal, refusals } from './refusal.ts'
import { isAccessToken } from './token-type.ts'
import type { Claims, TokenHeader } from './verified-token.ts'

export interface IssuerOptions {
  /** Compared with `iss` character by character. An https URL, unless the keys are given by `jwksUri` or `jwks`. */
  issuer: string
  /** One of these must be in the token. */
  audience: string | readonly string[]
  /** The quirks of one identity provider. Default `oidc`: none. */
  preset?: IssuerPreset
  /** Where the keys are. Without it, it is discovered from the issuer's metadata. */
  jwksUri?: string
  /** The keys themselves. */
  jwks?: JSONWebKeySet
  /** How the keys are kept fresh; or a cache of your own, for instance to import a snapshot, which you close. */
  jwksCache?: JwksCache | Omit<JwksCacheOptions, 'jwksUri' | 'issuer' | 'fetch' | 'clock' | 'reporter'>
  /** Asymmetric algorithms that tokens may use. Default: all of RS, PS and ES, EdDSA, unless the preset knows better. */
  algorithms?: readonly string[]
  /** The claim that holds the audience. Default `aud`; Cognito has it in `client_id`. */
  audienceClaim?: string
  /** Further claims that must be there. */
  requiredClaims?: readonly string[]
  /** Takes ID tokens for access tokens, for providers whose access tokens are opaque. Default false. */
  acceptIdTokens?: boolean
  /** Seconds that clocks may differ. Default 5. */
  clockToleranceSeconds?: number
  /** Seconds; a token that expires later than this is refused. Default ten years: it catches milliseconds. */
  maxLifetimeSeconds?: number
}

export interface IssuerContext {
  fetch: Fetch | undefined
  clock: Clock
  reporter: Reporter | undefined
  /** `cnf` members that are checked after verification. */
  confirmations: readonly string[]
}

const tenYears = 315_360_000

/** @throws TypeError when an option is not what it must be */
export class TrustedIssuer {
  readonly issuer: string
  /** Every `iss` that means this issuer. */
  readonly names: readonly string[]
  readonly keys: KeySource
  readonly #ownsKeys: boolean
  /** The identity provider, as the preset names it for the rules about callers. */
  readonly provider: string | undefined
  readonly algorithms: ReadonlySet<string>
  readonly toleranceMs: number
  readonly #audiences: readonly string[]
  readonly #audienceClaim: string
  readonly #requiredClaims: readonly string[]
  readonly #acceptIdTokens: boolean
  readonly #maxLifetimeMs: number
  readonly #confirmations: readonly string[]
  readonly #judgeQuirks: (claims: Claims, header: TokenHeader) => Refusal | undefined

  constructor(options: IssuerOptions, context: IssuerContext) {
    const preset = issuerPreset(options)
    this.issuer = options.issuer
    this.names = [options.issuer, ...preset.aliases]
    this.provider = preset.provider
    const algorithms = options.algorithms ?? preset.algorithms ?? asymmetric
    checkAlgorithms('authenticate', algorithms)
    this.algorithms = new Set(algorithms)
    this.toleranceMs =
      1000 * checkSeconds('authenticate', 'clockToleranceSeconds', options.clockToleranceSeconds ?? 5)
    this.#maxLifetimeMs =
      1000 * checkSeconds('authenticate', 'maxLifetimeSeconds', options.maxLifetimeSeconds ?? tenYears)
    this.#audiences = checkAudience(options.audience)
    const {
      audienceClaim = preset.audienceClaim,
      requiredClaims = [],
      acceptIdTokens = preset.acceptIdTokens
    } = options
    checkText('authenticate', 'audienceClaim', audienceClaim)
    checkTexts('authenticate', 'requiredClaims', requiredClaims)
    checkBoolean('authenticate', 'acceptIdTokens', acceptIdTokens)
    this.#audienceClaim = audienceClaim
    this.#requiredClaims = [...requiredClaims]
    this.#acceptIdTokens = acceptIdTokens
    this.#confirmations = context.confirmations
    this.#judgeQuirks = preset.judge
    this.keys = keySource(options, context)
    this.#ownsKeys = this.keys !== options.jwksCache
  }

  close(): void {
    if (this.#ownsKeys) this.keys.close()
  }

  /**
   * Everything but the signature, in order of cost.
   * @param now ms, wall clock
   */
  judge(claims: Claims, header: TokenHeader, now: number): Refusal | undefined {
    if (!this.algorithms.has(header.alg as string)) return refusals.algorithm
    return (
      this.judgeTimes(claims, now) ??
      this.#judgeAudience(claims[this.#audienceClaim]) ??
      this.#judgeType(claims, header) ??
      this.#judgeConfirmation(claims) ??
      this.#judgeQuirks(claims, header)
    )
  }

  /** `exp`, `nbf` and `iat`; RFC 7519, section 4.1. */
  judgeTimes({ exp, nbf, iat }: Claims, now: number): Refusal | undefined {
    if (typeof exp !== 'number' || !Number.isFinite(exp)) return refusals.expiry
    if (exp * 1000 + this.toleranceMs <= now) return refusals.expired
    if (exp * 1000 > now + this.#maxLifetimeMs) return refusals.lifetime
    if (nbf !== undefined) {
      if (typeof nbf !== 'number') return refusals.notBefore
      if (nbf * 1000 > now + this.toleranceMs) return refusals.notYetValid
    }
    if (iat !== undefined && !(typeof iat === 'number' && iat * 1000 <= now + this.toleranceMs)) {
      return refusals.issuedAt
    }
    return undefined
  }

  #judgeAudience(named: unknown): Refusal | undefined {
    if (typeof named === 'string') return this.#audiences.includes(named) ? undefined : refusals.audience
    if (!Array.isArray(named)) return refusals.audience
    return this.#audiences.some(audience => named.includes(audience)) ? undefined : refusals.audience
  }

  #judgeType(claims: Claims, header: TokenHeader): Refusal | undefined {
    if (claims.jti !== undefined && typeof claims.jti !== 'string') return refusals.malformedClaims
    if (claims.sub !== undefined && typeof claims.sub !== 'string') return refusals.malformedClaims
    for (const name of this.#requiredClaims) {
      if (!Object.hasOwn(claims, name)) return refusals.claim
    }
    return isAccessToken(claims, header, this.#acceptIdTokens) ? undefined : refusals.type
  }

  /** RFC 7800: a binding to the sender that nobody checks is no binding. */
  #judgeConfirmation({ cnf }: Claims): Refusal | undefined {
    if (cnf === undefined) return undefined
    if (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf)) return refusals.malformedClaims
    const methods = Object.keys(cnf)
    const checked = methods.length > 0 && methods.every(method => this.#confirmations.includes(method))
    return checked ? undefined : refusals.confirmation
  }
}

function keySource(options: IssuerOptions, { fetch, clock, reporter }: IssuerContext): KeySource {
  const { issuer, jwksUri, jwks, jwksCache = {} } = options
  if (jwks !== undefined && jwksUri !== undefined) {
    throw new TypeError('authenticate: jwks and jwksUri exclude each other')
  }
  if (jwks !== undefined) return new LocalKeys(jwks, reporter)
  if (jwksCache instanceof JwksCache) return jwksCache
  checkObject('authenticate', 'jwksCache', jwksCache)
  if (jwksUri === undefined) checkEndpoint('authenticate: issuer', issuer)
  else checkEndpoint('authenticate: jwksUri', jwksUri)
  return new JwksCache({
    ...jwksCache,
    ...(jwksUri === undefined ? { issuer } : { jwksUri }),
    ...(fetch && { fetch }),
    ...(reporter && { reporter }),
    clock
  })
}

function checkAudience(audience: string | readonly string[]): readonly string[] {
  const audiences = typeof audience === 'string' ? [audience] : audience
  checkOption(
    isTexts(audiences),
    'authenticate',
    'audience',
    'a string or a list of strings',
    shown(audience)
  )
  return [...audiences]
}
