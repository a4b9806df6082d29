/** Where what went wrong beside the requests is counted and told, at most once a minute for each kind. */

export interface Report {
  /** What went wrong, a stable snake_case name such as `audit_write`. */
  what: string
  /** How many since the last report of this kind. */
  count: number
  error: unknown
}

export interface ReporterOptions {
  /** Receives at most one report per kind and interval. Default: `process.emitWarning`. */
  onReport?: (report: Report) => void
  /** ms, default 60 000. */
  intervalMs?: number
  clock?: () => number
}

/** Counts every failure, tells of each kind at most once an interval, and never throws. */
export class Reporter {
  /** Totals since the start, by kind. */
  readonly counts = new Map<string, number>()
  readonly #onReport: (report: Report) => void
  readonly #intervalMs: number
  readonly #clock: () => number
  readonly #pending = new Map<string, { since: number; count: number }>()

  constructor(options: ReporterOptions = {}) {
    this.#onReport = options.onReport ?? warn
    this.#intervalMs = options.intervalMs ?? 60_000
    this.#clock = options.clock ?? (() => performance.now())
  }

  report(what: string, error: unknown, count = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + count)
    const now = this.#clock()
    const pending = this.#pending.get(what)
    if (pending !== undefined && now - pending.since < this.#intervalMs) {
      pending.count += count
      return
    }
    this.#pending.set(what, { since: now, count: 0 })
    try {
      const returned: unknown = this.#onReport({ what, count: count + (pending?.count ?? 0), error })
      if (returned instanceof Promise) returned.catch(failure => this.#notTold(failure))
    } catch (failure) {
      this.#notTold(failure)
    }
  }

  #notTold(failure: unknown): void {
    this.counts.set('report', (this.counts.get('report') ?? 0) + 1)
    warn({ what: 'report', count: 1, error: failure })
  }
}

function warn({ what, count, error }: Report): void {
  const text = error instanceof Error ? error.message : String(error)
  process.emitWarning(`${what} (${count} since the last report): ${text}`, {
    type: 'OstiaryWarning',
    code: `OSTIARY_${what.toUpperCase()}`,
    ...(error instanceof Error && error.stack !== undefined && { detail: error.stack })
  })
}

/** Serves every part that was given no reporter of its own. */
export const defaultReporter: Reporter = new Reporter()
