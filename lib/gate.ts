/** The whole pipeline in one call: measure, audit, record, authenticate, limit. */
import type { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { audit } from './audit/audit.ts'
import { AuditLogger, type AuditLoggerOptions } from './audit/audit-logger.ts'
import { type Authenticate, type AuthenticateOptions, authenticate } from './auth/authenticate.ts'
import { Entrance } from './entrance.ts'
import { collectValidations, type GateMetricsOptions, registerStats } from './gate-metrics.ts'
import { checkGateOptions } from './gate-options.ts'
import { ClientAddress, type ClientAddressOptions } from './http/client-address.ts'
import { type Exchange, openExchange } from './http/exchange.ts'
import { defaultSkip, PathFilter, type PathFilterOptions } from './http/path-filter.ts'
import { composed, type Pipeline, type Stage, type StageMiddleware } from './http/pipeline.ts'
import { answerProblem } from './http/problem.ts'
import { Reporter, type ReporterOptions } from './http/reporter.ts'
import { observeServer } from './http/server-events.ts'
import { metricsEndpoint } from './metrics/exposition/metrics-endpoint.ts'
import { metrics as httpMetrics } from './metrics/http-metrics.ts'
import { MetricRegistry } from './metrics/metric-registry.ts'
import { MetricsCollector } from './metrics/metrics-collector.ts'
import { ProcessMetrics } from './metrics/process-metrics.ts'
import {
  type FailedAttemptLimit,
  type FailedAttemptLimitOptions,
  failedAttemptLimit
} from './rate-limit/failed-attempt-limit.ts'
import { type RateLimitMiddleware, type RateLimitOptions, rateLimit } from './rate-limit/rate-limit.ts'
import { type TokenUsageMiddleware, type TokenUsageOptions, tokenUsage } from './usage/token-usage.ts'
import type { UsageRecorder } from './usage/usage-recorder.ts'

export interface GateAuditOptions extends Omit<AuditLoggerOptions, 'reporter'> {
  /** A logger of your own, instead of the options for one; the gate flushes it and leaves it open. */
  auditLogger?: AuditLogger
  /** Paths that leave no event, beside what the gate skips. */
  excludePaths?: readonly string[]
}

export interface GateOptions extends ClientAddressOptions {
  /** Who may enter: see `authenticate`. Default false: everybody, unknown. */
  auth?: AuthenticateOptions | false
  /** How many tokens that are refused one address may try, in front of `auth`: see `failedAttemptLimit`. Default false. */
  failedAttempts?: FailedAttemptLimitOptions | false
  /** How often: see `rateLimit`. Default false. */
  rateLimit?: RateLimitOptions | false
  /** One event a request. Default false. */
  audit?: GateAuditOptions | false
  /** One row a request made with an API token. Default false. */
  usage?: TokenUsageOptions | false
  /** Times, counts and `gate.metrics`. Default false. */
  metrics?: GateMetricsOptions | boolean
  /** Paths on which the gate steps aside altogether. Default: health checks, `/metrics` and `/static/`; `{}` for none. */
  skip?: PathFilterOptions
  /** Told of what went wrong beside the requests, at most once a minute for each kind. Default: a process warning. */
  onReport?: ReporterOptions['onReport']
  /** Makes `currentExchange()` work below the handler. Default false: it costs. */
  asyncContext?: boolean
  /** ms that `close` waits for open requests, so that their events are kept. Default 1 000. */
  closeGraceMs?: number
}

export interface Gate extends Pipeline {
  /** Answers scrapers: Prometheus text or OpenMetrics. 404 while metrics are off. */
  readonly metrics: (req: IncomingMessage, res: ServerResponse) => void
  /** What `gate.metrics` exposes; metrics of your own may be added. */
  readonly registry: MetricRegistry | undefined
  /** Counts of token validations. */
  readonly collector: MetricsCollector | undefined
  readonly auditLogger: AuditLogger | undefined
  /** The token usage log and its statistics. */
  readonly usage: UsageRecorder | undefined
  /**
   * Measures and audits what a server does without asking the gate: answers of Node's own (400, 408, 413, 417, 431, 503),
   * broken requests, and upgrades; until `close`.
   */
  attach(server: EventEmitter): void
  /**
   * Resolves when tokens can be verified. Rejects when the keys cannot be had, and says why, such as a configuration that turns
   * out to be wrong; the gate goes on trying all the same.
   */
  ready(): Promise<void>
  /** Stores what audit and usage hold in memory. */
  flush(): Promise<void>
  /** Refuses new requests with 503, waits a while for open ones, stops timers, stores audit and usage. Safe to call twice. */
  close(): Promise<void>
}

/**
 * Builds the gate. Its stages run in this order on one exchange: metrics, audit, usage, failed attempts, authentication,
 * rate limit.
 *
 * @example
 * const gate = ostiary({
 *   auth: { issuer: 'https://login.example.com/', audience: 'orders-api' },
 *   rateLimit: { maxRequests: 100, windowSeconds: 60 },
 *   audit: { path: 'audit.jsonl' },
 *   usage: { sqlite: 'usage.db' },
 *   metrics: true
 * })
 * createServer(gate.wrap((req, res) => res.end(`hello ${req.user?.id}\n`))).listen(3000)
 *
 * @throws TypeError when an option is not what it must be; it names the option and shows the value
 * @throws Error when a file cannot be opened
 */
export function ostiary(options: GateOptions = {}): Gate {
  checkGateOptions(options)
  const reporter = new Reporter(options.onReport === undefined ? {} : { onReport: options.onReport })
  const entrance = new Entrance(options.closeGraceMs)
  const context = { clientAddress: new ClientAddress(addressOptions(options)), reporter }
  const skip = new PathFilter(options.skip ?? defaultSkip)
  const parts = partsOf(options, reporter)
  const { measured, audited, recorded, guessing, authenticated, limited } = parts
  const stages = [measured, audited, recorded, guessing, authenticated, guessing?.passed, limited]
    .filter(part => part !== undefined)
    .map(part => (part as StageMiddleware).stage)
  const gate = composed([entrance, ...stages] satisfies Stage[], {
    ...context,
    skip,
    asyncContext: options.asyncContext ?? false
  })
  const observers = [measured, audited].filter(part => part !== undefined).map(({ stage }) => stage)
  const detachments: (() => void)[] = []
  let closing: Promise<void> | undefined
  return Object.assign(gate, {
    metrics: parts.endpoint,
    registry: parts.registry,
    collector: parts.collector,
    auditLogger: parts.auditLogger,
    usage: recorded?.recorder,
    attach(server: EventEmitter) {
      const observe = (exchange: Exchange): void => {
        for (const observer of observers) observer.enter(exchange)
      }
      detachments.push(observeServer(server, observe, context))
    },
    ready: async () => authenticated?.verifier.ready(),
    flush: () => flush(parts),
    close() {
      closing ??= entrance.close().then(() => {
        for (const detach of detachments) detach()
        return close(parts, options)
      })
      return closing
    }
  })
}

interface Parts {
  measured: StageMiddleware | undefined
  audited: StageMiddleware | undefined
  recorded: TokenUsageMiddleware | undefined
  guessing: FailedAttemptLimit | undefined
  authenticated: Authenticate | undefined
  limited: RateLimitMiddleware | undefined
  registry: MetricRegistry | undefined
  collector: MetricsCollector | undefined
  processMetrics: ProcessMetrics | undefined
  auditLogger: AuditLogger | undefined
  endpoint: Gate['metrics']
}

/** Makes the stages. What was begun is given up again when a later part cannot be made. */
function partsOf(options: GateOptions, reporter: Reporter): Parts {
  const begun: Partial<Parts> = {}
  try {
    return makeParts(options, reporter, begun)
  } catch (error) {
    void close(begun, options)
    throw error
  }
}

/** What opens files comes last, so that a wrong option elsewhere leaves none. */
function makeParts(options: GateOptions, reporter: Reporter, begun: Partial<Parts>): Parts {
  const metricsOptions = options.metrics === true ? {} : options.metrics || undefined
  const registry = metricsOptions && (metricsOptions.registry ?? new MetricRegistry({ reporter }))
  const collector = registry && new MetricsCollector()
  const measured = registry && httpMetrics({ ...metricsOptions, registry })
  const authenticated = options.auth
    ? authenticate({ reporter, ...collectValidations(options.auth, collector) })
    : undefined
  begun.authenticated = authenticated
  const guessing = options.failedAttempts ? failedAttemptLimit(options.failedAttempts) : undefined
  const limited = options.rateLimit ? rateLimit(options.rateLimit) : undefined
  const endpoint = registry
    ? metricsEndpoint({ auth: false, ...metricsOptions?.endpoint, registry })
    : notMeasured
  const recorded = options.usage ? tokenUsage({ skip: {}, reporter, ...options.usage }) : undefined
  begun.recorded = recorded
  const auditLogger = options.audit ? auditLoggerOf(options.audit, reporter) : undefined
  begun.auditLogger = auditLogger
  const audited = auditLogger && audit({ auditLogger, ...excluded(options.audit) })
  const processMetrics = registry && new ProcessMetrics()
  begun.processMetrics = processMetrics
  if (registry !== undefined && collector !== undefined && processMetrics !== undefined) {
    registry.add(collector)
    registry.add(processMetrics)
    registerStats(registry, {
      verifier: authenticated?.verifier,
      limited,
      auditLogger,
      recorder: recorded?.recorder,
      reporter
    })
  }
  return {
    measured,
    audited,
    recorded,
    guessing,
    authenticated,
    limited,
    registry,
    collector,
    processMetrics,
    auditLogger,
    endpoint
  }
}

function auditLoggerOf(
  { auditLogger, excludePaths: _, ...own }: GateAuditOptions,
  reporter: Reporter
): AuditLogger {
  if (auditLogger !== undefined && Object.keys(own).length > 0) {
    throw new TypeError(
      `ostiary: audit takes an auditLogger or options for one, got both: ${Object.keys(own).join(', ')}`
    )
  }
  return auditLogger ?? new AuditLogger({ ...own, reporter })
}

function excluded(options: GateOptions['audit']): { excludePaths?: readonly string[] } {
  return options && options.excludePaths !== undefined ? { excludePaths: options.excludePaths } : {}
}

function addressOptions({ trustProxy, ipv6Prefix }: GateOptions): ClientAddressOptions {
  return { ...(trustProxy !== undefined && { trustProxy }), ...(ipv6Prefix !== undefined && { ipv6Prefix }) }
}

function notMeasured(req: IncomingMessage, res: ServerResponse): void {
  answerProblem(openExchange(req, res), { status: 404, detail: 'Metrics are off.' })
}

async function flush({ auditLogger, recorded }: Parts): Promise<void> {
  await Promise.all([auditLogger?.flush(), recorded?.recorder.flush()])
}

/** Of what was given from outside nothing is closed. */
async function close(parts: Partial<Parts>, { auth, audit, usage }: GateOptions): Promise<void> {
  parts.processMetrics?.close()
  const ownVerifier = auth && !('verifier' in auth)
  if (ownVerifier) parts.authenticated?.verifier.close()
  const ownLogger = audit && audit.auditLogger === undefined
  const ownRecorder = usage && usage.recorder === undefined
  await Promise.all([
    ownLogger ? parts.auditLogger?.close() : parts.auditLogger?.flush(),
    ownRecorder ? parts.recorded?.recorder.close() : parts.recorded?.recorder.flush()
  ])
}
