/** Keys that Redis has refused until a known time: until then nobody needs to ask again. */
import { LRUMapWithDelete } from 'mnemonist'
import type { RedisRateLimitDecision, ServerAnswer } from './redis-decision.ts'

interface Block {
  readonly cost: number
  /** ms: the block may end at this time, it does not end before. */
  readonly until: number
  /** ms: the block has ended by this time. */
  readonly retryAt: number
  readonly resetAt: number
  readonly remaining: number
}

/** Forgetting a block costs a round trip and nothing else, so the least recently used goes when there are too many. */
export class BlockedKeys {
  readonly #limit: number
  readonly #blocks: LRUMapWithDelete<string, Block>
  #refusals = 0

  constructor(limit: number, maxKeys: number) {
    this.#limit = limit
    this.#blocks = new LRUMapWithDelete(maxKeys)
  }

  /** Refusals made here since the start. */
  get refusals(): number {
    return this.#refusals
  }

  /**
   * Learns from an answer: a refusal holds until the next unit expires or a cheaper request is admitted.
   * @param askedAt ms: before the server decided
   * @param now ms: after it decided
   */
  learn(identifier: string, cost: number, askedAt: number, now: number, answer: ServerAnswer): void {
    if (answer.allowed && this.#blocks.size > 0) this.#blocks.delete(identifier)
    if (answer.certainMs <= 0) return
    this.#blocks.set(identifier, {
      cost,
      until: askedAt + answer.certainMs,
      retryAt: now + answer.retryAfterMs!,
      resetAt: now + answer.resetMs,
      remaining: answer.remaining
    })
  }

  refusal(identifier: string, cost: number, now: number): RedisRateLimitDecision | undefined {
    const block = this.#blocks.size === 0 ? undefined : this.#blocks.get(identifier)
    // A dearer request is blocked for longer: how much longer only the server knows.
    if (block === undefined || cost !== block.cost || now >= block.until) return undefined
    this.#refusals++
    return {
      allowed: false,
      limit: this.#limit,
      remaining: block.remaining,
      retryAfterMs: block.retryAt - now,
      resetMs: block.resetAt - now,
      decidedBy: 'memory'
    }
  }

  forget(identifier: string): void {
    this.#blocks.delete(identifier)
  }

  clear(): void {
    this.#blocks.clear()
  }
}
