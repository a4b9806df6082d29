/** The caller of one request: a light object over what verification proved once for all requests with the same token. */
import type { Caller, Exchange } from '../../http/exchange.ts'
import type { AuthContext } from '../guards/auth-context.ts'
import type { Claims, VerifiedToken } from '../token/verified-token.ts'
import { actorOf } from './identity.ts'
import type { CallerKind } from './m2m-token-detector.ts'
import type { MembershipKind } from './memberships.ts'

type Loaded = readonly string[] | Promise<readonly string[]>

/** `req.user` and `exchange.user`. Lives as long as its request. */
export class User implements Caller {
  /** The subject; for machines without one the client id. Empty when the token names nobody. */
  readonly id: string
  readonly key: string
  readonly name: string | null
  /** Null when there is none; a blank one is none. */
  readonly email: string | null
  readonly kind: CallerKind
  readonly isM2M: boolean
  readonly clientId: string | null
  readonly scopes: readonly string[]
  /** The token's claims, frozen. */
  readonly claims: Claims
  readonly #token: VerifiedToken
  readonly #exchange: Exchange
  readonly #context: AuthContext
  #groups: Loaded | undefined
  #roles: Loaded | undefined
  #permissions: Loaded | undefined

  constructor(token: VerifiedToken, exchange: Exchange, context: AuthContext) {
    const { identity } = token
    this.id = identity.id
    this.key = identity.key
    this.name = identity.name
    this.email = identity.email
    this.kind = identity.kind
    this.isM2M = identity.isM2M
    this.clientId = identity.clientId
    this.scopes = identity.scopes
    this.claims = token.claims
    this.#token = token
    this.#exchange = exchange
    this.#context = context
  }

  /** The configured issuer whose key verified the token. */
  get issuer(): string {
    return this.#token.issuer
  }

  /** The claim that showed machine or human. */
  get evidence(): string {
    return this.#token.evidence
  }

  /** Who acts for the subject (RFC 8693, section 4.1), or null. */
  get actor(): string | null {
    return actorOf(this.claims)
  }

  /** Loaded on first use, once a request. Rejects with a `MembershipError` when the provider fails. */
  get groups(): Promise<readonly string[]> {
    return Promise.resolve(this.memberships('groups'))
  }

  /** As `groups`. */
  get roles(): Promise<readonly string[]> {
    return Promise.resolve(this.memberships('roles'))
  }

  /** As `groups`. */
  get permissions(): Promise<readonly string[]> {
    return Promise.resolve(this.memberships('permissions'))
  }

  /** @internal Without a promise when the list is at hand. */
  memberships(kind: MembershipKind): Loaded {
    switch (kind) {
      case 'groups':
        if (this.#groups === undefined)
          this.#groups = this.#load('groups', list => {
            this.#groups = list
          })
        return this.#groups
      case 'roles':
        if (this.#roles === undefined)
          this.#roles = this.#load('roles', list => {
            this.#roles = list
          })
        return this.#roles
      default:
        if (this.#permissions === undefined)
          this.#permissions = this.#load('permissions', list => {
            this.#permissions = list
          })
        return this.#permissions
    }
  }

  /** @internal How refusals challenge the caller. */
  get context(): AuthContext {
    return this.#context
  }

  #load(kind: MembershipKind, keep: (list: readonly string[]) => void): Loaded {
    const loading = this.#context.memberships.load(kind, this, this.#exchange)
    if (loading instanceof Promise) loading.then(keep, () => undefined)
    return loading
  }
}
