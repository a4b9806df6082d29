/** What can be revoked: a token, or all that a subject, a client or an issuer got before an instant. */
import { checkOption, isText, wrongOption } from '../../options.ts'

/** One token, by `jti`, or by `signingInputDigest` where it has none. */
export interface RevokedToken {
  issuer: string
  tokenId?: string
  digest?: string
  /**
   * The token's `exp`, seconds since the epoch: the entry is kept so long. Infinite for one that never expires, such as an
   * API key. Default: as long as `retentionSeconds` says, for JWTs whose `exp` is not at hand.
   */
  expiresAt?: number
}

/** Every token of an issuer, or of one subject or client of it, that was issued before an instant. */
export interface RevokedEpoch {
  issuer: string
  subject?: string
  clientId?: string
  /** Neither subject nor client: all tokens of the issuer. */
  everything?: true
  /** Tokens with an older `iat` are revoked, and those without any. Default: now. */
  notBefore?: Date
}

/** What a list keeps of one revocation. */
export interface RevocationEntry {
  readonly issuer: string
  readonly kind: 'tokens' | 'digests' | 'subjects' | 'clients' | 'all'
  readonly name: string
  /** ms since the epoch; tokens issued before are revoked. */
  readonly notBefore: number
  /** ms since the epoch. */
  readonly until: number
}

/**
 * @param now ms since the epoch
 * @throws TypeError when it is not said what to revoke
 */
export function revocationEntry(
  revoked: RevokedToken | RevokedEpoch,
  now: number,
  retentionMs: number
): RevocationEntry {
  const { issuer } = revoked
  checkOption(isText(issuer), 'revoke', 'issuer', 'a non-empty string', issuer)
  return isToken(revoked) ? tokenEntry(revoked, now, retentionMs) : epochEntry(revoked, now, retentionMs)
}

function isToken(revoked: RevokedToken | RevokedEpoch): revoked is RevokedToken {
  return 'tokenId' in revoked || 'digest' in revoked
}

function tokenEntry(
  { issuer, tokenId, digest, expiresAt }: RevokedToken,
  now: number,
  retentionMs: number
): RevocationEntry {
  if (isText(tokenId) === isText(digest)) {
    throw new TypeError('revoke: a token is named by tokenId or by digest, one of them')
  }
  if (expiresAt !== undefined && !(expiresAt > Number.NEGATIVE_INFINITY)) {
    throw wrongOption('revoke', 'expiresAt', 'seconds since the epoch', expiresAt)
  }
  // A minute on top: clocks differ, and verifiers tolerate that.
  const until = expiresAt === undefined ? now + retentionMs : Math.min(expiresAt * 1000 + 60_000, forever)
  const kind = tokenId === undefined ? 'digests' : 'tokens'
  return { issuer, kind, name: (tokenId ?? digest) as string, notBefore: Number.POSITIVE_INFINITY, until }
}

function epochEntry(revoked: RevokedEpoch, now: number, retentionMs: number): RevocationEntry {
  const { issuer, subject, clientId, everything, notBefore } = revoked
  // A forgotten value must not turn into "everybody".
  if (Number(isText(subject)) + Number(isText(clientId)) + Number(everything === true) !== 1) {
    throw new TypeError('revoke: needs one of tokenId, digest, subject, clientId, everything')
  }
  const before = notBefore === undefined ? now : notBefore.getTime()
  if (!Number.isFinite(before)) throw new TypeError('revoke: notBefore must be a valid date')
  const kind = isText(subject) ? 'subjects' : isText(clientId) ? 'clients' : 'all'
  const until = Math.max(before, now) + retentionMs
  return { issuer, kind, name: subject ?? clientId ?? '', notBefore: before, until }
}

/** ms since the epoch; a number that JSON, Lua and Redis can all hold. */
const forever = Number.MAX_SAFE_INTEGER
