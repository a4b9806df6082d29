/** Checks that a token is sent over the TLS connection of the certificate it is bound to (RFC 8705, section 3). */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { Exchange } from '../../http/exchange.ts'
import { checkFunction } from '../../options.ts'
import { Refusal } from '../token/refusal.ts'

export interface CertificateBindingOptions {
  /**
   * The client's certificate in DER, where a proxy ends TLS: for instance from a header that only this proxy can set.
   * Default: that of the connection itself, which `https.createServer` asks for with `requestCert: true`.
   */
  certificate?: (req: IncomingMessage, exchange: Exchange) => Uint8Array | undefined
}

/** @throws TypeError when `certificate` is no function */
export class CertificateBinding {
  readonly #certificate: (req: IncomingMessage, exchange: Exchange) => Uint8Array | undefined

  constructor(options: CertificateBindingOptions = {}) {
    const { certificate = ofConnection } = options
    checkFunction('certificateBound', 'certificate', certificate)
    this.#certificate = certificate
  }

  /** @param thumbprint the token's `cnf['x5t#S256']` */
  check(exchange: Exchange, thumbprint: string): Refusal | undefined {
    const certificate = this.#certificate(exchange.req, exchange)
    if (certificate === undefined) return missing
    return createHash('sha256').update(certificate).digest('base64url') === thumbprint ? undefined : other
  }
}

const description = 'The access token is bound to another sender'
const missing = new Refusal('invalid_token', 'missing_client_certificate', description)
const other = new Refusal('invalid_token', 'wrong_client_certificate', description)

function ofConnection(req: IncomingMessage): Uint8Array | undefined {
  // Without a client certificate the object is empty.
  return (req.socket as Partial<TLSSocket>).getPeerCertificate?.()?.raw
}
