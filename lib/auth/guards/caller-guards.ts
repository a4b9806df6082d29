/** Guards for who calls: anybody known, people, machines. */
import type { Exchange, Identity } from '../../http/exchange.ts'
import type { StageMiddleware } from '../../http/pipeline.ts'
import { checkBoolean } from '../../options.ts'
import { User } from '../caller/user.ts'
import { guardMiddleware, refuseCaller } from './guard.ts'

export interface RequireHumanOptions {
  /** Lets a program act for a person (a token with `act`). Default true. */
  allowDelegated?: boolean
}

/** Lets callers with a verified token pass: 401 to others, 403 to a token that names nobody. */
export function requireUser(): StageMiddleware {
  return guardMiddleware('requireUser', named)
}

/**
 * Lets people pass. Machines, and callers of whom the claims do not tell, get 403 with the code `human_required`: no other scope
 * would help them.
 */
export function requireHuman(options: RequireHumanOptions = {}): StageMiddleware {
  const { allowDelegated = true } = options
  checkBoolean('requireHuman', 'allowDelegated', allowDelegated)
  return guardMiddleware('requireHuman', (exchange, user, guard) => {
    if (user.kind !== 'human') return refuseKind(exchange, user, guard, 'human')
    if (!allowDelegated && user instanceof User && user.actor !== null) {
      return refuseCaller(exchange, guard, {
        status: 403,
        reason: 'delegated',
        code: 'human_required',
        detail: 'This resource is for people, and not for programs that act for them.'
      })
    }
    return named(exchange, user, guard)
  })
}

/** Lets machines pass. People, and callers of whom the claims do not tell, get 403 with the code `machine_required`. */
export function requireM2M(): StageMiddleware {
  return guardMiddleware('requireM2M', (exchange, user, guard) =>
    user.kind === 'machine' ? true : refuseKind(exchange, user, guard, 'machine')
  )
}

function named(exchange: Exchange, user: Identity, guard: string): boolean {
  if (user.id !== '') return true
  return refuseCaller(exchange, guard, {
    status: 403,
    reason: 'missing_subject',
    code: 'subject_required',
    detail: 'The access token names no subject.'
  })
}

function refuseKind(exchange: Exchange, user: Identity, guard: string, wanted: 'human' | 'machine'): false {
  return refuseCaller(exchange, guard, {
    status: 403,
    reason: user.kind === 'unknown' ? 'unknown_caller' : `not_${wanted}`,
    code: `${wanted}_required`,
    detail: wanted === 'human' ? 'This resource is for people.' : 'This resource is for machines.'
  })
}
