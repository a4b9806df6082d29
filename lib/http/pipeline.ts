/** Composes middleware and puts it in front of a handler. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { checkFunction, wrongOption } from '../options.ts'
import { runInContext } from './async-context.ts'
import { isClientGone } from './client-gone.ts'
import { type Caller, defaultContext, type Exchange, type ExchangeContext, openExchange } from './exchange.ts'
import type { PathFilter } from './path-filter.ts'
import { answerProblem } from './problem.ts'
import { keepTicksFast } from './tick-objects.ts'
import { guardedUpgrade, type UpgradeHandler } from './upgrade.ts'

export type Next = (error?: unknown) => void
/** The Connect signature. `next` is called at most once: with nothing to go on, with an error to give up. */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: Next) => void
/** A request as a handler behind a pipeline sees it. */
export interface GuardedRequest extends IncomingMessage {
  /** The verified caller; undefined for anonymous requests. */
  user?: Caller | undefined
}
export type RequestHandler = (req: GuardedRequest, res: ServerResponse) => unknown

/**
 * One step of a pipeline. `enter` answers true to go on and false when the answer is already on its way; a promise of
 * that only when the decision is not at hand. What it throws is a fault of the server: 500, or `next(error)`.
 */
export interface Stage {
  readonly name: string
  enter(exchange: Exchange): boolean | Promise<boolean>
}

export interface Pipeline extends Middleware {
  /** The pipeline in front of a handler, for `http.createServer`. What the handler throws is answered with a 500. */
  wrap(handler: RequestHandler): (req: IncomingMessage, res: ServerResponse) => void
  /**
   * The pipeline in front of an `upgrade` (or `connect`) listener: a refusal is an HTTP answer on the socket, then its
   * end; otherwise the handler gets the socket as Node would have given it.
   */
  upgrade(handler: UpgradeHandler): UpgradeHandler
}

/** A single stage as middleware; a pipeline runs the stage itself, without a `next`. */
export interface StageMiddleware extends Pipeline {
  readonly stage: Stage
}

export interface PipelineContext extends Partial<ExchangeContext> {
  /** Paths on which the whole pipeline steps aside. */
  skip?: PathFilter
  /** Whether `currentExchange()` works below the handler. Default false: it costs. */
  asyncContext?: boolean
}

type Step = Stage | Middleware

/**
 * Runs middleware in order, on one exchange. Mounted twice on one request, it runs once.
 * @throws TypeError when something in it is not a function
 */
export function pipeline(...middleware: Middleware[]): Pipeline {
  return composed(
    middleware.map(step => {
      checkFunction('pipeline', 'middleware', step)
      return (step as Partial<StageMiddleware>).stage ?? step
    })
  )
}

/** Lets one stage run by itself in any Connect-compatible stack. */
export function stageMiddleware(stage: Stage, context?: PipelineContext): StageMiddleware {
  return Object.assign(composed([stage], context), { stage })
}

/** A pipeline of stages and middleware under one context. */
export function composed(steps: readonly Step[], context: PipelineContext = {}): Pipeline {
  const runner = new Runner(steps, context)
  const middleware: Middleware = (req, res, next) => runner.start(req, res, next, undefined)
  return Object.assign(middleware, {
    wrap(handler: RequestHandler) {
      checkHandler('wrap', handler)
      return (req: IncomingMessage, res: ServerResponse) => runner.start(req, res, undefined, handler)
    },
    upgrade(handler: UpgradeHandler) {
      checkHandler('upgrade', handler)
      return guardedUpgrade((req, res, accept) => runner.start(req, res, undefined, accept), handler)
    }
  })
}

function checkHandler(method: string, handler: unknown): void {
  if (typeof handler === 'function') return
  throw wrongOption(method, 'handler', 'a function', handler)
}

class Runner {
  readonly #steps: readonly Step[]
  /** By step. Looked up once: where all stages are entered, each look-up would be megamorphic. */
  readonly #enters: readonly Stage['enter'][]
  readonly #context: ExchangeContext
  readonly #skip: PathFilter | undefined
  readonly #asyncContext: boolean

  constructor(
    steps: readonly Step[],
    { clientAddress, reporter, skip, asyncContext = false }: PipelineContext
  ) {
    this.#steps = steps
    this.#enters = steps.map(step => (typeof step === 'function' ? neverEntered : step.enter))
    this.#context = {
      clientAddress: clientAddress ?? defaultContext.clientAddress,
      reporter: reporter ?? defaultContext.reporter
    }
    this.#skip = skip
    this.#asyncContext = asyncContext
    keepTicksFast()
  }

  /** Ends in `next` when there is one, else in `handler`. */
  start(
    req: IncomingMessage,
    res: ServerResponse,
    next: Next | undefined,
    handler: RequestHandler | undefined
  ): void {
    const exchange = openExchange(req, res, this.#context)
    if ((this.#skip?.matches(exchange.path) ?? false) || !exchange.enterOnce(this)) {
      this.#proceed(exchange, next, handler)
    } else {
      this.#run(exchange, 0, next, handler)
    }
  }

  #run(exchange: Exchange, from: number, next: Next | undefined, handler: RequestHandler | undefined): void {
    const steps = this.#steps
    for (let i = from; i < steps.length; i++) {
      const step = steps[i]
      if (typeof step === 'function') {
        this.#call(step, exchange, i + 1, next, handler)
        return
      }
      let passed: boolean | Promise<boolean>
      try {
        passed = this.#enters[i].call(step, exchange)
      } catch (error) {
        fail(exchange, error, next)
        return
      }
      if (passed === false) return
      if (passed !== true) {
        if (isThenable(passed)) this.#resume(passed, exchange, i + 1, next, handler)
        else fail(exchange, new TypeError(`stage ${step.name} answered ${String(passed)}`), next)
        return
      }
    }
    this.#proceed(exchange, next, handler)
  }

  /** Plain middleware may go on once, or fail once; whatever it says after that is counted and changes nothing. */
  #call(
    step: Middleware,
    exchange: Exchange,
    following: number,
    next: Next | undefined,
    handler: RequestHandler | undefined
  ): void {
    let decided = false
    let stackThrew = false
    const decide = (failed: boolean, error: unknown) => {
      if (decided) {
        if (failed) exchange.reporter.report('middleware_after_next', error)
        return
      }
      decided = true
      stackThrew = next !== undefined
      if (failed) fail(exchange, error, next)
      else this.#run(exchange, following, next, handler)
      stackThrew = false
    }
    try {
      const returned: unknown = step(exchange.req, exchange.res, error => {
        decide(error !== undefined && error !== null, error)
      })
      if (isThenable(returned)) returned.then(undefined, error => decide(true, error))
    } catch (error) {
      // What the stack's own `next` throws belongs to the stack.
      if (stackThrew) throw error
      decide(true, error)
    }
  }

  #resume(
    passing: PromiseLike<boolean>,
    exchange: Exchange,
    from: number,
    next: Next | undefined,
    handler: RequestHandler | undefined
  ): void {
    passing.then(
      passed => {
        // A client that left while the decision was pending is not served.
        if (passed && exchange.outcome === 'pending') this.#run(exchange, from, next, handler)
      },
      error => fail(exchange, error, next)
    )
  }

  #proceed(exchange: Exchange, next: Next | undefined, handler: RequestHandler | undefined): void {
    if (this.#asyncContext) runInContext(exchange, () => proceed(exchange, next, handler))
    else proceed(exchange, next, handler)
  }
}

/** Stands for plain middleware, which is called. */
function neverEntered(): boolean {
  return false
}

function proceed(exchange: Exchange, next: Next | undefined, handler: RequestHandler | undefined): void {
  if (handler === undefined) {
    next?.()
    return
  }
  try {
    const returned = handler(exchange.req, exchange.res)
    if (isThenable(returned)) returned.then(undefined, error => fail(exchange, error, undefined))
  } catch (error) {
    fail(exchange, error, undefined)
  }
}

/** What was thrown goes to the stack's own error handling, or is answered: its status if it names one, else 500. */
function fail(exchange: Exchange, error: unknown, next: Next | undefined): void {
  if (next === undefined && isClientGone(error)) return
  exchange.error = error ?? new Error('a handler threw nothing')
  if (next !== undefined) {
    next(exchange.error)
    return
  }
  const status = statusOf(error)
  if (status >= 500) exchange.reporter.report('request_exception', error)
  answerProblem(exchange, { status })
}

/** The status an error names (http-errors), if it is an error status. */
function statusOf(error: unknown): number {
  const named = (error ?? {}) as { statusCode?: unknown; status?: unknown }
  const status = named.statusCode ?? named.status
  return Number.isInteger(status) && (status as number) >= 400 && (status as number) < 600
    ? (status as number)
    : 500
}

function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}
