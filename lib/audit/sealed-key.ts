/** The key of one epoch. It can make the key of the next epoch, and nothing can make it from that. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto'
import { NoteKey } from './sealed-note.ts'

/** What comes before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410). */
const pkcs8Start = Buffer.from('302e020100300506032b657004220420', 'hex')
const nextSeedPrefix = 'ostiary sealed log: seed of the next epoch\n'

export class SealingKey {
  readonly epoch: number
  readonly seed: Buffer
  /** The public half. */
  readonly verifier: NoteKey
  readonly #secret: KeyObject

  constructor(name: string, epoch: number, seed: Buffer) {
    const der = Buffer.concat([pkcs8Start, seed])
    this.epoch = epoch
    this.seed = seed
    this.#secret = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    der.fill(0)
    const { x } = createPublicKey(this.#secret).export({ format: 'jwk' })
    this.verifier = new NoteKey(name, Buffer.from(x!, 'base64url').toString('base64'))
  }

  next(): SealingKey {
    const seed = createHash('sha256').update(nextSeedPrefix).update(this.seed).digest()
    return new SealingKey(this.verifier.name, this.epoch + 1, seed)
  }

  /** The key of this or a later epoch; those before it are erased. */
  at(epoch: number): SealingKey {
    let key: SealingKey = this
    while (key.epoch < epoch) {
      const next = key.next()
      key.erase()
      key = next
    }
    return key
  }

  /** @returns base64 */
  sign(text: string): string {
    return sign(null, Buffer.from(text), this.#secret).toString('base64')
  }

  /** Overwrites the secret where this program can; the runtime's own copy goes when it is collected. */
  erase(): void {
    this.seed.fill(0)
  }
}
