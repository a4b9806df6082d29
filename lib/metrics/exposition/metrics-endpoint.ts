/** Answers scrapers: Prometheus text, OpenMetrics, protobuf or JSON, to whom it is meant for. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Exchange, exchangeOf } from '../../http/exchange.ts'
import {
  composed,
  type GuardedRequest,
  type Middleware,
  type Stage,
  type StageMiddleware
} from '../../http/pipeline.ts'
import { answerProblem, refuse } from '../../http/problem.ts'
import { checkBoolean, checkOption, wrongOption } from '../../options.ts'
import { MetricRegistry } from '../metric-registry.ts'
import { acceptedFormat, acceptsGzip } from './accept.ts'
import { Answers, type Encoded } from './answers.ts'

/** True to let a scrape through. */
export type AllowScrape = (req: GuardedRequest, exchange: Exchange) => boolean | Promise<boolean>

/** A registry that has something to fetch before it is read, as that of a cluster's primary. */
export interface RefreshedRegistry {
  refresh?(): Promise<unknown>
}

export interface MetricsEndpointOptions {
  /** What is exposed. When it has a `refresh`, as `clusterMetrics()` has, every answer waits for that. */
  registry: MetricRegistry & RefreshedRegistry
  /**
   * Who may read: `false` for anyone, on purpose; middleware (`authenticate(…)`, `requireScopes(…)`, anything in the
   * Connect shape), which answers those it refuses; or `{ allow }`, a function that says so of a request.
   * Default: any caller that an earlier stage has authenticated; anonymous ones get 401.
   */
  auth?: false | Middleware | readonly Middleware[] | { allow: AllowScrape }
  /** Offers the protobuf format, which carries native histograms, to scrapers that prefer it. Default false. */
  protobuf?: boolean
  /** Adds `_created` samples to OpenMetrics. Default false: Prometheus stores them as series of their own. */
  created?: boolean
  /** Compresses answers of 1 KiB and more for scrapers that accept gzip, away from the event loop. Default true. */
  gzip?: boolean
}

/**
 * A request listener for GET and HEAD, in the format that `Accept` asks for: Prometheus text unless it names OpenMetrics,
 * JSON (`application/json`) or protobuf. The work is cut into slices of some 1 ms; scrapes of one format that come while
 * one is being answered get the same answer. The memory of an answer is kept for the next, up to 32 MiB: the text of
 * 2 000 label sets has some 15 MB.
 *
 * @example
 * const scrape = metricsEndpoint({ registry, auth: [authenticate(options), requireScopes('metrics:read')] })
 * createServer((req, res) => (req.url === '/metrics' ? scrape(req, res) : app(req, res)))
 *
 * @throws TypeError when an option is not what it must be
 */
export function metricsEndpoint(
  options: MetricsEndpointOptions
): (req: IncomingMessage, res: ServerResponse) => void {
  const { registry, auth, protobuf = false, created = false, gzip = true } = options ?? {}
  checkOption(registry instanceof MetricRegistry, 'metricsEndpoint', 'registry', 'a MetricRegistry', registry)
  for (const [name, value] of Object.entries({ protobuf, created, gzip })) {
    checkBoolean('metricsEndpoint', name, value)
  }
  const answers = new Answers(registry, created)
  return composed(guards(auth)).wrap((req, res) => answer(req, res, answers, { protobuf, gzip }))
}

function guards(auth: MetricsEndpointOptions['auth']): (Stage | Middleware)[] {
  if (auth === false) return []
  if (auth === undefined) return [new ScrapeGuard((_req, exchange) => exchange.user !== undefined)]
  const { allow } = (auth ?? {}) as { allow?: unknown }
  if (typeof allow === 'function') return [new ScrapeGuard(allow as AllowScrape)]
  const steps: unknown[] = Array.isArray(auth) ? auth : [auth]
  // An empty list would open the endpoint by accident.
  if (steps.length === 0 || !steps.every(step => typeof step === 'function')) {
    throw wrongOption(
      'metricsEndpoint',
      'auth',
      'false, middleware, a list of it or { allow }',
      described(auth)
    )
  }
  return (steps as Middleware[]).map(step => (step as Partial<StageMiddleware>).stage ?? step)
}

/** What was given instead, without its content: it may be a secret. */
function described(auth: unknown): string {
  if (Array.isArray(auth)) return auth.length === 0 ? '[]' : 'a list of something else'
  if (typeof auth === 'string') return 'a string'
  return typeof auth === 'object' && auth !== null ? 'an object without it' : String(auth)
}

class ScrapeGuard implements Stage {
  readonly name = 'metrics_endpoint'
  readonly #allow: AllowScrape

  constructor(allow: AllowScrape) {
    this.#allow = allow
  }

  enter(exchange: Exchange): boolean | Promise<boolean> {
    const allowed = this.#allow(exchange.req, exchange)
    return typeof allowed === 'boolean' ? this.#decide(exchange, allowed) : this.#wait(exchange, allowed)
  }

  async #wait(exchange: Exchange, allowed: Promise<boolean>): Promise<boolean> {
    return this.#decide(exchange, await allowed)
  }

  #decide(exchange: Exchange, allowed: boolean): boolean {
    // Anything but true is a no: what lets strangers read must not hang on a truthy mistake.
    if (allowed === true) return true
    return exchange.user === undefined
      ? refuse(exchange, this.name, 'anonymous_scrape', {
          status: 401,
          headers: { 'WWW-Authenticate': 'Bearer' }
        })
      : refuse(exchange, this.name, 'scrape_not_allowed', { status: 403 })
  }
}

async function answer(
  req: IncomingMessage,
  res: ServerResponse,
  answers: Answers,
  offered: { protobuf: boolean; gzip: boolean }
): Promise<void> {
  if (req.method !== 'GET' && req.method !== 'HEAD') {
    answerProblem(exchangeOf(req), { status: 405, headers: { Allow: 'GET, HEAD' } })
    return
  }
  const exchange = exchangeOf(req)
  const made = await answers.take(acceptedFormat(req.headers.accept, offered.protobuf))
  exchange.onEnd(() => made.release())
  const zips = offered.gzip && acceptsGzip(req.headers['accept-encoding'] as string | undefined)
  const { body, contentEncoding } = zips ? await made.zipped() : (made as Encoded)
  if (exchange.outcome !== 'pending') return
  res.writeHead(200, {
    'Content-Type': made.contentType,
    ...(contentEncoding === undefined ? undefined : { 'Content-Encoding': contentEncoding }),
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    Vary: offered.gzip ? 'Accept, Accept-Encoding' : 'Accept'
  })
  res.end(body)
}
