/** The public keys of one issuer, as verification needs them. */
import { type CryptoKey, calculateJwkThumbprint, importJWK, type JWK } from 'jose'

/** Keys tried for a token without `kid`. */
const maxCandidates = 4
const maxKeys = 100

export class VerificationKey {
  readonly kid: string | undefined
  /** RFC 7638. */
  readonly thumbprint: string
  /** Algorithms that a token may name with this key. */
  readonly algorithms: readonly string[]
  readonly jwk: JWK
  /** False once the issuer publishes the key no more: what it verified is worth nothing from then on. */
  current = true
  readonly #imported = new Map<string, CryptoKey>()

  constructor(jwk: JWK, algorithms: readonly string[], thumbprint: string) {
    this.kid = jwk.kid
    this.jwk = jwk
    this.algorithms = algorithms
    this.thumbprint = thumbprint
  }

  /** The key for one of its algorithms; a promise the first time. */
  for(alg: string): CryptoKey | Promise<CryptoKey> {
    return this.#imported.get(alg) ?? this.#import(alg)
  }

  async #import(alg: string): Promise<CryptoKey> {
    const key = (await importJWK(this.jwk, alg)) as CryptoKey
    this.#imported.set(alg, key)
    return key
  }
}

export class KeySet {
  readonly keys: readonly VerificationKey[]

  constructor(keys: readonly VerificationKey[]) {
    this.keys = keys
  }

  /**
   * Reads a JWK set. What cannot verify is left out: symmetric and private keys, unknown types, RSA below 2048 bits,
   * keys for other uses. A key that `previous` held already is taken over from there.
   * @throws Error when it is no JWK set, or no usable key is in it
   */
  static async read(document: unknown, previous?: KeySet): Promise<KeySet> {
    const listed = (document as { keys?: unknown } | null)?.keys
    if (!Array.isArray(listed)) throw new Error('not a JWK set')
    const keys: VerificationKey[] = []
    for (const jwk of listed.slice(0, maxKeys)) {
      const key = await readKey(jwk, previous)
      if (key !== undefined) keys.push(key)
    }
    if (keys.length === 0) throw new Error(`no usable key among ${listed.length} in the JWK set`)
    return new KeySet(keys)
  }

  has(kid: string): boolean {
    return this.keys.some(key => key.kid === kid)
  }

  /** Keys that may have signed a token with this header, at most four. */
  candidates(kid: string | undefined, alg: string): VerificationKey[] {
    const found: VerificationKey[] = []
    for (const key of this.keys) {
      if ((kid === undefined || key.kid === kid) && key.algorithms.includes(alg)) found.push(key)
      if (found.length === maxCandidates) break
    }
    return found
  }
}

async function readKey(listed: unknown, previous: KeySet | undefined): Promise<VerificationKey | undefined> {
  if (typeof listed !== 'object' || listed === null) return undefined
  const jwk = publicPart(listed as JWK)
  const algorithms = jwk === undefined ? [] : algorithmsOf(jwk)
  if (jwk === undefined || algorithms.length === 0) return undefined
  try {
    const thumbprint = await calculateJwkThumbprint(jwk)
    const known = previous?.keys.find(
      key => key.thumbprint === thumbprint && key.kid === jwk.kid && key.jwk.alg === jwk.alg
    )
    if (known !== undefined) return known
    const key = new VerificationKey(jwk, algorithms, thumbprint)
    await key.for(algorithms[0] as string)
    return key
  } catch {
    // Members of the wrong kind: a key that cannot be imported verifies nothing.
    return undefined
  }
}

/** A copy of what a public signature key consists of, or undefined when it is something else. */
function publicPart(jwk: JWK): JWK | undefined {
  const { kty, kid, alg, use, key_ops: operations, n, e, crv, x, y } = jwk
  if (kty === 'oct' || 'd' in jwk || 'p' in jwk || 'q' in jwk || 'k' in jwk) return undefined
  // SPIFFE bundles say `jwt-svid` where others say `sig`.
  if (use !== undefined && use !== 'sig' && (use as string) !== 'jwt-svid') return undefined
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify')))
    return undefined
  if (kid !== undefined && typeof kid !== 'string') return undefined
  const named = { ...(kid !== undefined && { kid }), ...(alg !== undefined && { alg }) }
  switch (kty) {
    case 'RSA':
      return { kty, ...named, n: n as string, e: e as string }
    case 'EC':
      return { kty, ...named, crv: crv as string, x: x as string, y: y as string }
    case 'OKP':
      return { kty, ...named, crv: crv as string, x: x as string }
    default:
      return undefined
  }
}

const rsaAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
const curveAlgorithms: Record<string, readonly string[]> = {
  'P-256': ['ES256'],
  'P-384': ['ES384'],
  'P-521': ['ES512'],
  Ed25519: ['EdDSA', 'Ed25519']
}

function algorithmsOf(jwk: JWK): readonly string[] {
  const possible = jwk.kty === 'RSA' ? rsaAlgorithmsOf(jwk) : (curveAlgorithms[String(jwk.crv)] ?? [])
  if (jwk.alg === undefined) return possible
  if (!possible.includes(jwk.alg)) return []
  // RFC 9864 names Ed25519 what `EdDSA` meant on that curve.
  return jwk.crv === 'Ed25519' ? possible : [jwk.alg]
}

function rsaAlgorithmsOf({ n }: JWK): readonly string[] {
  const modulus = Buffer.from(String(n), 'base64url')
  const first = modulus.findIndex(byte => byte !== 0)
  if (first === -1) return []
  const bits = (modulus.length - first) * 8 - (Math.clz32(modulus[first] as number) - 24)
  return bits >= 2048 ? rsaAlgorithms : []
}
