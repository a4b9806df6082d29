/** Finds the keys that may have signed a token, before anything is computed. */
import type { VerificationKey } from '../keys/key-set.ts'
import type { KeySource } from '../keys/key-source.ts'
import { keysUnavailable, Refusal, refusals } from './refusal.ts'
import type { TokenHeader } from './verified-token.ts'

/** At least one key, or why there is none. */
export type SigningKeys = readonly VerificationKey[] | Refusal

/** Keys at hand, or a promise of them, which does not reject, while a refresh is worth waiting for. */
export function signingKeys(header: TokenHeader, source: KeySource): SigningKeys | Promise<SigningKeys> {
  const found = keysAtHand(header, source)
  if (!(found instanceof Refusal) || found === refusals.keyMismatch) return found
  const seeking = source.seek(header.kid)
  return seeking === undefined ? found : seeking.then(() => keysAtHand(header, source))
}

function keysAtHand({ kid, alg }: TokenHeader, source: KeySource): SigningKeys {
  const found = source.candidates(kid, alg as string)
  if (found.length > 0) return found
  if (kid !== undefined && source.has(kid)) return refusals.keyMismatch
  const { retryAfterSeconds } = source
  return retryAfterSeconds > 0 ? keysUnavailable(retryAfterSeconds) : refusals.unknownKey
}
