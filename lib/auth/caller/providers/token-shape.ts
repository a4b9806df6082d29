/** A token's claims as the rules about callers read them: every value may be missing or of any type. */
import type { Claims, TokenHeader } from '../../token/verified-token.ts'

export type CallerKind = 'machine' | 'human' | 'unknown'

export interface Verdict {
  readonly kind: CallerKind
  /** What showed it, such as `gty=client-credentials`. Names claims; repeats no value that is not a fixed word. */
  readonly reason: string
}

export function machine(reason: string): Verdict {
  return { kind: 'machine', reason }
}

export function human(reason: string): Verdict {
  return { kind: 'human', reason }
}

export function unknown(reason: string): Verdict {
  return { kind: 'unknown', reason }
}

/** The claims that most rules ask for, read once. Blank text counts as missing. */
export class TokenShape {
  readonly claims: Claims
  readonly header: TokenHeader
  readonly iss: string
  /** Host of the issuer, lower case; empty when the issuer is no http URL. */
  readonly host: string
  readonly path: string
  readonly sub: string | undefined
  readonly jti: string
  readonly grants: readonly string[]
  readonly scopes: readonly string[]

  constructor(claims: unknown, header: unknown) {
    this.claims = isRecord(claims) ? claims : {}
    this.header = isRecord(header) ? header : {}
    this.iss = this.text('iss') ?? ''
    const { host, path } = addressOf(this.iss)
    this.host = host
    this.path = path
    this.sub = this.text('sub')
    this.jti = this.text('jti') ?? ''
    this.grants = [...this.words('gty'), ...this.words('grant_type'), ...wordsOf(this.header['gty'])]
    this.scopes = scopesOf(this.claims)
  }

  /** The claim, if it is text that is not blank. */
  text(name: string): string | undefined {
    return textOf(this.claims[name])
  }

  /** The claim's words: an array's strings, or text split at spaces. */
  words(name: string): readonly string[] {
    return wordsOf(this.claims[name])
  }

  record(name: string): Readonly<Record<string, unknown>> | undefined {
    const value = this.claims[name]
    return isRecord(value) ? value : undefined
  }

  has(name: string): boolean {
    const value = this.claims[name]
    return (
      value !== undefined && value !== null && value !== '' && !(Array.isArray(value) && value.length === 0)
    )
  }

  hasAny(...names: string[]): boolean {
    return names.some(name => this.has(name))
  }

  /** The audience, if it is one and no more. */
  get onlyAudience(): string | undefined {
    const { aud } = this.claims
    return textOf(Array.isArray(aud) && aud.length === 1 ? aud[0] : aud)
  }

  hostIs(...hosts: string[]): boolean {
    // Asked for every provider in turn: no closure.
    for (const host of hosts) {
      if (this.host === host || (host.charCodeAt(0) === 0x2e && this.host.endsWith(host))) return true
    }
    return false
  }

  /** The first of these claims that repeats the subject: the token speaks for its own client. */
  clientClaimOfSubject(...names: string[]): string | undefined {
    return this.sub === undefined ? undefined : names.find(name => this.text(name) === this.sub)
  }
}

interface Address {
  readonly host: string
  readonly path: string
}

const noAddress: Address = { host: '', path: '' }
/** Issuers are few, and parsing a URL is most of what a verdict would cost. */
const addresses = new Map<string, Address>()
const maxAddresses = 100

function addressOf(iss: string): Address {
  const known = addresses.get(iss)
  if (known !== undefined) return known
  if (!/^https?:\/\//i.test(iss) || !URL.canParse(iss)) return noAddress
  const { hostname, pathname } = new URL(iss)
  const address = { host: hostname, path: pathname }
  if (addresses.size >= maxAddresses) addresses.clear()
  addresses.set(iss, address)
  return address
}

/** The scopes a token carries, from `scope` or `scp`, each text or array. */
export function scopesOf(claims: Claims): readonly string[] {
  const scopes = [...wordsOf(claims['scope']), ...wordsOf(claims['scp'])]
  return scopes.length < 2 ? scopes : [...new Set(scopes)]
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value : undefined
}

export function wordsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return value.split(' ').filter(word => word !== '')
  if (Array.isArray(value)) return value.filter(word => typeof word === 'string' && word !== '')
  return []
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
