/** Where a caller's groups, roles and permissions come from: the token's claims, or a provider that is asked when needed. */
import type { Exchange } from '../../http/exchange.ts'
import { checkMs, checkObject, isTexts, shown, wrongOption } from '../../options.ts'
import { within } from '../../within.ts'
import type { Claims } from '../token/verified-token.ts'
import { isRecord, wordsOf } from './providers/token-shape.ts'
import type { User } from './user.ts'

export type MembershipKind = 'groups' | 'roles' | 'permissions'

/** Asked at most once a request for each kind. What it throws is answered with 503: not knowing is not the same as having none. */
export interface MembershipProvider {
  load(user: User, exchange: Exchange): readonly string[] | Promise<readonly string[]>
}

/** A provider that finds everything in the token. */
export interface ClaimProvider extends MembershipProvider {
  load(user: User): readonly string[]
}

export interface MembershipOptions {
  groups?: MembershipProvider
  roles?: MembershipProvider
  permissions?: MembershipProvider
  /** ms a provider may take. Default 5000. */
  timeoutMs?: number
}

/** What `await user.groups` rejects with, and guards answer with 503, when the provider fails. */
export class MembershipError extends Error {
  override readonly name = 'MembershipError'
  readonly code = 'ERR_MEMBERSHIP_UNAVAILABLE'
  /** Thrown on by a handler, it becomes the answer's status. */
  readonly statusCode = 503

  constructor(kind: MembershipKind, cause: unknown) {
    super(`the ${kind} of the caller cannot be loaded`, { cause })
  }
}

/**
 * The providers of one `authenticate`, checked. Without options the claims `groups` or `cognito:groups`, `roles` or
 * `realm_access.roles`, and `permissions` count.
 * @throws TypeError when a provider has no `load`, or `timeoutMs` is no positive number
 */
export class Memberships {
  readonly groups: MembershipProvider
  readonly roles: MembershipProvider
  readonly permissions: MembershipProvider
  readonly #timeoutMs: number

  constructor(options: MembershipOptions = {}) {
    checkObject('authenticate', 'memberships', options)
    this.groups = checked('groups', options.groups)
    this.roles = checked('roles', options.roles)
    this.permissions = checked('permissions', options.permissions)
    const { timeoutMs = 5_000 } = options
    checkMs('memberships', 'timeoutMs', timeoutMs)
    this.#timeoutMs = timeoutMs
  }

  /** The list when it is at hand, else a promise of it that rejects with a `MembershipError`. */
  load(kind: MembershipKind, user: User, exchange: Exchange): readonly string[] | Promise<readonly string[]> {
    try {
      const loaded = this[kind].load(user, exchange)
      if (Array.isArray(loaded)) return listOf(loaded)
      return within(this.#timeoutMs, Promise.resolve(loaded))
        .then(listOf)
        .catch(error => failed(kind, error, exchange))
    } catch (error) {
      return Promise.resolve().then(() => failed(kind, error, exchange))
    }
  }
}

/** Values of one claim: an array of strings, or text split at spaces. A name in a list of names leads to a nested claim. */
export function claimMemberships(...path: readonly string[]): ClaimProvider {
  if (!isTexts(path)) {
    throw wrongOption('claimMemberships', 'claim names', 'non-empty strings', shown(path))
  }
  return { load: user => wordsOf(claimAt(user.claims, path)) }
}

/** `cognito:groups`. */
export function cognitoGroups(): ClaimProvider {
  return claimMemberships('cognito:groups')
}

/** Realm roles; with a client's id that client's roles instead. */
export function keycloakRoles(clientId?: string): ClaimProvider {
  return clientId === undefined
    ? claimMemberships('realm_access', 'roles')
    : claimMemberships('resource_access', clientId, 'roles')
}

/** App roles. */
export function entraRoles(): ClaimProvider {
  return claimMemberships('roles')
}

/** Group ids. Entra leaves the list out when it is too long and says so: that is an error, not an empty list. */
export function entraGroups(): ClaimProvider {
  return {
    load(user) {
      const { claims } = user
      const names = claims['_claim_names']
      if (
        claims['groups'] === undefined &&
        (claims['hasgroups'] === true || (isRecord(names) && 'groups' in names))
      ) {
        throw new Error('the token holds too many groups to list them: load them from Microsoft Graph')
      }
      return wordsOf(claims['groups'])
    }
  }
}

/** RBAC permissions. */
export function auth0Permissions(): ClaimProvider {
  return claimMemberships('permissions')
}

/** The usual claims; the first that is there counts. */
const defaults: Readonly<Record<MembershipKind, MembershipProvider>> = {
  groups: firstOf(entraGroups(), cognitoGroups()),
  roles: firstOf(claimMemberships('roles'), keycloakRoles()),
  permissions: claimMemberships('permissions')
}

function firstOf(first: ClaimProvider, second: ClaimProvider): MembershipProvider {
  return {
    load(user) {
      const list = first.load(user)
      return list.length > 0 ? list : second.load(user)
    }
  }
}

function checked(kind: MembershipKind, provider: MembershipProvider | undefined): MembershipProvider {
  if (provider === undefined) return defaults[kind]
  if (typeof provider?.load !== 'function') {
    throw new TypeError(`memberships: ${kind} must have a load function, got ${String(provider)}`)
  }
  return provider
}

function claimAt(claims: Claims, path: readonly string[]): unknown {
  let value: unknown = claims
  for (const name of path) {
    if (!isRecord(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}

function listOf(loaded: unknown): readonly string[] {
  if (Array.isArray(loaded) && loaded.every(entry => typeof entry === 'string')) return loaded
  throw new TypeError('a membership provider must give a list of strings')
}

function failed(kind: MembershipKind, error: unknown, exchange: Exchange): never {
  exchange.reporter.report('membership_provider', error)
  throw new MembershipError(kind, error)
}
