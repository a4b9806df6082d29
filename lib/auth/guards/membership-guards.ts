/** Guards and questions about a caller's groups, roles and permissions. */
import type { IncomingMessage } from 'node:http'
import { type Exchange, exchangeOf, type Identity } from '../../http/exchange.ts'
import type { StageMiddleware } from '../../http/pipeline.ts'
import { refuse } from '../../http/problem.ts'
import { MembershipError, type MembershipKind } from '../caller/memberships.ts'
import { User } from '../caller/user.ts'
import { checkNames, guardMiddleware, refuseCaller } from './guard.ts'
import { holdsAll, holdsAny } from './scope-guards.ts'

type Holds = (held: readonly string[], wanted: readonly string[]) => boolean

/** A guard for names of one kind. Callers without them get 403; where they cannot be loaded, 503. */
export interface MembershipGuard {
  /** Lets callers pass who have one of these or more. */
  (...names: string[]): StageMiddleware
  /** Lets callers pass who have every one of these. */
  all(...names: string[]): StageMiddleware
}

/**
 * A question about names of one kind. Anonymous callers have none; where they cannot be loaded it rejects with a
 * `MembershipError`.
 */
export interface MembershipQuestion {
  /** Whether the caller has one of these or more. */
  (req: IncomingMessage, ...names: string[]): Promise<boolean>
  /** Whether the caller has every one of these. */
  all(req: IncomingMessage, ...names: string[]): Promise<boolean>
}

export const requireGroups: MembershipGuard = membershipGuard('requireGroups', 'groups', 'missing_group')
export const requireRoles: MembershipGuard = membershipGuard('requireRoles', 'roles', 'missing_role')
export const requirePermissions: MembershipGuard = membershipGuard(
  'requirePermissions',
  'permissions',
  'missing_permission'
)

export const hasGroups: MembershipQuestion = membershipQuestion('hasGroups', 'groups')
export const hasRoles: MembershipQuestion = membershipQuestion('hasRoles', 'roles')
export const hasPermissions: MembershipQuestion = membershipQuestion('hasPermissions', 'permissions')

function membershipGuard(name: string, kind: MembershipKind, reason: string): MembershipGuard {
  const guard = (label: string, holds: Holds, names: readonly string[]) => {
    checkNames(label, names)
    const rule: Rule = { name, kind, reason, wanted: [...names], holds }
    return guardMiddleware(name, (exchange, user) => judge(exchange, user, rule))
  }
  return Object.assign((...names: string[]) => guard(name, holdsAny, names), {
    all: (...names: string[]) => guard(`${name}.all`, holdsAll, names)
  })
}

interface Rule {
  readonly name: string
  readonly kind: MembershipKind
  readonly reason: string
  readonly wanted: readonly string[]
  readonly holds: Holds
}

function judge(exchange: Exchange, user: Identity, rule: Rule): boolean | Promise<boolean> {
  const held = membershipsOf(user, rule.kind, rule.name)
  if (!(held instanceof Promise)) return answer(exchange, held, rule)
  return held.then(
    list => answer(exchange, list, rule),
    error => {
      if (!(error instanceof MembershipError)) throw error
      return refuse(exchange, rule.name, 'memberships_unavailable', {
        status: 503,
        detail: 'What the caller may do cannot be found out at the moment.',
        headers: { 'Retry-After': '1' }
      })
    }
  )
}

function answer(exchange: Exchange, held: readonly string[], rule: Rule): boolean {
  if (rule.holds(held, rule.wanted)) return true
  return refuseCaller(exchange, rule.name, {
    status: 403,
    reason: rule.reason,
    code: rule.reason,
    detail: `The caller has not the ${rule.kind} that this resource needs.`
  })
}

function membershipQuestion(name: string, kind: MembershipKind): MembershipQuestion {
  const ask = async (label: string, holds: Holds, req: IncomingMessage, names: readonly string[]) => {
    checkNames(label, names)
    const { user } = exchangeOf(req)
    return user !== undefined && holds(await membershipsOf(user, kind, name), names)
  }
  return Object.assign((req: IncomingMessage, ...names: string[]) => ask(name, holdsAny, req, names), {
    all: (req: IncomingMessage, ...names: string[]) => ask(`${name}.all`, holdsAll, req, names)
  })
}

function membershipsOf(user: Identity, kind: MembershipKind, asker: string) {
  if (user instanceof User) return user.memberships(kind)
  throw new TypeError(`${asker}: exchange.user must be a User, as authenticate makes it`)
}
