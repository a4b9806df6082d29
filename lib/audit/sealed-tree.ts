/** The Merkle tree of RFC 6962 over sealed batches: as much of it as appending needs. */
import { createHash, type Hash } from 'node:crypto'

const leafPrefix = Uint8Array.of(0)
const nodePrefix = Uint8Array.of(1)

/**
 * A tree that never changes; appending makes another. It keeps the roots of its perfect subtrees, the largest first:
 *
 *     size 6 = 4 + 2         size 7 = 4 + 2 + 1
 *         [a]                    [a]
 *        /   \   [b]            /   \   [b]
 *       /\   /\  /\            /\   /\  /\  [c]
 */
export class BatchTree {
  static readonly empty: BatchTree = new BatchTree(0, [])
  readonly size: number
  readonly hashes: readonly Buffer[]

  private constructor(size: number, hashes: readonly Buffer[]) {
    this.size = size
    this.hashes = hashes
  }

  /** @returns undefined when `hashes` are not as many as a tree of this size has */
  static of(size: number, hashes: readonly Buffer[]): BatchTree | undefined {
    const fits = hashes.length === onesOf(size) && hashes.every(hash => hash.length === 32)
    return fits ? new BatchTree(size, hashes) : undefined
  }

  append(leafHash: Buffer): BatchTree {
    const hashes = [...this.hashes]
    let hash = leafHash
    for (let n = this.size; n % 2 === 1; n = (n - 1) / 2) hash = nodeHash(hashes.pop()!, hash)
    hashes.push(hash)
    return new BatchTree(this.size + 1, hashes)
  }

  /** RFC 6962, section 2.1: the Merkle tree hash. */
  root(): Buffer {
    if (this.size === 0) return createHash('sha256').digest()
    return this.hashes.reduceRight((right, left) => nodeHash(left, right))
  }
}

/** A hash that becomes a leaf's when the leaf's bytes were put in. */
export function leafHasher(): Hash {
  return createHash('sha256').update(leafPrefix)
}

function nodeHash(left: Buffer, right: Buffer): Buffer {
  return createHash('sha256').update(nodePrefix).update(left).update(right).digest()
}

function onesOf(size: number): number {
  let ones = 0
  for (let n = size; n > 0; n = Math.floor(n / 2)) ones += n % 2
  return ones
}
