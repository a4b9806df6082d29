/** What stands for a key in shared memory, and a bounded memory of it, so that a hot key is hashed once. */
import { hash } from 'node:crypto'
import type { KeyDigest } from './shared-slots.ts'

/** Digests that a thread remembers at most. */
const mostDigests = 131_072
/** Longer keys are hashed each time: the remembered ones take a bounded number of bytes. */
const longestRemembered = 256

/** Two generations: when the recent one is full it becomes the earlier one, and what nobody asked for since is forgotten. */
export class KeyDigests {
  readonly #secret: string
  readonly #generation: number
  #recent = new Map<string, KeyDigest>()
  #earlier = new Map<string, KeyDigest>()

  constructor(secret: string, maxKeys: number) {
    this.#secret = secret
    this.#generation = Math.ceil(Math.min(maxKeys, mostDigests) / 2)
  }

  /** How many digests are remembered. */
  get size(): number {
    return this.#recent.size + this.#earlier.size
  }

  of(identifier: string): KeyDigest {
    const recent = this.#recent.get(identifier)
    if (recent !== undefined) return recent
    const digest = this.#earlier.get(identifier) ?? digestOf(this.#secret, identifier)
    if (identifier.length <= longestRemembered) this.#remember(identifier, digest)
    return digest
  }

  #remember(identifier: string, digest: KeyDigest): void {
    if (this.#recent.size >= this.#generation) {
      this.#earlier = this.#recent
      this.#recent = new Map()
    }
    this.#recent.set(identifier, digest)
  }
}

function digestOf(secret: string, identifier: string): KeyDigest {
  const bytes = hash('sha256', Buffer.from(secret + identifier, 'utf16le'), 'buffer')
  return {
    a: bytes.readInt32LE(0),
    b: bytes.readInt32LE(4),
    c: bytes.readInt32LE(8),
    d: bytes.readInt32LE(12)
  }
}
