/** Verifies bearer tokens: cheap checks first, one signature per token, then from memory, without a promise. */
import { compactVerify, errors } from 'jose'
import { defaultReporter, type Reporter } from '../../http/reporter.ts'
import { checkIdentityOptions, type IdentityOptions } from '../caller/identity.ts'
import { type Clock, systemClock } from '../clock.ts'
import { JwksCache } from '../keys/jwks-cache.ts'
import type { VerificationKey } from '../keys/key-set.ts'
import { issuersWord, noKeys, opaqueTokensOf } from '../opaque/opaque-sources.ts'
import type { OpaqueTokens } from '../opaque/opaque-tokens.ts'
import type { RevocationList } from '../revocation/revocation-list.ts'
import { type CompactToken, parseCompactToken } from './compact-token.ts'
import { freezeClaims } from './frozen-claims.ts'
import { ProvenToken } from './proven-token.ts'
import { keysUnavailable, Refusal, refusals, revocationsUnavailable, TokenError } from './refusal.ts'
import { RefusedTokens } from './refused-tokens.ts'
import { TokenHeaders } from './token-header.ts'
import { checkRevocations, issuersOf, type TokenVerifierOptions } from './token-verifier-options.ts'
import { TrustedIssuer } from './trusted-issuer.ts'
import type { VerifiedToken } from './verified-token.ts'
import { type CachedToken, VerifiedTokenCache } from './verified-token-cache.ts'

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

interface Trusted {
  readonly trust: TrustedIssuer
  readonly identity: IdentityOptions
}

/**
 * Starts to fetch keys when it is constructed; until they are there tokens are refused as `keys_unavailable`.
 * @throws TypeError when an option is not what it must be
 */
export class TokenVerifier {
  readonly cache: VerifiedTokenCache
  readonly clock: Clock
  /** `cnf` members that are checked after verification. */
  readonly confirmations: readonly string[]
  readonly #trusted = new Map<string, Trusted>()
  readonly #issuers: readonly TrustedIssuer[]
  readonly #headers: TokenHeaders
  readonly #maxTokenBytes: number
  readonly #revocations: RevocationList | undefined
  readonly #reporter: Reporter
  readonly #refused: RefusedTokens
  readonly #opaque: readonly OpaqueTokens[]
  readonly #flights = new Map<string, Promise<Verdict>>()
  #signatures = 0
  #joined = 0

  constructor(options: TokenVerifierOptions) {
    const { maxTokenBytes = 8_192, clock = systemClock, confirmations = [], fetch, reporter } = options
    if (!Number.isInteger(maxTokenBytes) || maxTokenBytes < 1) {
      throw new TypeError(`authenticate: maxTokenBytes must be a positive integer, got ${maxTokenBytes}`)
    }
    this.clock = clock
    this.#reporter = reporter ?? defaultReporter
    this.confirmations = [...confirmations]
    this.#maxTokenBytes = maxTokenBytes
    this.#revocations = checkRevocations(options.revocations)
    this.cache = new VerifiedTokenCache(options.cache)
    this.#refused = new RefusedTokens(this.cache.hashesTokens)
    const listed = issuersOf(options)
    const hasIssuers = listed.length > 0
    this.#opaque = opaqueTokensOf(options, { clock, reporter, fetch, confirmations, hasIssuers })
    for (const issuer of listed) {
      checkIdentityOptions(issuer, 'authenticate')
      const trust = new TrustedIssuer(issuer, { fetch, clock, reporter, confirmations })
      const m2m = issuer.m2m ?? trust.provider
      this.#trust(trust, { issuerInKey: listed.length > 1, ...issuer, ...(m2m !== undefined && { m2m }) })
    }
    this.#issuers = [...new Set([...this.#trusted.values()].map(({ trust }) => trust))]
    this.#headers = new TokenHeaders(new Set(this.#issuers.flatMap(({ algorithms }) => [...algorithms])))
    for (const { keys } of this.#issuers) {
      if (keys instanceof JwksCache) keys.onWithdrawal(() => this.cache.deleteWithdrawn())
    }
  }

  /** @throws TokenError when the token is refused */
  async verify(token: string): Promise<VerifiedToken> {
    const verdict = await this.check(token)
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
    const wallNow = this.clock.now()
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
    await Promise.all(this.#issuers.map(({ keys }) => keys.ready()))
  }

  /** Stops refreshing keys. */
  close(): void {
    for (const issuer of this.#issuers) issuer.close()
  }

  get stats(): TokenVerifierStats {
    const jwks: TokenVerifierStats['jwks'] = {}
    for (const { issuer, keys } of this.#issuers) {
      if (keys instanceof JwksCache) jwks[issuer] = keys.stats
    }
    return { cache: this.cache.stats, signatures: this.#signatures, joined: this.#joined, jwks }
  }

  #trust(trust: TrustedIssuer, identity: IdentityOptions): void {
    for (const name of trust.names) {
      if (this.#trusted.has(name)) {
        throw new TypeError(`authenticate: issuer ${JSON.stringify(name)} is configured twice`)
      }
      this.#trusted.set(name, { trust, identity })
    }
  }

  #checkNew(text: string, now: number): Verdict | Promise<Verdict> {
    this.cache.counts.misses++
    const refused = this.#refused.find(text, now)
    if (refused !== undefined) return refused
    for (const source of this.#opaque) if (source.takes(text)) return this.#ask(source, text)
    const token = parseCompactToken(text, this.#headers)
    if (token instanceof Refusal) return token
    const { header, claims } = token
    // By the exact string: a list, a missing issuer or another spelling finds nothing.
    const trusted = this.#trusted.get(claims.iss as string)
    if (trusted === undefined) return refusals.issuer
    return trusted.trust.judge(claims, header, this.clock.now()) ?? this.#verifyOnce(token, trusted)
  }

  #verifyOnce(token: CompactToken, trusted: Trusted): Verdict | Promise<Verdict> {
    const underway = this.#flights.get(token.text)
    if (underway !== undefined) {
      this.#joined++
      return underway
    }
    const keys = this.#keysFor(token, trusted.trust)
    if (keys instanceof Refusal) return keys
    const flight = this.#verifyWith(keys, token, trusted)
    this.#flights.set(token.text, flight)
    return flight
  }

  /** Keys at hand, or a promise of them while a refresh is worth waiting for. */
  #keysFor(
    token: CompactToken,
    trust: TrustedIssuer
  ): readonly VerificationKey[] | Promise<readonly VerificationKey[] | Refusal> | Refusal {
    const found = keysAtHand(token, trust)
    if (!(found instanceof Refusal) || found === refusals.keyMismatch) return found
    const seeking = trust.keys.seek(token.header.kid)
    return seeking === undefined ? found : seeking.then(() => keysAtHand(token, trust))
  }

  async #verifyWith(
    coming: readonly VerificationKey[] | Promise<readonly VerificationKey[] | Refusal>,
    token: CompactToken,
    trusted: Trusted
  ): Promise<Verdict> {
    const { text, header } = token
    try {
      const keys = coming instanceof Promise ? await coming : coming
      if (keys instanceof Refusal) return keys
      for (const candidate of keys) {
        const imported = candidate.for(header.alg as string)
        const key = imported instanceof Promise ? await imported : imported
        this.#signatures++
        try {
          await compactVerify(text, key)
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
    const proof = {
      token,
      verifiedBy,
      keys: trust.keys,
      notBefore: (claims.nbf ?? Number.NEGATIVE_INFINITY) * 1000 - trust.toleranceMs,
      expiresAt: token.expiresAt * 1000 + trust.toleranceMs
    }
    this.cache.add(text, proof, this.clock.now(), this.clock.monotonic())
    return this.#unlessRevoked(token)
  }

  #ask(source: OpaqueTokens, text: string): Promise<Verdict> {
    const underway = this.#flights.get(text)
    if (underway !== undefined) {
      this.#joined++
      return underway
    }
    const flight = source
      .resolve(text)
      .then(answer => this.#admitOpaque(text, answer))
      .finally(() => this.#flights.delete(text))
    this.#flights.set(text, flight)
    return flight
  }

  #admitOpaque(text: string, token: Verdict): Verdict {
    const now = this.clock.monotonic()
    if (token instanceof Refusal) {
      if (token.error === 'invalid_token') this.#refused.add(text, token, [], now)
      return token
    }
    const proof = {
      token,
      verifiedBy: issuersWord,
      keys: noKeys,
      notBefore: (token.claims.nbf ?? Number.NEGATIVE_INFINITY) * 1000,
      expiresAt: token.expiresAt * 1000
    }
    this.cache.add(text, proof, this.clock.now(), now)
    return this.#unlessRevoked(token)
  }

  #unlessRevoked(token: VerifiedToken): Verdict {
    if (this.#revocations === undefined) return token
    const state = this.#revocations.check(token)
    if (state === 'good') return token
    if (state !== 'revoked') return revocationsUnavailable
    this.cache.counts.revoked++
    return refusals.revoked
  }
}

function keysAtHand({ header }: CompactToken, { keys }: TrustedIssuer): readonly VerificationKey[] | Refusal {
  const found = keys.candidates(header.kid, header.alg as string)
  if (found.length > 0) return found
  if (header.kid !== undefined && keys.has(header.kid)) return refusals.keyMismatch
  const { retryAfterSeconds } = keys
  return retryAfterSeconds > 0 ? keysUnavailable(retryAfterSeconds) : refusals.unknownKey
}
