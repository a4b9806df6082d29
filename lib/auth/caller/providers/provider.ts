/** What the rules of one identity provider look like. */
import type { TokenShape, Verdict } from './token-shape.ts'

export interface Provider {
  readonly name: string
  /** Whether a token looks like this provider's, by its issuer or by claims that nobody else writes. */
  issued(token: TokenShape): boolean
  /** The provider's own rule; undefined where the markers that hold for every issuer decide. */
  judge(token: TokenShape): Verdict | undefined
  /** The client id, where the provider keeps it in a place of its own; null: its tokens name no client. */
  clientId?(token: TokenShape): string | null | undefined
}
