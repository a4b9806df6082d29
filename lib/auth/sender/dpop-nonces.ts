/** Nonces that proofs must carry: made from a secret and the time, so that nothing is kept and processes can share them. */
import { createHmac } from 'node:crypto'

/** ms that each nonce is the current one; the one before it still counts. */
const slotMs = 120_000

export class DpopNonces {
  readonly #secret: Uint8Array
  readonly #clock: () => number
  #slot = Number.NaN
  #current = ''
  #previous = ''

  constructor(secret: Uint8Array, clock: () => number) {
    this.#secret = Uint8Array.from(secret)
    this.#clock = clock
  }

  get current(): string {
    this.#turn()
    return this.#current
  }

  /** `old` still counts, and the client should be given the current one (RFC 9449, section 8.2). */
  judge(nonce: unknown): 'current' | 'old' | 'wrong' {
    this.#turn()
    if (nonce === this.#current) return 'current'
    return nonce === this.#previous ? 'old' : 'wrong'
  }

  #turn(): void {
    const slot = Math.floor(this.#clock() / slotMs)
    if (slot === this.#slot) return
    this.#slot = slot
    this.#current = this.#of(slot)
    this.#previous = this.#of(slot - 1)
  }

  #of(slot: number): string {
    return createHmac('sha256', this.#secret).update(`dpop-nonce:${slot}`).digest('base64url').slice(0, 22)
  }
}
