/** Where a verifier gets one issuer's keys: a set given in place, or one that is fetched and kept fresh. */
import type { JSONWebKeySet } from 'jose'
import { defaultReporter, type Reporter } from '../http/reporter.ts'
import { KeySet, type VerificationKey } from './key-set.ts'

export interface KeySource {
  /** ms, monotonic: keys, and what they verified, are worth nothing from then on. */
  readonly usableUntil: number
  /** Keys that may have signed a token with this header; empty when there is none at hand. */
  candidates(kid: string | undefined, alg: string): readonly VerificationKey[]
  /** Whether the set at hand has a key of this id, for whatever algorithm. */
  has(kid: string): boolean
  /**
   * Asks for a key that is not at hand. A promise, which never rejects, is worth waiting for; undefined when asking
   * would not help now.
   */
  seek(kid: string | undefined): Promise<void> | undefined
  /** Seconds until keys may be there again; 0 when what is at hand is all there is. */
  readonly retryAfterSeconds: number
  /** One signature was good. */
  countUse(): void
  /** Keys are at hand; rejects when the attempt to get them fails. */
  ready(): Promise<void>
  close(): void
}

/** A key set given in place: never fetched, never stale. A set without a usable key is told as `jwks_read`. */
export class LocalKeys implements KeySource {
  readonly usableUntil = Number.POSITIVE_INFINITY
  readonly retryAfterSeconds = 0
  #set = new KeySet([])
  #reading: Promise<void> | undefined

  /** @throws TypeError when `jwks` is no JWK set */
  constructor(jwks: JSONWebKeySet, reporter: Reporter = defaultReporter) {
    if (!Array.isArray((jwks as Partial<JSONWebKeySet> | null)?.keys)) {
      throw new TypeError('authenticate: jwks must be a JWK set, { keys: [...] }')
    }
    this.#reading = this.#read(jwks)
    this.#reading.catch(error => reporter.report('jwks_read', error))
  }

  candidates(kid: string | undefined, alg: string): readonly VerificationKey[] {
    return this.#set.candidates(kid, alg)
  }

  has(kid: string): boolean {
    return this.#set.has(kid)
  }

  seek(): Promise<void> | undefined {
    return this.#reading?.catch(() => {})
  }

  countUse(): void {}

  async ready(): Promise<void> {
    await this.#reading
  }

  close(): void {}

  async #read(jwks: JSONWebKeySet): Promise<void> {
    this.#set = await KeySet.read(jwks)
    this.#reading = undefined
  }
}
