/** Who a caller is, as far as others than authentication care. */

/** What other stages read. `auth/caller/user.ts` implements it. */
export interface Identity {
  readonly id: string
  /** `user:<id>` or `client:<client id>`: one caller, one key, unique over all configured issuers. */
  readonly key: string
  readonly name: string | null
  readonly email: string | null
  readonly kind: 'machine' | 'human' | 'unknown'
  readonly isM2M: boolean
  readonly clientId: string | null
  readonly scopes: readonly string[]
  /** Which claim showed the kind, for the audit log. */
  readonly evidence?: string
}

/** The same caller as handlers see it. */
export interface Caller extends Identity {
  /** The verified token's claims, frozen. */
  readonly claims: Readonly<Record<string, unknown>>
  /** Loaded when first asked for, once a request. */
  readonly groups: PromiseLike<readonly string[]>
  readonly roles: PromiseLike<readonly string[]>
  readonly permissions: PromiseLike<readonly string[]>
}
