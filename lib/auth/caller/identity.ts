/** Who a verified token speaks for, as every stage sees it. Worked out once a token. */
import type { Identity } from '../../http/exchange.ts'
import { checkTexts, isText, shown, wrongOption } from '../../options.ts'
import type { Claims, TokenHeader } from '../token/verified-token.ts'
import {
  type CallerExplanation,
  type CallerKind,
  emailOf,
  explainAs,
  providerNames
} from './m2m-token-detector.ts'
import { isRecord, scopesOf, TokenShape } from './providers/token-shape.ts'

/** Decides for one issuer; undefined leaves the decision to the detector. Must not wait for anything. */
export type CallerRule = (claims: Claims, header: TokenHeader) => CallerKind | undefined

export interface IdentityOptions {
  /** Whose rules tell machine from human: a provider's name where the issuer's address does not show it, or your own rule. */
  m2m?: string | CallerRule
  /** Subjects that are machines, whatever their tokens look like. */
  machineSubjects?: readonly string[]
  /** Clients whose tokens are machines', whatever they look like. */
  machineClients?: readonly string[]
  /** Puts the issuer into `key`: with several issuers two people may have the same `sub`. Default false. */
  issuerInKey?: boolean
}

export interface CallerIdentity extends Identity {
  /** The identity provider whose rules were used; null: those that hold for every issuer. */
  readonly provider: string | null
  /** The claim that showed machine or human, for the audit log. */
  readonly evidence: string
}

/**
 * The identity in a verified token's claims, frozen. `id` is the subject; for a machine without one the client id; empty when the
 * token names nobody, which `requireUser` refuses.
 * @throws TypeError when the issuer's own rule answers something else than a kind
 */
export function identityOf(
  claims: Claims,
  header: TokenHeader = {},
  options: IdentityOptions = {}
): CallerIdentity {
  const token = new TokenShape(claims, header)
  const { kind, clientId, provider, reason } = callerOf(token, claims, header, options)
  const isM2M = kind === 'machine'
  const id = token.sub ?? (isM2M ? (clientId ?? '') : '')
  return Object.freeze({
    id,
    key: keyOf(token, isM2M ? (clientId ?? id) : id, isM2M, options.issuerInKey === true),
    name: nameOf(token),
    email: emailOf(token),
    kind,
    isM2M,
    clientId,
    scopes: Object.freeze(scopesOf(claims)),
    provider,
    evidence: reason
  })
}

/**
 * Who acts for the subject (RFC 8693, section 4.1): the outermost `act`, by its subject or its client. Null: the subject
 * itself.
 */
export function actorOf(claims: Claims): string | null {
  const { act } = claims
  if (!isRecord(act)) return null
  const actor = act['sub'] ?? act['client_id']
  return isText(actor) ? actor : null
}

/**
 * Checks the options of `identityOf` at construction.
 * @param where the option's owner, for the message
 * @throws TypeError that names the option and the value
 */
export function checkIdentityOptions(options: IdentityOptions, where: string): void {
  const { m2m } = options
  if (m2m !== undefined && typeof m2m !== 'function' && !providerNames.includes(m2m)) {
    throw wrongOption(where, 'm2m', `a function or one of ${providerNames.join(', ')}`, shown(m2m))
  }
  for (const option of ['machineSubjects', 'machineClients'] as const) {
    const list = options[option]
    if (list !== undefined) checkTexts(where, option, list)
  }
}

function callerOf(
  token: TokenShape,
  claims: Claims,
  header: TokenHeader,
  options: IdentityOptions
): CallerExplanation {
  const { m2m, machineSubjects, machineClients } = options
  const detected = explainAs(token, typeof m2m === 'string' ? m2m : undefined)
  if (typeof claims.sub === 'string' && machineSubjects?.includes(claims.sub)) {
    return { ...detected, kind: 'machine', reason: 'a listed machine subject' }
  }
  if (detected.clientId !== null && machineClients?.includes(detected.clientId)) {
    return { ...detected, kind: 'machine', reason: 'a listed machine client' }
  }
  if (typeof m2m !== 'function') return detected
  const kind: unknown = m2m(claims, header)
  if (kind === undefined) return detected
  if (kind !== 'machine' && kind !== 'human' && kind !== 'unknown') {
    throw new TypeError(
      `m2m: a rule must answer 'machine', 'human', 'unknown' or undefined, got ${String(kind)}`
    )
  }
  return { ...detected, kind, reason: 'the issuer’s own rule' }
}

function keyOf(token: TokenShape, principal: string, isM2M: boolean, issuerInKey: boolean): string {
  const issuer = issuerInKey ? `${token.iss}|` : ''
  if (principal !== '') return `${isM2M ? 'client' : 'user'}:${issuer}${principal}`
  // Nobody is named: the token itself is all that tells such callers apart.
  return `token:${issuer}${token.jti}`
}

function nameOf(token: TokenShape): string | null {
  const given = [token.text('given_name'), token.text('family_name')].filter(part => part !== undefined)
  return (
    token.text('name') ??
    (given.length > 0 ? given.join(' ') : undefined) ??
    token.text('preferred_username') ??
    token.text('cognito:username') ??
    token.text('username') ??
    null
  )
}
