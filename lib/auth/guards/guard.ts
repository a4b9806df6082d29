/** What all guards share: they stand behind `authenticate`, and a refusal challenges as it would. */
import type { Exchange, Identity } from '../../http/exchange.ts'
import { type Stage, type StageMiddleware, stageMiddleware } from '../../http/pipeline.ts'
import { refuse } from '../../http/problem.ts'
import { authContextOf, challengeOf } from './auth-context.ts'

/** Looks at a caller; refuses it, or lets it pass with true. */
export type Check = (exchange: Exchange, user: Identity, guard: string) => boolean | Promise<boolean>

export interface Refused {
  status: 401 | 403
  /** For audit and metrics. */
  reason: string
  /** The body's `code`, for programs. */
  code: string
  detail: string
  /** Parameters of the challenge; without `error` no other token or scope would help. */
  challenge?: Readonly<Record<string, string>>
}

/** A guard as middleware; anonymous requests get 401 and a challenge without an error code (RFC 6750, section 3.1). */
export function guardMiddleware(name: string, check: Check): StageMiddleware {
  return stageMiddleware(new Guard(name, check))
}

class Guard implements Stage {
  readonly name: string
  readonly #check: Check

  constructor(name: string, check: Check) {
    this.name = name
    this.#check = check
  }

  enter(exchange: Exchange): boolean | Promise<boolean> {
    const { user } = exchange
    return user === undefined
      ? refuseCaller(exchange, this.name, anonymous)
      : this.#check(exchange, user, this.name)
  }
}

const anonymous: Refused = {
  status: 401,
  reason: 'missing_credentials',
  code: 'authentication_required',
  detail: 'This resource needs an access token.'
}

export function refuseCaller(exchange: Exchange, guard: string, refused: Refused): false {
  const { challenge } = authContextOf(exchange)
  const bound =
    challenge.dpopAlgorithms !== undefined && /^dpop /i.test(exchange.req.headers.authorization ?? '')
  return refuse(exchange, guard, refused.reason, {
    status: refused.status,
    detail: refused.detail,
    extensions: { code: refused.code },
    headers: {
      'WWW-Authenticate': challengeOf(challenge, refused.challenge ?? {}, bound ? 'DPoP' : 'Bearer')
    }
  })
}

/** Guards name what they want; nothing wanted would let everybody or nobody pass. */
export function checkNames(guard: string, names: readonly unknown[], pattern = /\S/): void {
  const wrong =
    names.length === 0 ? [] : names.filter(name => typeof name !== 'string' || !pattern.test(name))
  if (names.length === 0 || wrong.length > 0) {
    throw new TypeError(`${guard}: needs one or more names, got ${JSON.stringify(wrong[0] ?? names)}`)
  }
}
