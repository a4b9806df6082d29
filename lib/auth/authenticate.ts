/** Middleware that lets verified callers in: sets `exchange.user` and `req.user`, or answers as RFC 6750 says. */
import { performance } from 'node:perf_hooks'
import type { Exchange } from '../http/exchange.ts'
import { type GuardedRequest, type Stage, type StageMiddleware, stageMiddleware } from '../http/pipeline.ts'
import { refuse } from '../http/problem.ts'
import {
  checkBoolean,
  checkFunction,
  checkObject,
  checkOption,
  checkTexts,
  shown,
  wrongOption
} from '../options.ts'
import { type MembershipOptions, Memberships } from './caller/memberships.ts'
import { User } from './caller/user.ts'
import { type AuthContext, challengeOf, passAnonymous } from './guards/auth-context.ts'
import { checkEndpoint } from './keys/endpoint.ts'
import { SenderCheck, type SenderCheckOptions } from './sender/sender-check.ts'
import {
  authorizationOf,
  bearerToken,
  dpopToken,
  hasQueryToken,
  judgeSyntax,
  twoMethods
} from './token/bearer-token.ts'
import { isRefusal, type Refusal } from './token/refusal.ts'
import { TokenVerifier, type TokenVerifierOptions, type Verdict } from './token/token-verifier.ts'
import type { VerifiedToken } from './token/verified-token.ts'
import type { CachedToken } from './token/verified-token-cache.ts'

/** What became of a token that a request carried. `reason` is undefined when it was good. */
export type ValidationListener = (reason: string | undefined, durationMs: number, exchange: Exchange) => void

export interface AuthenticateSettings extends SenderCheckOptions {
  /** Lets requests without a token through, to the guards behind; a bad token is refused all the same. Default false. */
  optional?: boolean
  /** Lets CORS pre-flights through, which never carry a token (Fetch, section 4.8). Default true. */
  passPreflight?: boolean
  /** Named in every challenge. */
  realm?: string
  /** URL of the protected resource metadata (RFC 9728), named in every challenge. */
  resourceMetadata?: string
  /** Which tokens are API tokens, for `exchange.authMethod`. Default: those with the claim `token_use: 'api'`. */
  isApiToken?: (token: VerifiedToken) => boolean
  /** Where groups, roles and permissions come from. Default: the claims of these names. */
  memberships?: MembershipOptions
  /** Told of every token: the true reason if it was refused, and ms from the first sight of the request. */
  onValidation?: ValidationListener
}

/** A verifier's options, or a verifier that is shared. */
export type AuthenticateOptions = AuthenticateSettings & (TokenVerifierOptions | { verifier: TokenVerifier })

export interface Authenticate extends StageMiddleware {
  readonly verifier: TokenVerifier
}

/** @throws TypeError when an option is not what it must be */
export function authenticate(options: AuthenticateOptions): Authenticate {
  checkObject('authenticate', 'options', options)
  const senders = new SenderCheck(options)
  const verifier =
    'verifier' in options ? options.verifier : new TokenVerifier(withConfirmations(options, senders))
  checkOption(verifier instanceof TokenVerifier, 'authenticate', 'verifier', 'a TokenVerifier', verifier)
  for (const confirmation of senders.confirmations) {
    if (!verifier.confirmations.includes(confirmation)) {
      throw new TypeError(`authenticate: verifier must be made with confirmations that hold ${confirmation}`)
    }
  }
  return Object.assign(stageMiddleware(new Authentication(verifier, options, senders)), { verifier })
}

function withConfirmations(
  options: TokenVerifierOptions,
  { confirmations }: SenderCheck
): TokenVerifierOptions {
  const { confirmations: own = [] } = options
  checkTexts('authenticate', 'confirmations', own)
  return { ...options, confirmations: [...own, ...confirmations] }
}

/** What a keep-alive connection sent last, so that the same again costs one comparison. */
interface Remembered {
  authorization: string
  entry: CachedToken
}

const stage = 'authenticate'

class Authentication implements Stage {
  readonly name = stage
  readonly #verifier: TokenVerifier
  readonly #context: AuthContext
  readonly #optional: boolean
  readonly #passPreflight: boolean
  readonly #isApiToken: (token: VerifiedToken) => boolean
  readonly #onValidation: ValidationListener | undefined
  readonly #remembers: boolean
  readonly #senders: SenderCheck
  /** Tokens bound to a sender are taken at all. */
  readonly #checksSenders: boolean

  constructor(verifier: TokenVerifier, options: AuthenticateSettings, senders: SenderCheck) {
    const { realm, resourceMetadata, isApiToken = hasApiUse, onValidation } = options
    const { optional = false, passPreflight = true } = options
    checkBoolean('authenticate', 'optional', optional)
    checkBoolean('authenticate', 'passPreflight', passPreflight)
    checkFunction('authenticate', 'isApiToken', isApiToken)
    if (onValidation !== undefined) checkFunction('authenticate', 'onValidation', onValidation)
    if (realm !== undefined) checkRealm(realm)
    if (resourceMetadata !== undefined) checkEndpoint('authenticate: resourceMetadata', resourceMetadata)
    this.#verifier = verifier
    this.#context = {
      challenge: {
        ...(realm !== undefined && { realm }),
        ...(resourceMetadata && { resourceMetadata }),
        ...(senders.dpopAlgorithms && { dpopAlgorithms: senders.dpopAlgorithms })
      },
      memberships: new Memberships(options.memberships)
    }
    this.#optional = optional
    this.#passPreflight = passPreflight
    this.#isApiToken = isApiToken
    this.#onValidation = onValidation
    this.#remembers = !verifier.cache.hashesTokens
    this.#senders = senders
    this.#checksSenders = senders.confirmations.length > 0
  }

  enter(exchange: Exchange): boolean | Promise<boolean> {
    const { req } = exchange
    const authorization = authorizationOf(req.rawHeaders)
    if (authorization === undefined) return this.#withoutToken(exchange)
    if (typeof authorization !== 'string') return this.#refuse(exchange, authorization)
    if (hasQueryToken(req.url as string)) return this.#refuse(exchange, twoMethods)
    // Not when the request began: it may have waited since, and its token have expired.
    const now = this.#verifier.clock.monotonic()
    const verdict = this.#recall(exchange, authorization, now) ?? this.#check(exchange, authorization, now)
    if (verdict === undefined) return this.#withoutToken(exchange)
    return verdict instanceof Promise
      ? verdict.then(settled => this.#decide(exchange, settled, authorization))
      : this.#decide(exchange, verdict, authorization)
  }

  /** The same header again on this connection. */
  #recall({ connection }: Exchange, authorization: string, now: number): Verdict | undefined {
    if (connection.credentialOwner !== this) return undefined
    const remembered = connection.credential as Remembered
    return remembered.authorization === authorization
      ? this.#verifier.recall(remembered.entry, now)
      : undefined
  }

  /** Undefined: the header is of another scheme. */
  #check(exchange: Exchange, authorization: string, now: number): Verdict | Promise<Verdict> | undefined {
    const token = this.#tokenOf(authorization)
    if (typeof token !== 'string') return token
    const entry = this.#verifier.find(token)
    const verdict = entry === undefined ? undefined : this.#verifier.recall(entry, now)
    if (entry !== undefined && verdict !== undefined) {
      if (this.#remembers) this.#remember(exchange, authorization, entry)
      return verdict
    }
    return judgeSyntax(token) ?? this.#verifier.check(token, now)
  }

  #remember({ connection }: Exchange, authorization: string, entry: CachedToken): void {
    if (connection.credentialOwner === this) {
      const remembered = connection.credential as Remembered
      remembered.authorization = authorization
      remembered.entry = entry
    } else {
      connection.credentialOwner = this
      connection.credential = { authorization, entry } satisfies Remembered
    }
  }

  #tokenOf(authorization: string): string | Refusal | undefined {
    const token = bearerToken(authorization)
    if (token !== undefined || this.#senders.dpopAlgorithms === undefined) return token
    return dpopToken(authorization)
  }

  #decide(exchange: Exchange, verdict: Verdict, authorization: string): boolean | Promise<boolean> {
    if (isRefusal(verdict)) return this.#refuse(exchange, verdict, authorization)
    if (!this.#checksSenders) return this.#admit(exchange, verdict)
    const checked = this.#senders.check(
      exchange,
      verdict,
      this.#tokenOf(authorization) as string,
      schemeOf(authorization)
    )
    const settle = (refusal: Refusal | undefined) =>
      refusal === undefined ? this.#admit(exchange, verdict) : this.#refuse(exchange, refusal, authorization)
    return checked instanceof Promise ? checked.then(settle) : settle(checked)
  }

  #admit(exchange: Exchange, verdict: VerifiedToken): boolean {
    const user = new User(verdict, exchange, this.#context)
    exchange.user = user
    ;(exchange.req as GuardedRequest).user = user
    exchange.tokenId = verdict.tokenId
    exchange.authMethod = this.#isApiToken(verdict) ? 'api_token' : 'jwt'
    if (this.#onValidation !== undefined) this.#tell(undefined, exchange)
    return true
  }

  /** No token, or one that is no bearer token: a challenge without an error code (RFC 6750, section 3.1). */
  #withoutToken(exchange: Exchange): boolean {
    if (this.#optional || (this.#passPreflight && isPreflight(exchange))) {
      passAnonymous(exchange, this.#context)
      return true
    }
    return refuse(exchange, stage, 'missing_credentials', {
      status: 401,
      detail: 'This resource needs an access token.',
      extensions: { code: 'authentication_required' },
      headers: { 'WWW-Authenticate': challengeOf(this.#context.challenge, {}) }
    })
  }

  #refuse(exchange: Exchange, refusal: Refusal, authorization = ''): false {
    if (this.#onValidation !== undefined) this.#tell(refusal.reason, exchange)
    const { error, reason, description, retryAfterSeconds } = refusal
    if (error === 'unavailable') {
      return refuse(exchange, stage, reason, {
        status: 503,
        detail: `${description}.`,
        extensions: { code: 'temporarily_unavailable' },
        headers: { 'Retry-After': String(retryAfterSeconds) }
      })
    }
    const challenge = challengeOf(
      this.#context.challenge,
      { error, error_description: description },
      this.#checksSenders ? schemeOf(authorization) : 'Bearer'
    )
    const nonce = error === 'use_dpop_nonce' ? this.#senders.dpopNonce : undefined
    return refuse(exchange, stage, reason, {
      status: error === 'invalid_request' ? 400 : 401,
      detail: `${description}.`,
      extensions: { code: error },
      headers: { 'WWW-Authenticate': challenge, ...(nonce !== undefined && { 'DPoP-Nonce': nonce }) }
    })
  }

  #tell(reason: string | undefined, exchange: Exchange): void {
    try {
      const returned: unknown = this.#onValidation?.(reason, performance.now() - exchange.startedAt, exchange)
      if (returned !== undefined && returned instanceof Promise) {
        returned.catch(error => listenerFailed(exchange, error))
      }
    } catch (error) {
      listenerFailed(exchange, error)
    }
  }
}

function listenerFailed({ reporter }: Exchange, error: unknown): void {
  reporter.report('validation_listener', error)
}

function schemeOf(authorization: string): 'Bearer' | 'DPoP' {
  return /^dpop /i.test(authorization) ? 'DPoP' : 'Bearer'
}

function hasApiUse({ claims }: VerifiedToken): boolean {
  return claims['token_use'] === 'api'
}

function isPreflight({ req }: Exchange): boolean {
  return (
    req.method === 'OPTIONS' &&
    req.headers.origin !== undefined &&
    req.headers['access-control-request-method'] !== undefined
  )
}

/** RFC 9110, section 5.6.4: what a quoted string may hold. */
function checkRealm(realm: unknown): void {
  if (typeof realm !== 'string' || !/^[ -~]*$/.test(realm)) {
    throw wrongOption('authenticate', 'realm', 'printable ASCII', shown(realm))
  }
}
