/** Takes audit events and hands them to a file, a callback, the console or a sink of your own. */
import { observeEnded } from '../http/ended-exchanges.ts'
import type { Exchange } from '../http/exchange.ts'
import { defaultReporter, type Reporter } from '../http/reporter.ts'
import { WallClock } from '../http/wall-clock.ts'
import { checkBoolean, checkFunction, wrongOption } from '../options.ts'
import { within } from '../within.ts'
import { AuditEvent, type AuditEventFields, type AuditEventInit } from './audit-event.ts'
import { AuditFile } from './audit-file.ts'
import { AuditLineFormat } from './audit-line.ts'
import { ConsoleSink } from './console-sink.ts'
import { isRepeating, type RepeatingSink } from './repeated-lines.ts'

/**
 * Takes lines of JSON, each an event, in their order. A sink that seals lines wraps the sink that stores them.
 * It never blocks a request and never throws at one.
 */
export interface AuditSink {
  /**
   * @param line printable ASCII, without the newline
   * @returns false when the line cannot be kept; the logger counts it, and says so in the log once lines are kept again
   */
  write(line: string): boolean
  /** Resolves when all lines so far are stored; rejects with what prevented it. */
  flush(): Promise<void>
  /** Stores what is left and lets go; safe to call twice. */
  close(): Promise<void>
  /** Goes on in a new file of the same name, after the old one was moved away. */
  reopen?(): Promise<void>
  /** Lines that wait to be stored, and lines lost after they were taken. */
  readonly stats?: { readonly pending: number; readonly lost: number }
}

export interface AuditLoggerOptions {
  /** A file of JSON lines, appended to; created with mode 0600. Its folder must exist. */
  path?: string
  /** Receives every event. What it throws, or a promise of it rejects with, is counted. */
  callback?: (event: AuditEvent) => unknown
  /** Lines on standard output, for development: Node may write there synchronously. Default: true when nothing else was given. */
  console?: boolean
  /** A place of your own for the lines. */
  sink?: AuditSink
  /** ms that a line waits at most before it is written to `path`. Default 50. */
  flushIntervalMs?: number
  /** Memory for lines that the disk does not take; further lines are dropped and counted. Default 8 MiB. */
  maxPendingBytes?: number
  /** Where losses are counted and told. */
  reporter?: Reporter
}

/** The fields of an event whose type the method names, and metadata beside them. */
export type AuditDetails = Omit<AuditEventFields, 'eventType'> & { readonly [metadata: string]: unknown }

export interface AuditStats {
  /** Events logged. */
  events: number
  /** Lines that wait to be stored. */
  pending: number
  /** Lines that a sink did not take, or could not store in the end. */
  dropped: number
  /** Callbacks that failed, or that were left out because too many had not finished. */
  callbackFailures: number
}

/** A sink, and what it did not keep since it last kept a line. */
interface Outlet {
  readonly sink: AuditSink
  dropped: number
  droppedSince: Date | undefined
}

/** Callbacks that may be unfinished at once; further events pass them by, counted. */
const maxOpenCallbacks = 1_000
/** Made once: in an outage every request would pay for their stacks. */
const notKept = new Error('the audit log could not keep a line')
const tooManyCallbacks = new Error(`more than ${maxOpenCallbacks} audit callbacks have not finished`)
/** ms that closing waits for callbacks, for the sinks to store what is left, and for them to close. */
const closeCallbacksMs = 2_000
const closeSinksMs = 5_000
const sinksSilent = 'an audit sink did not answer'

/**
 * The audit log. Logging never blocks and never throws at a request: what cannot be kept is counted, reported once a minute,
 * and noted in the log itself by a `dropped` event as soon as lines are kept again.
 *
 * @throws TypeError when an option is wrong
 * @throws Error when `path` cannot be opened for appending
 */
export class AuditLogger {
  readonly #outlets: readonly Outlet[]
  /** The only sink, if it copies lines. */
  readonly #repeating: RepeatingSink | undefined
  readonly #callback: ((event: AuditEvent) => unknown) | undefined
  readonly #reporter: Reporter
  readonly #lines = new AuditLineFormat(new WallClock())
  readonly #openCallbacks = new Set<Promise<void>>()
  #events = 0
  #dropped = 0
  #callbackFailures = 0
  #closing: Promise<void> | undefined

  constructor(options: AuditLoggerOptions = {}) {
    const { callback, sink, reporter = defaultReporter } = options
    if (options.console !== undefined) checkBoolean('AuditLogger', 'console', options.console)
    if (callback !== undefined) checkFunction('AuditLogger', 'callback', callback)
    if (sink !== undefined && !isSink(sink)) throw wrongOption('AuditLogger', 'sink', 'an AuditSink', sink)
    this.#callback = callback
    this.#reporter = reporter
    const sinks = sinksOf(options, reporter)
    this.#outlets = sinks.map(sink => ({ sink, dropped: 0, droppedSince: undefined }))
    this.#repeating = sinks.length === 1 && isRepeating(sinks[0]) ? sinks[0] : undefined
  }

  get stats(): AuditStats {
    observeEnded()
    let pending = 0
    let dropped = this.#dropped
    for (const { sink } of this.#outlets) {
      pending += sink.stats?.pending ?? 0
      dropped += sink.stats?.lost ?? 0
    }
    return { events: this.#events, pending, dropped, callbackFailures: this.#callbackFailures }
  }

  /** Logs an event, or makes one of these fields and metadata. */
  log(event: AuditEvent | AuditEventInit): void {
    const whole = event instanceof AuditEvent ? event : new AuditEvent(event)
    if (this.#outlets.length > 0) this.#write(whole.toJson())
    this.#events++
    if (this.#callback !== undefined) this.#call(whole)
  }

  /** Logs a request that has ended. */
  logExchange(exchange: Exchange): void {
    if (this.#repeating !== undefined && this.#outlets[0].dropped === 0)
      this.#writeTo(this.#repeating, exchange)
    else if (this.#outlets.length > 0) this.#write(this.#lines.ofExchange(exchange))
    this.#events++
    if (this.#callback !== undefined) this.#call(this.#lines.eventOf(exchange))
  }

  logAuthSuccess(details: AuditDetails & { userId: string }): void {
    this.log({ ...details, eventType: 'auth_success' })
  }

  logAuthFailure(details: AuditDetails & { reason: string }): void {
    this.log({ ...details, eventType: 'auth_failure' })
  }

  logAccessDenied(details: AuditDetails & { reason: string }): void {
    this.log({ ...details, eventType: 'access_denied' })
  }

  /** Resolves when every event so far is stored and every callback has finished; rejects with what a sink could not do. */
  async flush(): Promise<void> {
    observeEnded()
    await Promise.all(this.#openCallbacks)
    await this.#flushAll()
  }

  /** Goes on in a new file at `path`, after log rotation moved the old one away; without it, lines follow the old file. */
  async reopen(): Promise<void> {
    observeEnded()
    await Promise.all(this.#outlets.map(({ sink }) => sink.reopen?.()))
  }

  /** Stores what is left and closes the sinks; what cannot be stored is counted. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    observeEnded()
    await this.#callbacksSettled()
    const failed = (error: unknown) => this.#reporter.report('audit_write', error)
    await within(closeSinksMs, this.#flushAll(), sinksSilent).catch(failed)
    await Promise.all(
      this.#outlets.map(({ sink }) => within(closeSinksMs, closed(sink), sinksSilent).catch(failed))
    )
  }

  /** Closing does not wait for ever for somebody else's promise. */
  async #callbacksSettled(): Promise<void> {
    if (this.#openCallbacks.size === 0) return
    await within(closeCallbacksMs, Promise.all(this.#openCallbacks)).catch(() => undefined)
    for (const _unfinished of this.#openCallbacks) this.#callbackFailed(new Error('unfinished at close'))
  }

  async #flushAll(): Promise<void> {
    await Promise.all(this.#outlets.map(outlet => this.#flush(outlet)))
  }

  #write(line: string): void {
    for (let i = 0; i < this.#outlets.length; i++) {
      const outlet = this.#outlets[i]
      if (outlet.dropped > 0 && !this.#tellDropped(outlet)) this.#drop(outlet)
      else if (!this.#hand(outlet.sink, line)) this.#drop(outlet)
    }
  }

  /** While nothing that was dropped is to be told. */
  #writeTo(sink: RepeatingSink, exchange: Exchange): void {
    if (!this.#lines.writeTo(sink, exchange)) this.#drop(this.#outlets[0])
  }

  /** A sink of somebody else's may throw where it should say no. */
  #hand(sink: AuditSink, line: string): boolean {
    try {
      return sink.write(line)
    } catch (error) {
      this.#reporter.report('audit_write', error)
      return false
    }
  }

  #drop(outlet: Outlet): void {
    this.#dropped++
    outlet.dropped++
    outlet.droppedSince ??= new Date()
    this.#reporter.report('audit_lost', notKept)
  }

  /** The gap is part of the log, in its place. */
  #tellDropped(outlet: Outlet): boolean {
    const event = new AuditEvent({
      eventType: 'dropped',
      dropped_count: outlet.dropped,
      dropped_since: outlet.droppedSince
    })
    if (!this.#hand(outlet.sink, event.toJson())) return false
    outlet.dropped = 0
    outlet.droppedSince = undefined
    return true
  }

  async #flush(outlet: Outlet): Promise<void> {
    await outlet.sink.flush()
    if (outlet.dropped > 0 && this.#tellDropped(outlet)) await outlet.sink.flush()
  }

  #call(event: AuditEvent): void {
    if (this.#openCallbacks.size >= maxOpenCallbacks) {
      this.#callbackFailed(tooManyCallbacks)
      return
    }
    try {
      const returned = this.#callback?.(event)
      if (!isThenable(returned)) return
      const open: Promise<void> = Promise.resolve(returned).then(
        () => void this.#openCallbacks.delete(open),
        error => {
          this.#openCallbacks.delete(open)
          this.#callbackFailed(error)
        }
      )
      this.#openCallbacks.add(open)
    } catch (error) {
      this.#callbackFailed(error)
    }
  }

  #callbackFailed(error: unknown): void {
    this.#callbackFailures++
    this.#reporter.report('audit_callback', error)
  }
}

function sinksOf(options: AuditLoggerOptions, reporter: Reporter): AuditSink[] {
  const { path, callback, sink, flushIntervalMs, maxPendingBytes } = options
  const nothingElse = path === undefined && callback === undefined && sink === undefined
  const sinks: AuditSink[] = []
  if (path !== undefined) {
    sinks.push(
      new AuditFile({
        path,
        reporter,
        ...(flushIntervalMs !== undefined && { flushIntervalMs }),
        ...(maxPendingBytes !== undefined && { maxPendingBytes })
      })
    )
  }
  if (sink !== undefined) sinks.push(sink)
  if (options.console ?? nothingElse) sinks.push(new ConsoleSink(reporter))
  return sinks
}

function isSink(sink: Partial<AuditSink> | null): boolean {
  return [sink?.write, sink?.flush, sink?.close].every(method => typeof method === 'function')
}

async function closed(sink: AuditSink): Promise<void> {
  await sink.close()
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}
