/** Holds tokens to whom they were issued to: their `cnf` claim (RFC 7800) against the request that carries them. */
import type { Exchange } from '../../http/exchange.ts'
import { checkObject } from '../../options.ts'
import { Refusal } from '../token/refusal.ts'
import type { VerifiedToken } from '../token/verified-token.ts'
import { CertificateBinding, type CertificateBindingOptions } from './certificate-binding.ts'
import { type DpopOptions, DpopProofs } from './dpop-proofs.ts'

export interface SenderCheckOptions {
  /** Takes tokens bound to a client's key: `Authorization: DPoP` with a proof (RFC 9449). Default: such tokens are refused. */
  dpop?: DpopOptions
  /** Takes tokens bound to a client's TLS certificate (RFC 8705). Default false: such tokens are refused. */
  certificateBound?: boolean | CertificateBindingOptions
}

/** @throws TypeError when an option is not what it must be */
export class SenderCheck {
  /** The `cnf` members that are checked. */
  readonly confirmations: readonly string[]
  readonly #dpop: DpopProofs | undefined
  readonly #certificates: CertificateBinding | undefined

  constructor({ dpop, certificateBound = false }: SenderCheckOptions) {
    if (dpop !== undefined) checkObject('authenticate', 'dpop', dpop)
    if (typeof certificateBound !== 'boolean') {
      checkObject('authenticate', 'certificateBound', certificateBound)
    }
    this.#dpop = dpop === undefined ? undefined : new DpopProofs(dpop)
    this.#certificates =
      certificateBound === false
        ? undefined
        : new CertificateBinding(certificateBound === true ? {} : certificateBound)
    this.confirmations = [...(this.#dpop ? ['jkt'] : []), ...(this.#certificates ? ['x5t#S256'] : [])]
  }

  /** Signatures that proofs may have; undefined when tokens with proofs are not taken. */
  get dpopAlgorithms(): readonly string[] | undefined {
    return this.#dpop?.algorithms
  }

  /** A nonce for a client that has none. */
  get dpopNonce(): string | undefined {
    return this.#dpop?.nonces?.current
  }

  /**
   * Undefined at once for tokens that are bound to nobody.
   * @param text the token as received
   * @param scheme by which it was sent
   */
  check(
    exchange: Exchange,
    token: VerifiedToken,
    text: string,
    scheme: 'Bearer' | 'DPoP'
  ): Refusal | undefined | Promise<Refusal | undefined> {
    const { cnf } = token.claims
    if (cnf === undefined) return scheme === 'DPoP' ? unbound : undefined
    const certificate = cnf['x5t#S256']
    if (certificate !== undefined) {
      const refusal = this.#checkCertificate(exchange, certificate)
      if (refusal !== undefined) return refusal
    }
    const key = cnf['jkt']
    if (key === undefined) return scheme === 'DPoP' ? unbound : undefined
    if (typeof key !== 'string' || this.#dpop === undefined) return unchecked
    // Taken without its proof it would be worth as much to a thief (section 7.1).
    return scheme === 'DPoP' ? this.#checkProof(exchange, this.#dpop, text, key) : downgraded
  }

  #checkCertificate(exchange: Exchange, thumbprint: unknown): Refusal | undefined {
    if (typeof thumbprint !== 'string' || this.#certificates === undefined) return unchecked
    return this.#certificates.check(exchange, thumbprint)
  }

  async #checkProof(
    exchange: Exchange,
    dpop: DpopProofs,
    text: string,
    key: string
  ): Promise<Refusal | undefined> {
    const proof = await dpop.check(exchange.req, exchange.path, text, key)
    if (proof instanceof Refusal) return proof
    if (proof.nonce !== undefined) exchange.setHeader('DPoP-Nonce', proof.nonce)
    return undefined
  }
}

const bound = 'The access token is bound to another sender'
const unbound = new Refusal('invalid_token', 'token_without_key', 'The access token is bound to no key')
const unchecked = new Refusal('invalid_token', 'unchecked_confirmation', bound)
const downgraded = new Refusal('invalid_token', 'bound_token_as_bearer', bound)
