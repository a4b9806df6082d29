/** Keeps a log of what every API token did. */
import type { Exchange } from '../http/exchange.ts'
import { defaultSkip, PathFilter, type PathFilterOptions } from '../http/path-filter.ts'
import { type Stage, type StageMiddleware, stageMiddleware } from '../http/pipeline.ts'
import type { Reporter } from '../http/reporter.ts'
import { checkObject, wrongOption } from '../options.ts'
import { SqliteUsageStore } from './sqlite-usage-store.ts'
import { UsageRecorder } from './usage-recorder.ts'
import type { UsageStore } from './usage-store.ts'

export interface TokenUsageOptions {
  /** A SQLite file to keep the records in. One of `sqlite`, `store` and `recorder`. */
  sqlite?: string
  /** A store to keep them in. */
  store?: UsageStore
  /** A recorder that was made elsewhere, and is closed there. */
  recorder?: UsageRecorder
  /** Paths that leave no record. Default `/health`, `/healthz`, `/ready`, `/metrics`, and what is under `/static/`. */
  skip?: PathFilterOptions
  /** Where losses are counted and told. */
  reporter?: Reporter
}

export interface TokenUsageMiddleware extends StageMiddleware {
  /** For the statistics, and to close at the end. */
  readonly recorder: UsageRecorder
}

/**
 * Records requests made with API tokens: who, what, when, from where, how it went, and how long it took.
 * Put it in front, so that it sees what later stages refuse.
 *
 * @throws TypeError when an option is wrong
 * @throws Error when the SQLite file cannot be used
 */
export function tokenUsage(options: TokenUsageOptions): TokenUsageMiddleware {
  checkObject('tokenUsage', 'options', options)
  const skip = new PathFilter(options.skip ?? defaultSkip)
  const recorder = recorderOf(options)
  return Object.assign(stageMiddleware(new TokenUsageStage(recorder, skip)), { recorder })
}

class TokenUsageStage implements Stage {
  readonly name = 'token_usage'
  readonly #skip: PathFilter
  readonly #onEnd: (exchange: Exchange) => void

  constructor(recorder: UsageRecorder, skip: PathFilter) {
    this.#skip = skip
    this.#onEnd = exchange => recorder.record(exchange)
  }

  enter(exchange: Exchange): boolean {
    if (!this.#skip.matches(exchange.path)) exchange.onEndObserve(this.#onEnd)
    return true
  }
}

function recorderOf({ sqlite, store, recorder, reporter }: TokenUsageOptions): UsageRecorder {
  const given = [sqlite, store, recorder].filter(option => option !== undefined)
  if (given.length !== 1) {
    throw new TypeError(`tokenUsage: give one of sqlite, store and recorder, got ${given.length}`)
  }
  if (recorder !== undefined) {
    if (recorder instanceof UsageRecorder) return recorder
    throw wrongOption('tokenUsage', 'recorder', 'a UsageRecorder', recorder)
  }
  return new UsageRecorder({
    store: store ?? new SqliteUsageStore({ path: sqlite as string }),
    ...(reporter && { reporter })
  })
}
