/** Checks that who sends a token holds the key it is bound to: DPoP (RFC 9449). */
import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { calculateJwkThumbprint, compactVerify, EmbeddedJWK, type JWK } from 'jose'
import { checkSeconds, shown, wrongOption } from '../../options.ts'
import { isRecord, textOf } from '../caller/providers/token-shape.ts'
import { checkAlgorithms } from '../token/algorithms.ts'
import { Refusal, unavailable } from '../token/refusal.ts'
import { DpopNonces } from './dpop-nonces.ts'
import { MemoryReplays, type Replays } from './replays.ts'

export interface DpopOptions {
  /** The origins by which clients know this server, such as `https://api.example.com`. Never taken from the request. */
  origin: string | readonly string[]
  /** Signatures that proofs may have. Default: ES256, ES384, ES512, EdDSA, Ed25519, PS256, RS256. */
  algorithms?: readonly string[]
  /** Seconds that a proof counts from its `iat`. Default 60. */
  maxAgeSeconds?: number
  /** Seconds by which a client's clock may be ahead. Default 5. */
  clockToleranceSeconds?: number
  /**
   * Demands a nonce of this server in proofs, so that none can be made ahead of time (section 9): true, or the secret that the
   * processes of one service share, at least 32 bytes. Default false.
   */
  nonce?: boolean | Uint8Array
  /** Which proofs were used already. Default: in memory, for this process alone; `RedisReplays` is for several. */
  replays?: Replays
  /** Wall clock, ms. */
  clock?: () => number
}

/** A proof that passed; `nonce` is one to use from now on, if the proof's is about to expire. */
export interface DpopProof {
  readonly nonce: string | undefined
}

const usual = ['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519', 'PS256', 'RS256']
const maxProofLength = 4_096

/** @throws TypeError when an option is not what it must be */
export class DpopProofs {
  readonly algorithms: readonly string[]
  readonly nonces: DpopNonces | undefined
  readonly #origins: ReadonlySet<string>
  readonly #maxAgeMs: number
  readonly #toleranceMs: number
  readonly #replays: Replays
  readonly #clock: () => number

  constructor(options: DpopOptions) {
    const { algorithms = usual, nonce = false, clock = Date.now } = options
    this.#origins = checkOrigins(options.origin)
    checkAlgorithms('dpop', algorithms)
    this.algorithms = [...algorithms]
    this.#maxAgeMs = 1000 * checkSeconds('dpop', 'maxAgeSeconds', options.maxAgeSeconds ?? 60)
    this.#toleranceMs =
      1000 * checkSeconds('dpop', 'clockToleranceSeconds', options.clockToleranceSeconds ?? 5)
    this.nonces = nonceSource(nonce, clock)
    const replays =
      options.replays ?? new MemoryReplays({ clock, windowMs: this.#maxAgeMs + this.#toleranceMs })
    if (typeof replays?.add !== 'function') {
      throw new TypeError(`dpop: replays must have a method add, got ${String(replays)}`)
    }
    this.#replays = replays
    this.#clock = clock
  }

  /**
   * Checks the proof of one request (section 4.3).
   * @param path of the request, without its query
   * @param token as received
   * @param thumbprint the token's `cnf.jkt`
   */
  async check(
    req: IncomingMessage,
    path: string,
    token: string,
    thumbprint: string
  ): Promise<DpopProof | Refusal> {
    const proof = proofOf(req.rawHeaders)
    if (proof instanceof Refusal) return proof
    const verified = await this.#verify(proof)
    if (verified instanceof Refusal) return verified
    const { jwk, claims } = verified
    if ((await calculateJwkThumbprint(jwk)) !== thumbprint) return failures.key
    const failure = this.#judge(claims, req.method as string, path, token)
    if (failure !== undefined) return failure
    const nonce = this.nonces?.judge(claims['nonce'])
    if (nonce === 'wrong') return failures.nonce
    const used = await this.#use(
      `${thumbprint}.${digestOf(claims['jti'] as string)}`,
      claims['iat'] as number
    )
    return used ?? { nonce: nonce === 'old' ? this.nonces?.current : undefined }
  }

  async #verify(proof: string): Promise<{ jwk: JWK; claims: Readonly<Record<string, unknown>> } | Refusal> {
    try {
      const { payload, protectedHeader } = await compactVerify(proof, EmbeddedJWK, {
        algorithms: [...this.algorithms]
      })
      if (protectedHeader.typ?.toLowerCase() !== 'dpop+jwt') return failures.type
      const claims: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
      return isRecord(claims) ? { jwk: protectedHeader.jwk as JWK, claims } : failures.malformed
    } catch {
      // Malformed, another algorithm, a private or weak key, a wrong signature: the client is told the same.
      return failures.signature
    }
  }

  #judge(
    claims: Readonly<Record<string, unknown>>,
    method: string,
    path: string,
    token: string
  ): Refusal | undefined {
    const { htm, htu, iat, ath } = claims
    if (textOf(claims['jti']) === undefined) return failures.malformed
    if (htm !== method) return failures.method
    if (!this.#isTarget(htu, path)) return failures.target
    if (ath !== digestOf(token)) return failures.token
    if (typeof iat !== 'number' || !Number.isFinite(iat)) return failures.malformed
    const age = this.#clock() - iat * 1000
    return age > this.#maxAgeMs || age < -this.#toleranceMs ? failures.age : undefined
  }

  /** Section 4.3: without query and fragment, and normalized as URLs are. */
  #isTarget(htu: unknown, path: string): boolean {
    if (typeof htu !== 'string' || !URL.canParse(htu)) return false
    const { origin, pathname, username, password } = new URL(htu)
    if (!this.#origins.has(origin) || username !== '' || password !== '') return false
    return path.startsWith('/') && URL.canParse(origin + path) && new URL(origin + path).pathname === pathname
  }

  async #use(name: string, issuedAt: number): Promise<Refusal | undefined> {
    const until = issuedAt * 1000 + this.#maxAgeMs
    try {
      return (await this.#replays.add(name, until)) ? undefined : failures.replayed
    } catch {
      return replaysUnavailable
    }
  }
}

const invalid = (reason: string) => new Refusal('invalid_dpop_proof', reason, 'The DPoP proof is invalid')
const failures = {
  missing: new Refusal('invalid_dpop_proof', 'missing_dpop_proof', 'The DPoP proof is missing'),
  duplicate: invalid('duplicate_dpop_proof'),
  malformed: invalid('malformed_dpop_proof'),
  signature: invalid('bad_dpop_signature'),
  type: invalid('wrong_dpop_type'),
  key: invalid('wrong_dpop_key'),
  method: invalid('wrong_dpop_method'),
  target: invalid('wrong_dpop_target'),
  token: invalid('wrong_dpop_token_hash'),
  age: invalid('dpop_proof_out_of_time'),
  replayed: invalid('dpop_proof_replayed'),
  nonce: new Refusal('use_dpop_nonce', 'wrong_dpop_nonce', 'The DPoP proof must have a nonce of this server')
}
const replaysUnavailable = unavailable('dpop_replays_unavailable')

function proofOf(rawHeaders: readonly string[]): string | Refusal {
  let proof: string | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length !== 4 || name.toLowerCase() !== 'dpop') continue
    if (proof !== undefined) return failures.duplicate
    proof = rawHeaders[i + 1] as string
  }
  if (proof === undefined || proof === '') return failures.missing
  return proof.length > maxProofLength ? failures.malformed : proof
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

function nonceSource(nonce: boolean | Uint8Array, clock: () => number): DpopNonces | undefined {
  if (nonce === false) return undefined
  const secret = nonce === true ? randomBytes(32) : nonce
  if (!(secret instanceof Uint8Array) || secret.length < 32) {
    throw new TypeError('dpop: nonce must be true, false, or a secret of at least 32 bytes')
  }
  return new DpopNonces(secret, clock)
}

function checkOrigins(origin: string | readonly string[]): ReadonlySet<string> {
  const origins = typeof origin === 'string' ? [origin] : origin
  const good = Array.isArray(origins) && origins.length > 0
  if (!good || !origins.every(each => URL.canParse(each) && new URL(each).origin === each)) {
    throw wrongOption(
      'dpop',
      'origin',
      'an origin such as https://api.example.com, or a list of them',
      shown(origin)
    )
  }
  return new Set(origins)
}
