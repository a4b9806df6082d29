/** Guards and questions about the scopes of a token. */
import type { IncomingMessage } from 'node:http'
import { type Exchange, exchangeOf, type Identity } from '../../http/exchange.ts'
import type { StageMiddleware } from '../../http/pipeline.ts'
import { checkNames, guardMiddleware, refuseCaller } from './guard.ts'

/** scope-token of RFC 6749, section 3.3. */
const scopeToken = /^[\x21\x23-\x5B\x5D-\x7E]+$/

/**
 * Lets tokens pass that have every one of these scopes, compared as a whole; others get 403 `insufficient_scope` and are told which
 * scopes it takes (RFC 6750, section 3.1).
 * @throws TypeError when no scope is named, or one is none
 */
export function requireScopes(...scopes: string[]): StageMiddleware {
  checkNames('requireScopes', scopes, scopeToken)
  return scopeGuard('requireScopes', scopes, holdsAll)
}

/** Lets tokens pass that have one of these scopes or more. */
requireScopes.any = (...scopes: string[]): StageMiddleware => {
  checkNames('requireScopes.any', scopes, scopeToken)
  return scopeGuard('requireScopes', scopes, holdsAny)
}

/** Whether the caller's token has every one of these scopes; false for anonymous callers. */
export async function hasScopes(req: IncomingMessage, ...scopes: string[]): Promise<boolean> {
  checkNames('hasScopes', scopes, scopeToken)
  return holdsAll(exchangeOf(req).user?.scopes ?? [], scopes)
}

/** Whether the caller's token has one of these scopes or more. */
hasScopes.any = async (req: IncomingMessage, ...scopes: string[]): Promise<boolean> => {
  checkNames('hasScopes.any', scopes, scopeToken)
  return holdsAny(exchangeOf(req).user?.scopes ?? [], scopes)
}

type Holds = (held: readonly string[], wanted: readonly string[]) => boolean

function scopeGuard(name: string, scopes: readonly string[], holds: Holds): StageMiddleware {
  const wanted = [...scopes]
  const refused = {
    status: 403,
    reason: 'insufficient_scope',
    code: 'insufficient_scope',
    detail: 'The access token has not the scope that this resource needs.',
    challenge: {
      error: 'insufficient_scope',
      error_description: 'The access token has not the scope that this resource needs',
      scope: wanted.join(' ')
    }
  } as const
  return guardMiddleware(name, (exchange: Exchange, user: Identity, guard: string) =>
    holds(user.scopes, wanted) ? true : refuseCaller(exchange, guard, refused)
  )
}

/** @internal */
export function holdsAll(held: readonly string[], wanted: readonly string[]): boolean {
  for (let i = 0; i < wanted.length; i++) {
    if (!held.includes(wanted[i])) return false
  }
  return true
}

/** @internal */
export function holdsAny(held: readonly string[], wanted: readonly string[]): boolean {
  for (let i = 0; i < wanted.length; i++) {
    if (held.includes(wanted[i])) return true
  }
  return false
}
