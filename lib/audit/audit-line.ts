/** Prints exchanges as JSON lines, from string pieces: one line costs less than one `JSON.stringify`. */
import type { Exchange, Identity } from '../http/exchange.ts'
import type { WallClock } from '../http/wall-clock.ts'
import { AuditEvent } from './audit-event.ts'
import { jsonMember, jsonString, redacted } from './json-text.ts'
import { flat, PrintedPairs, PrintedTexts } from './printed-texts.ts'
import { PrintedTime } from './printed-time.ts'
import { RepeatedLines, type RepeatingSink } from './repeated-lines.ts'

/** Callers whose printed form is kept at hand, in each of two generations. */
const maxCallers = 8_192
/** `.000` to `.999` */
const decimals = Array.from({ length: 1_000 }, (_, i) => `.${String(i).padStart(3, '0')}`)

interface PrintedCaller {
  /** No two have the same. */
  readonly number: number
  readonly id: string
  readonly clientId: string | null
  readonly isM2M: boolean | null
  readonly evidence: string | undefined
  /** The fields. */
  readonly text: string
  /** The metadata. */
  readonly evidenceText: string
}

const nobody: PrintedCaller = {
  number: 0,
  id: '',
  clientId: null,
  isM2M: null,
  evidence: undefined,
  text: ',"user_id":null,"client_id":null,"is_m2m":null',
  evidenceText: ''
}

export class AuditLineFormat {
  readonly #clock: WallClock
  #callers = new Map<string, PrintedCaller>()
  /** Those before the last time there were too many: who comes again is taken over. */
  #earlierCallers = new Map<string, PrintedCaller>()
  readonly #userAgents = new PrintedTexts()
  readonly #clients = new PrintedPairs(
    (address, userAgent) =>
      `${address === undefined ? ',"ip_address":null' : `,"ip_address":"${address}"`},"user_agent":` +
      `${userAgent === undefined ? 'null' : this.#userAgents.of(userAgent)},"duration_ms":`
  )
  /** Paths, and what is printed of method and status. */
  readonly #targets = new PrintedPairs((path, answer) => `,"path":${jsonString(path as string)}${answer}`)
  /** Metadata of callers, and token ids: the end of most lines. */
  readonly #ends = new PrintedPairs(
    (evidence, tokenId) => `,"outcome":"completed"${evidence}${tokenMember(tokenId)}}`
  )
  readonly #repeated = new RepeatedLines()
  #callersSeen = 0
  readonly #time = new PrintedTime()
  /** The start of a line, the same for all of one kind that ends within a millisecond. */
  #startSecond = Number.NaN
  #startThousandths = 0
  #eventType: keyof typeof eventTexts = 'request_success'
  #startText = ''
  #method = ''
  #statusCode = -1
  /** Method and status of the last line: most have the same. */
  #answerText = ''

  constructor(clock: WallClock) {
    this.#clock = clock
  }

  /** The line of a request that has ended. */
  ofExchange(exchange: Exchange): string {
    const caller = this.#callerOf(exchange)
    this.#time.set(this.#clock.at(exchange.endedAt))
    return (
      this.#untilDuration(exchange, caller) +
      milliseconds(microsOf(exchange.durationMs)) +
      this.#afterDuration(exchange, caller)
    )
  }

  /**
   * Writes the line of a request that has ended. One that says what another said before, but for its time and duration, as
   * most do, is not printed again: the sink copies it.
   * @returns what the sink says
   */
  writeTo(sink: RepeatingSink, exchange: Exchange): boolean {
    const caller = this.#callerOf(exchange)
    const repeated = this.#repeated.for(caller.number, exchange, sink.filling)
    const micros = microsOf(exchange.durationMs)
    this.#time.set(this.#clock.at(exchange.endedAt))
    const isKnown = repeated?.says(caller, exchange)
    if (isKnown && sink.repeat(repeated!, this.#time, micros)) return true
    const start = this.#untilDuration(exchange, caller)
    const duration = milliseconds(micros)
    const line = start + duration + this.#afterDuration(exchange, caller)
    const { second } = this.#time
    if (!sink.write(line)) return false
    if (repeated === undefined || !(isKnown || repeated.isFree)) return true
    if (!isKnown) repeated.become(caller, exchange)
    repeated.length = line.length + 1
    repeated.durationAt = start.length
    repeated.durationLength = duration.length
    repeated.second = second
    sink.locate(repeated)
    return true
  }

  /** The event of a request that has ended, for those who want more than its line. */
  eventOf(exchange: Exchange): AuditEvent {
    const { user, denial, error } = exchange
    const userAgent = exchange.req.headers['user-agent']
    return new AuditEvent({
      ...(denial && { denied_by: denial.stage, reason: denial.reason }),
      ...(error !== undefined && exceptionOf(error)),
      ...(exchange.tokenId !== undefined && { token_id: exchange.tokenId }),
      ...(user?.evidence !== undefined && { caller_evidence: user.evidence }),
      outcome: exchange.outcome,
      eventType: eventTypeOf(exchange),
      userId: user?.id ?? null,
      clientId: user?.clientId ?? null,
      isM2M: user?.isM2M ?? null,
      path: redacted(exchange.path),
      method: exchange.req.method ?? null,
      statusCode: exchange.statusCode,
      ipAddress: exchange.clientAddress ?? null,
      userAgent: userAgent === undefined ? null : redacted(userAgent),
      durationMs: Math.round(exchange.durationMs * 1_000) / 1_000,
      timestamp: new Date(this.#clock.at(exchange.endedAt))
    })
  }

  #callerOf({ user }: Exchange): PrintedCaller {
    return user === undefined ? nobody : this.#caller(user)
  }

  #caller(user: Identity): PrintedCaller {
    const recent = this.#callers.get(user.key)
    if (recent !== undefined && isOf(recent, user)) return recent
    const earlier = this.#earlierCallers.get(user.key)
    const printed =
      earlier !== undefined && isOf(earlier, user) ? earlier : printedCaller(user, ++this.#callersSeen)
    if (this.#callers.size >= maxCallers) {
      this.#earlierCallers = this.#callers
      this.#callers = new Map()
    }
    this.#callers.set(user.key, printed)
    return printed
  }

  #untilDuration(exchange: Exchange, caller: PrintedCaller): string {
    const { req } = exchange
    return (
      this.#start(eventTypeOf(exchange)) +
      caller.text +
      this.#targets.of(exchange.path, this.#answer(req.method ?? '', exchange.statusCode)) +
      this.#clients.of(exchange.clientAddress, req.headers['user-agent'])
    )
  }

  #afterDuration(exchange: Exchange, caller: PrintedCaller): string {
    const { outcome, denial, error } = exchange
    const tokenId = exchange.tokenId === undefined ? undefined : String(exchange.tokenId)
    if (outcome === 'completed' && denial === undefined && error === undefined)
      return this.#ends.of(caller.evidenceText, tokenId)
    return (
      `,"outcome":"${outcome}"${caller.evidenceText}${tokenMember(tokenId)}` +
      (denial === undefined
        ? ''
        : `,"denied_by":${jsonString(denial.stage)},"reason":${jsonString(denial.reason)}`) +
      (error === undefined ? '}' : `${exceptionMembers(error)}}`)
    )
  }

  /** Up to the type of the event. */
  #start(eventType: keyof typeof eventTexts): string {
    const { second, thousandths } = this.#time
    if (
      thousandths !== this.#startThousandths ||
      second !== this.#startSecond ||
      eventType !== this.#eventType
    ) {
      this.#startSecond = second
      this.#startThousandths = thousandths
      this.#eventType = eventType
      this.#startText = this.#time.text + decimals[thousandths] + eventTexts[eventType]
    }
    return this.#startText
  }

  #answer(method: string, statusCode: number): string {
    if (statusCode !== this.#statusCode || method !== this.#method) {
      this.#method = method
      this.#statusCode = statusCode
      this.#answerText = `,"method":${jsonString(method)},"status_code":${statusCode}`
    }
    return this.#answerText
  }
}

function isOf(printed: PrintedCaller, { id, clientId, isM2M, evidence }: Identity): boolean {
  return (
    printed.id === id &&
    printed.clientId === clientId &&
    printed.isM2M === isM2M &&
    printed.evidence === evidence
  )
}

function printedCaller({ id, clientId, isM2M, evidence }: Identity, number: number): PrintedCaller {
  const fields = jsonMember('user_id', id) + jsonMember('client_id', clientId) + jsonMember('is_m2m', isM2M)
  const evidenceText = evidence === undefined ? '' : flat(jsonMember('caller_evidence', evidence))
  return { number, id, clientId, isM2M, evidence, text: flat(fields), evidenceText }
}

function tokenMember(tokenId: string | undefined): string {
  return tokenId === undefined ? '' : `,"token_id":${jsonString(tokenId)}`
}

/** From the end of the timestamp on. */
const eventTexts = {
  request_success: 'Z","event_type":"request_success"',
  request_error: 'Z","event_type":"request_error"',
  request_exception: 'Z","event_type":"request_exception"',
  auth_failure: 'Z","event_type":"auth_failure"',
  access_denied: 'Z","event_type":"access_denied"'
}

/** The names that the log's readers filter by. A status of 0 is a request that nobody answered. */
function eventTypeOf({ error, statusCode }: Exchange): keyof typeof eventTexts {
  if (error !== undefined) return 'request_exception'
  if (statusCode === 401) return 'auth_failure'
  if (statusCode === 403) return 'access_denied'
  return statusCode > 0 && statusCode < 400 ? 'request_success' : 'request_error'
}

function exceptionMembers(error: unknown): string {
  const { exception, exception_type } = exceptionOf(error)
  return jsonMember('exception', exception) + jsonMember('exception_type', exception_type)
}

function exceptionOf(error: unknown): { exception: string; exception_type: string } {
  if (error instanceof Error) {
    return {
      exception: redacted(String(error.message)),
      exception_type: String(error.constructor?.name ?? error.name)
    }
  }
  return {
    exception: typeof error === 'string' ? redacted(error) : `a thrown ${typeof error}`,
    exception_type: typeof error
  }
}

function microsOf(ms: number): number {
  return Math.round(ms * 1_000)
}

/** ms with three decimals, without formatting a floating-point number. */
function milliseconds(micros: number): string {
  const whole = Math.floor(micros / 1_000)
  return `${whole}${decimals[micros - whole * 1_000]}`
}
