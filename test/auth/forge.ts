/** Builds tokens byte by byte, signed with real keys, as no honest library would. */
import { createHmac, KeyObject, sign } from 'node:crypto'
import type { LocalAlgorithm, LocalIssuer } from '../../examples/local-issuer.ts'

type Part = Record<string, unknown> | string | Uint8Array

export function base64url(part: Part): string {
  const bytes = typeof part === 'string' || part instanceof Uint8Array ? part : JSON.stringify(part)
  return Buffer.from(bytes as string).toString('base64url')
}

/** The claims of a good token of this issuer. */
export function goodClaims(issuer: LocalIssuer, more: Record<string, unknown> = {}): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1000)
  return { iss: issuer.url, aud: issuer.audience, sub: 'mallory', iat: now, exp: now + 600, ...more }
}

/** A token with exactly this header and payload, and a signature that is good over them. */
export function forge(
  issuer: LocalIssuer,
  header: Part,
  payload: Part,
  alg: LocalAlgorithm = 'RS256'
): string {
  const input = `${base64url(header)}.${base64url(payload)}`
  return `${input}.${signatureOf(issuer, input, alg).toString('base64url')}`
}

export function signatureOf(issuer: LocalIssuer, input: string, alg: LocalAlgorithm): Buffer {
  const key = KeyObject.from(issuer.key({ alg }).privateKey)
  const digest = alg === 'EdDSA' ? null : 'sha256'
  const padding = alg === 'PS256' ? { padding: 6, saltLength: 32 } : {}
  return sign(digest, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363', ...padding })
}

export function headerOf(issuer: LocalIssuer, alg: LocalAlgorithm = 'RS256'): Record<string, unknown> {
  return { alg, kid: issuer.key({ alg }).kid, typ: 'at+jwt' }
}

export function hs256(header: Part, payload: Part, secret: string | Uint8Array): string {
  const input = `${base64url(header)}.${base64url(payload)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}
