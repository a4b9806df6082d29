/** Verifies bearer tokens: cheap checks first, one signature per token, then from memory, without a promise. */
import { errors, flattenedVerify } from 'jose'
import { defaultReporter, type Reporter } from '../../http/reporter.ts'
import { WallClock } from '../../http/wall-clock.ts'
import { checkFunction, checkInteger, checkObject, checkTexts } from '../../options.ts'
import { type Clock, systemClock } from '../clock.ts'
import type { JwksCache } from '../keys/jwks-cache.ts'
import type { VerificationKey } from '../keys/key-set.ts'
import { issuersWord, noKeys, opaqueTokensOf } from '../opaque/opaque-sources.ts'
import type { OpaqueTokens } from '../opaque/opaque-tokens.ts'
import type { RevocationList, RevocationState } from '../revocation/revocation-list.ts'
import { type CompactToken, parseCompactToken } from './compact-token.ts'
import { freezeClaims } from './frozen-claims.ts'
import { ProvenToken } from './proven-token.ts'
import { Refusal, refusals, revocationsUnavailable, TokenError } from './refusal.ts'
import { RefusedTokens } from './refused-tokens.ts'
import { type SigningKeys, signingKeys } from './signing-keys.ts'
import { TokenHeaders } from './token-header.ts'
import { checkRevocations, issuersOf, type TokenVerifierOptions } from './token-verifier-options.ts'
import { type Trusted, TrustedIssuers } from './trusted-issuers.ts'
import type { VerifiedToken } from './verified-token.ts'
import { type CachedToken, type Usable, VerifiedTokenCache } from './verified-token-cache.ts'

export type {
  TokenVerifierOptions,
  TokenVerifierSettings,
  TrustedIssuerOptions
} from './token-verifier-options.ts'

export interface TokenVerifierStats {
  /** The verified-token cache. */
  cache: VerifiedTokenCache['stats']
  /** Signatures verified, good or bad. */
  signatures: number
  /** Tokens that came while the same token was being verified. */
  joined: number
  /** Key sets that are fetched, by issuer. */
  jwks: Record<string, JwksCache['stats']>
}

/** What became of a token. */
export type Verdict = VerifiedToken | Refusal

/**
 * Starts to fetch keys when it is constructed; until they are there tokens are refused as `keys_unavailable`.
 * @throws TypeError when an option is not what it must be
 */
export class TokenVerifier {
  readonly cache: VerifiedTokenCache
  readonly clock: Clock
  /** `cnf` members that are checked after verification. */
  readonly confirmations: readonly string[]
  readonly #issuers: TrustedIssuers
  readonly #headers: TokenHeaders
  /** Saves a look at the system's clock for each token that is remembered; undefined with a clock of one's own. */
  readonly #wallClock: WallClock | undefined
  readonly #maxTokenBytes: number
  readonly #revocations: RevocationList | undefined
  readonly #reporter: Reporter
  readonly #refused: RefusedTokens
  readonly #opaque: readonly OpaqueTokens[]
  readonly #flights = new Map<string, Promise<Verdict>>()
  #signatures = 0
  #joined = 0

  constructor(options: TokenVerifierOptions) {
    checkObject('TokenVerifier', 'options', options)
    const { maxTokenBytes = 8_192, clock = systemClock, confirmations = [], fetch, reporter } = options
    if (fetch !== undefined) checkFunction('authenticate', 'fetch', fetch)
    checkTexts('authenticate', 'confirmations', confirmations)
    checkInteger('authenticate', 'maxTokenBytes', maxTokenBytes, 1)
    this.clock = clock
    this.#wallClock = clock === systemClock ? new WallClock() : undefined
    this.#reporter = reporter ?? defaultReporter
    this.confirmations = [...confirmations]
    this.#maxTokenBytes = maxTokenBytes
    this.#revocations = checkRevocations(options.revocations)
    this.cache = new VerifiedTokenCache(options.cache)
    this.#refused = new RefusedTokens(this.cache.hashesTokens)
    const listed = issuersOf(options)
    const hasIssuers = listed.length > 0
    this.#opaque = opaqueTokensOf(options, { clock, reporter, fetch, confirmations, hasIssuers })
    this.#issuers = new TrustedIssuers(listed, { fetch, clock, reporter, confirmations })
    this.#issuers.onWithdrawal(() => this.cache.deleteWithdrawn())
    this.#headers = new TokenHeaders(this.#issuers.algorithms)
  }

  /** @throws TokenError when the token is refused */
  async verify(token: string): Promise<VerifiedToken> {
    const verdict = typeof token === 'string' ? await this.check(token) : refusals.malformed
    if (verdict instanceof Refusal) throw new TokenError(verdict)
    return verdict
  }

  /**
   * The verdict itself when it is at hand, else a promise of it, which does not reject.
   * @param now ms, monotonic
   */
  check(token: string, now: number = this.clock.monotonic()): Verdict | Promise<Verdict> {
    if (token.length > this.#maxTokenBytes) return refusals.tooLarge
    const cached = this.cache.find(token)
    return (cached === undefined ? undefined : this.recall(cached, now)) ?? this.#checkNew(token, now)
  }

  /** @internal The entry of a token that was verified before. */
  find(token: string): CachedToken | undefined {
    return token.length > this.#maxTokenBytes ? undefined : this.cache.find(token)
  }

  /**
   * @internal Asks what may have changed since the token was verified: the time, and the issuer's keys. Undefined: the
   * entry is no good any more, and the token must be verified anew.
   * @param now ms, monotonic
   */
  recall(entry: CachedToken, now: number): Verdict | undefined {
    const { counts } = this.cache
    if (!entry.alive) return undefined
    const wallNow = this.#wallClock === undefined ? this.clock.now() : this.#wallClock.at(now)
    if (wallNow >= entry.expiresAt) {
      counts.expired++
      this.cache.delete(entry)
      return refusals.expired
    }
    if (now >= entry.deadline || !entry.verifiedBy.current || now >= entry.keys.usableUntil) {
      this.cache.delete(entry)
      return undefined
    }
    if (wallNow < entry.notBefore) return refusals.notYetValid
    entry.used = true
    counts.hits++
    return this.#unlessRevoked(entry.token)
  }

  /** Every issuer has keys. @throws Error when one cannot get them, such as a `DiscoveryError` that shows both issuers */
  async ready(): Promise<void> {
    await this.#issuers.ready()
  }

  /** Stops refreshing keys. */
  close(): void {
    this.#issuers.close()
  }

  get stats(): TokenVerifierStats {
    return {
      cache: this.cache.stats,
      signatures: this.#signatures,
      joined: this.#joined,
      jwks: this.#issuers.stats
    }
  }

  #checkNew(text: string, now: number): Verdict | Promise<Verdict> {
    this.cache.counts.misses++
    const refused = this.#refused.find(text, now)
    if (refused !== undefined) return refused
    for (const source of this.#opaque) {
      if (source.takes(text)) return this.#join(text) ?? this.#begin(text, this.#ask(source, text))
    }
    const token = parseCompactToken(text, this.#headers)
    if (token instanceof Refusal) return token
    const { header, claims } = token
    const trusted = this.#issuers.find(claims.iss)
    if (trusted === undefined) return refusals.issuer
    const refusal = trusted.trust.judge(claims, header, this.clock.now())
    if (refusal !== undefined) return refusal
    const underway = this.#join(text)
    if (underway !== undefined) return underway
    const keys = signingKeys(header, trusted.trust.keys)
    return keys instanceof Refusal ? keys : this.#begin(text, this.#verify(token, keys, trusted))
  }

  /** What is under way for the same token: it is asked about, or its signature verified, once. */
  #join(text: string): Promise<Verdict> | undefined {
    const underway = this.#flights.get(text)
    if (underway !== undefined) this.#joined++
    return underway
  }

  #begin(text: string, flight: Promise<Verdict>): Promise<Verdict> {
    this.#flights.set(text, flight)
    return flight
  }

  /** Never rejects but by a fault of this library; ends the flight however it ends. */
  async #verify(
    token: CompactToken,
    coming: SigningKeys | Promise<SigningKeys>,
    trusted: Trusted
  ): Promise<Verdict> {
    const { text, header, claims, jws } = token
    const { trust } = trusted
    try {
      const keys = coming instanceof Promise ? await coming : coming
      if (keys instanceof Refusal) return keys
      // Keys may have been long in coming.
      const late = coming instanceof Promise ? trust.judgeTimes(claims, this.clock.now()) : undefined
      if (late !== undefined) return late
      for (const candidate of keys) {
        const imported = candidate.for(header.alg as string)
        const key = imported instanceof Promise ? await imported : imported
        this.#signatures++
        try {
          await flattenedVerify(jws, key)
        } catch (error) {
          // What else jose could find wrong with a token the checks before have found.
          if (!(error instanceof errors.JWSSignatureVerificationFailed))
            this.#reporter.report('token_verification', error)
          continue
        }
        return this.#admit(token, candidate, trusted)
      }
      this.#refused.add(text, refusals.signature, keys, this.clock.monotonic())
      return refusals.signature
    } finally {
      this.#flights.delete(text)
    }
  }

  #admit({ text, header, claims }: CompactToken, verifiedBy: VerificationKey, trusted: Trusted): Verdict {
    // It may have been withdrawn while its signature was verified.
    if (!verifiedBy.current) return refusals.unknownKey
    if (!freezeClaims(claims)) return refusals.tooDeep
    const { trust } = trusted
    trust.keys.countUse()
    const token = new ProvenToken(text, header, claims, trust.issuer, trusted.identity)
    this.#remember(text, token, verifiedBy, trust.keys, trust.toleranceMs)
    return this.#unlessRevoked(token)
  }

  async #ask(source: OpaqueTokens, text: string): Promise<Verdict> {
    try {
      const token = await source.resolve(text)
      if (token instanceof Refusal) {
        if (token.error === 'invalid_token') this.#refused.add(text, token, [], this.clock.monotonic())
        return token
      }
      this.#remember(text, token, issuersWord, noKeys, 0)
      return this.#unlessRevoked(token)
    } finally {
      this.#flights.delete(text)
    }
  }

  #remember(
    text: string,
    token: VerifiedToken,
    verifiedBy: VerificationKey,
    keys: Usable,
    toleranceMs: number
  ): void {
    if (!this.cache.takes(text)) return
    const notBefore = (token.claims.nbf ?? Number.NEGATIVE_INFINITY) * 1000 - toleranceMs
    const expiresAt = token.expiresAt * 1000 + toleranceMs
    this.cache.add(
      text,
      { token, verifiedBy, keys, notBefore, expiresAt },
      this.clock.now(),
      this.clock.monotonic()
    )
  }

  #unlessRevoked(token: VerifiedToken): Verdict {
    if (this.#revocations === undefined) return token
    const state = this.#revocationState(this.#revocations, token)
    if (state === 'good') return token
    if (state !== 'revoked') return revocationsUnavailable
    this.cache.counts.revoked++
    return refusals.revoked
  }

  /** A list of one's own that throws, or gives no answer at once, cannot tell: nobody is let in for that. */
  #revocationState(list: RevocationList, token: VerifiedToken): RevocationState {
    try {
      const state: unknown = list.check(token)
      if (state === 'good' || state === 'revoked' || state === 'unavailable') return state
      if (state instanceof Promise) state.catch(() => undefined)
      throw new TypeError(`revocations: check must answer good, revoked or unavailable, got ${String(state)}`)
    } catch (error) {
      this.#reporter.report('revocation_list', error)
      return 'unavailable'
    }
  }
}
