/** What the keys of a shared limiter have taken, as plain JSON. */
import { checkExported, isStamps, type LimiterState, type StampsState } from '../limiter-state.ts'
import type { KeyDigest } from './shared-slots.ts'

/** What `export` gives and `import` takes; plain JSON. Keys are their digests. */
export interface SharedRateLimiterState extends LimiterState {
  /** 16 bytes, base64url. */
  readonly secret: string
  /** What keys took together for which there was no room. */
  readonly overflow?: StampsState
}

export function textOf({ a, b, c, d }: KeyDigest): string {
  return [a, b, c, d].map(word => (word >>> 0).toString(16).padStart(8, '0')).join('')
}

export function digestOfText(text: string): KeyDigest {
  const [a, b, c, d] = [0, 8, 16, 24].map(at => Number.parseInt(text.slice(at, at + 8), 16) | 0)
  return { a, b, c, d }
}

/** @throws TypeError when the state is none */
export function checkSharedState({ secret, keys, windowMs, overflow = [] }: SharedRateLimiterState): void {
  const isSecret = typeof secret === 'string' && /^[\w-]{22}$/.test(secret)
  const areDigests = keys.every(([key]) => /^[0-9a-f]{32}$/.test(key))
  checkExported('SharedRateLimiter', isSecret && areDigests && isStamps(overflow, windowMs))
}
