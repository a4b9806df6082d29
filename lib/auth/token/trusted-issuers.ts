/** The issuers of one verifier, each found by the `iss` of its tokens. */
import { defaultReporter, type Reporter } from '../../http/reporter.ts'
import { checkIdentityOptions, type IdentityOptions } from '../caller/identity.ts'
import { JwksCache } from '../keys/jwks-cache.ts'
import type { TrustedIssuerOptions } from './token-verifier-options.ts'
import { type IssuerContext, TrustedIssuer } from './trusted-issuer.ts'

export interface Trusted {
  readonly trust: TrustedIssuer
  readonly identity: IdentityOptions
}

/** @throws TypeError when an option is not what it must be, or an issuer is configured twice */
export class TrustedIssuers {
  /** Of all of them together. */
  readonly algorithms: ReadonlySet<string>
  readonly #all: readonly TrustedIssuer[]
  readonly #byName = new Map<unknown, Trusted>()
  readonly #reporter: Reporter

  constructor(listed: readonly TrustedIssuerOptions[], context: IssuerContext) {
    this.#reporter = context.reporter ?? defaultReporter
    this.#all = listed.map(options => {
      checkIdentityOptions(options, 'authenticate')
      const trust = new TrustedIssuer(options, context)
      const m2m = options.m2m ?? trust.provider
      const issuerInKey = listed.length > 1
      this.#name(trust, { issuerInKey, ...options, ...(m2m !== undefined && { m2m }) })
      return trust
    })
    this.algorithms = new Set(this.#all.flatMap(({ algorithms }) => [...algorithms]))
  }

  /** By the exact string: a list, a missing issuer or another spelling finds nothing. */
  find(iss: unknown): Trusted | undefined {
    const trusted = this.#byName.get(iss)
    if (trusted === undefined) this.#tellTypo(iss)
    return trusted
  }

  /** Runs `listener` after every refresh that withdrew keys. */
  onWithdrawal(listener: () => void): void {
    for (const { keys } of this.#all) {
      if (keys instanceof JwksCache) keys.onWithdrawal(listener)
    }
  }

  /** Every issuer has keys. @throws Error when one cannot get them */
  async ready(): Promise<void> {
    await Promise.all(this.#all.map(({ keys }) => keys.ready()))
  }

  /** Stops refreshing keys. */
  close(): void {
    for (const issuer of this.#all) issuer.close()
  }

  /** Key sets that are fetched, by issuer. */
  get stats(): Record<string, JwksCache['stats']> {
    const stats: Record<string, JwksCache['stats']> = {}
    for (const { issuer, keys } of this.#all) {
      if (keys instanceof JwksCache) stats[issuer] = keys.stats
    }
    return stats
  }

  #name(trust: TrustedIssuer, identity: IdentityOptions): void {
    for (const name of trust.names) {
      if (this.#byName.has(name)) {
        throw new TypeError(`authenticate: issuer ${JSON.stringify(name)} is configured twice`)
      }
      this.#byName.set(name, { trust, identity })
    }
  }

  /** The most frequent mistake in a configuration is told, though nobody is let in for it. */
  #tellTypo(iss: unknown): void {
    if (typeof iss !== 'string') return
    const configured = iss.endsWith('/') ? iss.slice(0, -1) : `${iss}/`
    if (!this.#byName.has(configured)) return
    const [given, expected] = [JSON.stringify(iss), JSON.stringify(configured)]
    const text = `a token’s iss is ${given}, the issuer is configured as ${expected}: they differ in the trailing slash`
    this.#reporter.report('issuer_mismatch', new Error(text))
  }
}
