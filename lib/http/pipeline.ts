/** Composes middleware and puts it in front of a handler. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { defaultContext, type Exchange, type ExchangeContext, openExchange } from './exchange.ts'
import type { PathFilter } from './path-filter.ts'
import { answerProblem } from './problem.ts'

export type Next = (error?: unknown) => void
/** The Connect signature. `next` is called at most once: with nothing to go on, with an error to give up. */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: Next) => void
export type RequestHandler = (req: IncomingMessage, res: ServerResponse) => unknown

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
}

/** A single stage as middleware; a pipeline runs the stage itself, without a `next`. */
export interface StageMiddleware extends Pipeline {
  readonly stage: Stage
}

export interface PipelineContext extends Partial<ExchangeContext> {
  /** Paths on which the whole pipeline steps aside. */
  skip?: PathFilter
}

type Step = Stage | Middleware

/**
 * Runs middleware in order, on one exchange. Mounted twice on one request, it runs once.
 * @throws TypeError when something in it is not a function
 */
export function pipeline(...middleware: Middleware[]): Pipeline {
  return composed(
    middleware.map(step => {
      if (typeof step !== 'function')
        throw new TypeError(`pipeline: middleware must be a function, got ${String(step)}`)
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
      if (typeof handler !== 'function')
        throw new TypeError(`wrap: handler must be a function, got ${String(handler)}`)
      return (req: IncomingMessage, res: ServerResponse) => runner.start(req, res, undefined, handler)
    }
  })
}

class Runner {
  readonly #steps: readonly Step[]
  readonly #context: ExchangeContext
  readonly #skip: PathFilter | undefined

  constructor(steps: readonly Step[], { clientAddress, reporter, skip }: PipelineContext) {
    this.#steps = steps
    this.#context = {
      clientAddress: clientAddress ?? defaultContext.clientAddress,
      reporter: reporter ?? defaultContext.reporter
    }
    this.#skip = skip
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
      proceed(exchange, next, handler)
    } else {
      this.#run(exchange, 0, next, handler)
    }
  }

  #run(exchange: Exchange, from: number, next: Next | undefined, handler: RequestHandler | undefined): void {
    const steps = this.#steps
    for (let i = from; i < steps.length; i++) {
      const step = steps[i]
      let passed: boolean | Promise<boolean>
      try {
        if (typeof step === 'function') {
          step(exchange.req, exchange.res, error => {
            if (error === undefined || error === null) this.#run(exchange, i + 1, next, handler)
            else fail(exchange, error, next)
          })
          return
        }
        passed = step.enter(exchange)
      } catch (error) {
        fail(exchange, error, next)
        return
      }
      if (passed === false) return
      if (passed !== true) {
        this.#resume(passed, exchange, i + 1, next, handler)
        return
      }
    }
    proceed(exchange, next, handler)
  }

  #resume(
    passing: Promise<boolean>,
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
  exchange.error = error ?? new Error('a handler threw nothing')
  if (next !== undefined) {
    next(error)
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

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}
