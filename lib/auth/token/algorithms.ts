/** The algorithms of JWS that a token or a proof may be signed with: those of key pairs. */
import { shown, wrongOption } from '../../options.ts'

export const asymmetric: readonly string[] = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519'
]

/** @throws TypeError unless it is a list of some of them */
export function checkAlgorithms(owner: string, algorithms: readonly string[]): void {
  const wrong = Array.isArray(algorithms) ? algorithms.find(alg => !asymmetric.includes(alg)) : algorithms
  if (wrong !== undefined || algorithms.length === 0) {
    throw wrongOption(owner, 'algorithms', `a list out of ${asymmetric.join(', ')}`, shown(wrong ?? []))
  }
}
