/** Opaque access tokens: the authorization server is asked what they are (RFC 7662). */
import { defaultReporter, type Reporter } from '../../http/reporter.ts'
import {
  checkInteger,
  checkMs,
  checkOption,
  checkSeconds,
  checkText,
  isText,
  isTexts,
  shown,
  wrongOption
} from '../../options.ts'
import { within } from '../../within.ts'
import { checkIdentityOptions, type IdentityOptions } from '../caller/identity.ts'
import { isRecord } from '../caller/providers/token-shape.ts'
import { boundedText, checkEndpoint, type Fetch } from '../keys/endpoint.ts'
import { freezeClaims } from '../token/frozen-claims.ts'
import { ProvenToken } from '../token/proven-token.ts'
import { invalid, type Refusal, refusals, unavailable } from '../token/refusal.ts'
import type { Claims, VerifiedToken } from '../token/verified-token.ts'
import { looksLikeJwt, type OpaqueTokens } from './opaque-tokens.ts'

export interface IntrospectionOptions extends IdentityOptions {
  endpoint: string
  /** Whose tokens they are; compared with `iss` where the answer has one. */
  issuer: string
  /**
   * One of these must be in `aud`. False: the server tells active tokens of other resources from ours by the client that asks
   * (RFC 7662, section 4), and `aud` is not looked at.
   */
  audience: string | readonly string[] | false
  /** This resource server at the authorization server, sent with HTTP Basic. */
  clientId?: string
  clientSecret?: string
  /** The `Authorization` field of questions instead, such as a bearer token; asked for each time. */
  authorization?: () => string | Promise<string>
  /** Which tokens to ask about. Default: those that are no JWTs. */
  takes?: (token: string) => boolean
  /** ms for the whole answer. Default 5000. */
  timeoutMs?: number
  /** Questions underway at a time; tokens beyond get 503, so that junk cannot drown the server. Default 64. */
  maxConcurrent?: number
  /** Seconds that clocks may differ. Default 5. */
  clockToleranceSeconds?: number
  fetch?: Fetch
  reporter?: Reporter
  /** Wall clock, ms. */
  clock?: () => number
}

/** @throws TypeError when an option is not what it must be */
export class Introspection implements OpaqueTokens {
  readonly #options: IntrospectionOptions
  readonly #audiences: readonly string[] | undefined
  readonly #confirmations: readonly string[]
  readonly #takes: (token: string) => boolean
  readonly #maxConcurrent: number
  readonly #timeoutMs: number
  readonly #toleranceMs: number
  readonly #clock: () => number
  #underway = 0

  /** @param confirmations `cnf` members that are checked after verification */
  constructor(options: IntrospectionOptions, confirmations: readonly string[] = []) {
    checkOptions(options)
    const { audience, takes = text => !looksLikeJwt(text), timeoutMs = 5_000, maxConcurrent = 64 } = options
    this.#options = options
    this.#audiences =
      audience === false ? undefined : typeof audience === 'string' ? [audience] : [...audience]
    this.#confirmations = confirmations
    this.#takes = takes
    this.#timeoutMs = timeoutMs
    this.#maxConcurrent = maxConcurrent
    this.#toleranceMs = (options.clockToleranceSeconds ?? 5) * 1000
    this.#clock = options.clock ?? Date.now
  }

  takes(text: string): boolean {
    return this.#takes(text)
  }

  async resolve(text: string): Promise<VerifiedToken | Refusal> {
    if (this.#underway >= this.#maxConcurrent) return overloaded
    this.#underway++
    try {
      // Neither a `fetch` nor an `authorization` of somebody else's need heed the signal.
      return this.#judge(text, await within(this.#timeoutMs, this.#ask(text)))
    } catch (error) {
      const { reporter = defaultReporter } = this.#options
      reporter.report('introspection', error)
      return down
    } finally {
      this.#underway--
    }
  }

  async #ask(token: string): Promise<unknown> {
    const { endpoint, fetch = globalThis.fetch } = this.#options
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: {
        accept: 'application/json',
        authorization: await this.#authorization(),
        'content-type': 'application/x-www-form-urlencoded'
      },
      body: new URLSearchParams({ token, token_type_hint: 'access_token' }).toString(),
      redirect: 'manual',
      signal: AbortSignal.timeout(this.#timeoutMs)
    })
    if (response.status !== 200) {
      await response.body?.cancel()
      throw new Error(`POST ${endpoint}: status ${response.status}`)
    }
    return JSON.parse(await boundedText(response))
  }

  #authorization(): string | Promise<string> {
    const { authorization, clientId = '', clientSecret = '' } = this.#options
    if (authorization !== undefined) return authorization()
    // RFC 6749, section 2.3.1: each part is form-encoded first.
    const [id, secret] = [clientId, clientSecret].map(part =>
      new URLSearchParams([['', part]]).toString().slice(1)
    )
    return `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`
  }

  /** Section 2.2: of an answer that is not `active: true` nothing else counts. */
  #judge(text: string, answer: unknown): VerifiedToken | Refusal {
    if (!isRecord(answer) || typeof answer['active'] !== 'boolean')
      throw new Error('the answer is no introspection response')
    if (!answer['active']) return inactive
    const refusal = this.#judgeTimes(answer) ?? this.#judgeParties(answer)
    if (refusal !== undefined) return refusal
    const claims: Claims = { ...answer, iss: this.#options.issuer }
    if (!freezeClaims(claims)) return refusals.tooDeep
    return new ProvenToken(text, noHeader, claims, this.#options.issuer, this.#options)
  }

  #judgeTimes({ exp, nbf }: Claims): Refusal | undefined {
    const now = this.#clock()
    if (exp !== undefined && !(typeof exp === 'number' && Number.isFinite(exp))) return refusals.expiry
    if (exp !== undefined && exp * 1000 + this.#toleranceMs <= now) return refusals.expired
    if (nbf !== undefined && typeof nbf !== 'number') return refusals.notBefore
    return nbf !== undefined && nbf * 1000 > now + this.#toleranceMs ? refusals.notYetValid : undefined
  }

  #judgeParties({ iss, aud, sub, jti, cnf, token_use: use }: Claims): Refusal | undefined {
    if (iss !== undefined && iss !== this.#options.issuer) return refusals.issuer
    if (this.#audiences !== undefined) {
      const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
      if (!this.#audiences.some(audience => named.includes(audience))) return refusals.audience
    }
    for (const text of [sub, jti])
      if (text !== undefined && typeof text !== 'string') return refusals.malformedClaims
    // Hydra answers for refresh tokens too.
    if (use === 'refresh_token' || use === 'refresh') return refusals.type
    if (cnf === undefined) return undefined
    const methods = isRecord(cnf) ? Object.keys(cnf) : []
    const checked = methods.length > 0 && methods.every(method => this.#confirmations.includes(method))
    return checked ? undefined : refusals.confirmation
  }
}

const owner = 'introspection'
const noHeader = Object.freeze({})
const inactive = invalid('inactive_token')
const down = unavailable('introspection_unavailable')
const overloaded = unavailable('introspection_overloaded')

function checkOptions(options: IntrospectionOptions): void {
  const { endpoint, issuer, audience, clientId, clientSecret, authorization, takes, fetch } = options
  checkEndpoint('introspection: endpoint', endpoint)
  checkText(owner, 'issuer', issuer)
  const audiences: unknown = typeof audience === 'string' ? [audience] : audience
  const isAudience = audiences === false || isTexts(audiences)
  checkOption(isAudience, owner, 'audience', 'a string, a list of strings, or false', shown(audience))
  if (authorization === undefined && !(isText(clientId) && isText(clientSecret))) {
    throw new TypeError('introspection: needs clientId and clientSecret, or authorization')
  }
  for (const [name, value] of Object.entries({ authorization, takes, fetch })) {
    if (value !== undefined && typeof value !== 'function') {
      throw wrongOption(owner, name, 'a function', shown(value))
    }
  }
  if (options.timeoutMs !== undefined) checkMs(owner, 'timeoutMs', options.timeoutMs)
  if (options.maxConcurrent !== undefined) checkInteger(owner, 'maxConcurrent', options.maxConcurrent, 1)
  checkSeconds(owner, 'clockToleranceSeconds', options.clockToleranceSeconds ?? 0)
  checkIdentityOptions(options, owner)
}
