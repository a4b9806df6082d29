/** API keys: opaque tokens that the application issues itself and keeps as hashes only. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { defaultReporter, type Reporter } from '../../http/reporter.ts'
import { checkFunction, checkMs, checkText, isText, shown, wrongOption } from '../../options.ts'
import { within } from '../../within.ts'
import type { CallerKind } from '../caller/m2m-token-detector.ts'
import { freezeClaims } from '../token/frozen-claims.ts'
import { ProvenToken } from '../token/proven-token.ts'
import { invalid, type Refusal, refusals, unavailable } from '../token/refusal.ts'
import type { Claims, VerifiedToken } from '../token/verified-token.ts'
import { looksLikeJwt, type OpaqueTokens } from './opaque-tokens.ts'

/** What the application keeps of a key. */
export interface ApiKeyRecord {
  /** The key's own id, as in audit, usage and revocation: never the key, and never its hash. */
  id: string
  /** As it was kept, SHA-256 in hex: compared again, in constant time, whatever the database takes for equal. */
  tokenHash: string
  /** Whom the key speaks for. */
  subject: string
  name?: string | null
  email?: string | null
  clientId?: string | null
  scopes?: readonly string[]
  /** Default `machine`: a key is used by programs, whoever owns it. */
  kind?: CallerKind
  expiresAt?: Date | null
  /** Further claims, such as `roles`. */
  claims?: Readonly<Record<string, unknown>>
}

export interface ApiKeyOptions {
  /** Finds a key by its SHA-256 in hex; null or undefined: there is none. What it throws is answered with 503. */
  lookup(tokenHash: string): Promise<ApiKeyRecord | null | undefined> | ApiKeyRecord | null | undefined
  /** What keys start with, such as `orders_`. Default: every token that is no JWT is taken for a key. */
  prefix?: string | readonly string[]
  /** Stands as the issuer of keys, for revocation and in keys of callers. Default `api-keys`. */
  issuer?: string
  /** ms that a look-up may take. Default 5000. */
  timeoutMs?: number
  reporter?: Reporter
  /** Wall clock, ms. */
  clock?: () => number
}

/**
 * SHA-256 in hex: how a key is kept, and what `lookup` gets. Right for keys of 128 random bits or more, which cannot be
 * guessed.
 */
export function apiKeyHash(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

/** @throws TypeError when an option is not what it must be */
export class ApiKeys implements OpaqueTokens {
  /** Whether every token that is no JWT is taken. */
  readonly takesAll: boolean
  readonly #lookup: ApiKeyOptions['lookup']
  readonly #prefixes: readonly string[]
  readonly #issuer: string
  readonly #timeoutMs: number
  readonly #reporter: Reporter
  readonly #clock: () => number

  constructor(options: ApiKeyOptions) {
    const { lookup, prefix = [], issuer = 'api-keys', timeoutMs = 5_000 } = options
    checkFunction('apiKeys', 'lookup', lookup)
    const prefixes = typeof prefix === 'string' ? [prefix] : prefix
    if (!Array.isArray(prefixes) || !prefixes.every(isText)) {
      throw wrongOption('apiKeys', 'prefix', 'a non-empty string or a list of them', shown(prefix))
    }
    checkText('apiKeys', 'issuer', issuer)
    checkMs('apiKeys', 'timeoutMs', timeoutMs)
    this.takesAll = prefixes.length === 0
    this.#lookup = lookup
    this.#prefixes = [...prefixes]
    this.#issuer = issuer
    this.#timeoutMs = timeoutMs
    this.#reporter = options.reporter ?? defaultReporter
    this.#clock = options.clock ?? Date.now
  }

  takes(text: string): boolean {
    return this.takesAll ? !looksLikeJwt(text) : this.#prefixes.some(prefix => text.startsWith(prefix))
  }

  async resolve(text: string): Promise<VerifiedToken | Refusal> {
    const tokenHash = apiKeyHash(text)
    try {
      // Query builders give no promise, but what can be awaited like one.
      const record = await within(this.#timeoutMs, Promise.resolve(this.#lookup(tokenHash)))
      if (record === null || record === undefined) return unknownKey
      checkRecord(record)
      return isSame(record.tokenHash, tokenHash) ? this.#admit(text, record) : unknownKey
    } catch (error) {
      this.#reporter.report('api_key_lookup', error)
      return keysDown
    }
  }

  #admit(text: string, record: ApiKeyRecord): VerifiedToken | Refusal {
    const claims = claimsOf(record, this.#issuer)
    if (claims.exp !== undefined && claims.exp * 1000 <= this.#clock()) return refusals.expired
    if (!freezeClaims(claims)) return refusals.tooDeep
    const kind = record.kind ?? 'machine'
    return new ProvenToken(text, noHeader, claims, this.#issuer, { m2m: () => kind, issuerInKey: true })
  }
}

const noHeader = Object.freeze({})
const kinds: readonly CallerKind[] = ['machine', 'human', 'unknown']
const unknownKey = invalid('unknown_api_key')
const keysDown = unavailable('api_keys_unavailable')

function claimsOf(record: ApiKeyRecord, issuer: string): Claims {
  const { id, subject, name, email, clientId, scopes, expiresAt } = record
  return {
    ...structuredClone(record.claims ?? {}),
    iss: issuer,
    sub: subject,
    jti: id,
    token_use: 'api',
    ...(isText(name) && { name }),
    ...(isText(email) && { email }),
    ...(isText(clientId) && { client_id: clientId }),
    ...(scopes && { scope: [...scopes] }),
    ...(expiresAt && { exp: expiresAt.getTime() / 1000 })
  }
}

/** A record that is not what it must be is the application's fault, and must not look like a wrong key. */
function checkRecord(record: ApiKeyRecord): void {
  const { id, tokenHash, subject, scopes = [], kind = 'machine', expiresAt = null } = record
  if (!isText(id) || !isText(tokenHash) || !isText(subject)) {
    throw new TypeError('apiKeys: lookup must give a record with id, tokenHash and subject')
  }
  // A text would become a list of its characters.
  if (!Array.isArray(scopes)) throw new TypeError('apiKeys: scopes of a record must be a list')
  if (!kinds.includes(kind))
    throw new TypeError(`apiKeys: kind of a record must be one of ${kinds.join(', ')}`)
  // Nothing but null and undefined is for ever: not 0, not an empty text.
  if (expiresAt !== null && !Number.isFinite((expiresAt as Partial<Date>).getTime?.())) {
    throw new TypeError('apiKeys: expiresAt of a record must be a valid date')
  }
}

function isSame(kept: string, computed: string): boolean {
  const [a, b] = [Buffer.from(kept.toLowerCase()), Buffer.from(computed)]
  return a.length === b.length && timingSafeEqual(a, b)
}
