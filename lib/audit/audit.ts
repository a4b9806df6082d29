/** Writes one audit event for each request, when it has ended. */
import type { Exchange } from '../http/exchange.ts'
import { PathFilter } from '../http/path-filter.ts'
import { type Stage, type StageMiddleware, stageMiddleware } from '../http/pipeline.ts'
import { checkBoolean, checkOption, wrongOption } from '../options.ts'
import { AuditLogger } from './audit-logger.ts'

export interface AuditOptions {
  /** Default true; false lets every request pass unseen. */
  enabled?: boolean
  /** Where the events go. Default: a logger that prints on standard output. */
  auditLogger?: AuditLogger
  /** Paths that leave no event, matched whole. Default `/health`, `/metrics`, `/docs`, `/openapi.json`. */
  excludePaths?: readonly string[]
}

const defaultExcludePaths = ['/health', '/metrics', '/docs', '/openapi.json']

/**
 * Audits requests: `request_success` below status 400, `auth_failure` for 401, `access_denied` for 403, `request_error` for
 * other errors and for requests that nobody answered (status 0), `request_exception` when the handler threw.
 * Put it in front, so that it sees what later stages refuse.
 *
 * @throws TypeError when an option is wrong
 */
export function audit(options: AuditOptions = {}): StageMiddleware {
  return stageMiddleware(new AuditStage(options))
}

class AuditStage implements Stage {
  readonly name = 'audit'
  readonly #excluded: PathFilter
  readonly #onEnd: ((exchange: Exchange) => void) | undefined

  constructor(options: AuditOptions) {
    const { enabled = true, auditLogger, excludePaths = defaultExcludePaths } = options
    checkBoolean('audit', 'enabled', enabled)
    if (auditLogger !== undefined && !(auditLogger instanceof AuditLogger)) {
      throw wrongOption('audit', 'auditLogger', 'an AuditLogger', auditLogger)
    }
    checkOption(Array.isArray(excludePaths), 'audit', 'excludePaths', 'a list of paths', excludePaths)
    this.#excluded = new PathFilter({ exact: excludePaths })
    if (enabled) {
      const logger = auditLogger ?? new AuditLogger()
      this.#onEnd = exchange => logger.logExchange(exchange)
    }
  }

  enter(exchange: Exchange): boolean {
    if (this.#onEnd !== undefined && !this.#excluded.matches(exchange.path))
      exchange.onEndObserve(this.#onEnd)
    return true
  }
}
