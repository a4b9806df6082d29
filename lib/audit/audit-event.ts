/** One thing that happened, as the audit log keeps it. */
import { wrongOption } from '../options.ts'
import { jsonMember } from './json-text.ts'

export interface AuditEventFields {
  /** A stable snake_case name: `request_success`, `auth_failure`, `access_denied`, or one of your own. */
  eventType: string
  userId?: string | null
  clientId?: string | null
  isM2M?: boolean | null
  path?: string | null
  method?: string | null
  statusCode?: number | null
  ipAddress?: string | null
  userAgent?: string | null
  durationMs?: number | null
  /** Default: now. */
  timestamp?: Date
}

/** The fields, and beside them whatever else is worth keeping; metadata goes into the log under its own names. */
export type AuditEventInit = AuditEventFields & { readonly [metadata: string]: unknown }

/**
 * An audit event. Everything in `init` that is not one of the fields is metadata.
 * @throws TypeError when `eventType` is empty or `timestamp` is not a valid date
 */
export class AuditEvent {
  readonly eventType: string
  readonly userId: string | null
  readonly clientId: string | null
  readonly isM2M: boolean | null
  readonly path: string | null
  readonly method: string | null
  readonly statusCode: number | null
  readonly ipAddress: string | null
  readonly userAgent: string | null
  readonly durationMs: number | null
  readonly timestamp: Date
  readonly metadata: Readonly<Record<string, unknown>>

  constructor(init: AuditEventInit) {
    const {
      eventType,
      userId = null,
      clientId = null,
      isM2M = null,
      path = null,
      method = null,
      statusCode = null,
      ipAddress = null,
      userAgent = null,
      durationMs = null,
      timestamp = new Date(),
      ...metadata
    } = (init ?? {}) as AuditEventFields
    if (typeof eventType !== 'string' || eventType === '') {
      throw wrongOption('AuditEvent', 'eventType', 'a non-empty string', eventType)
    }
    if (!(timestamp instanceof Date) || Number.isNaN(timestamp.getTime())) {
      throw wrongOption('AuditEvent', 'timestamp', 'a valid Date', timestamp)
    }
    this.eventType = eventType
    this.userId = userId
    this.clientId = clientId
    this.isM2M = isM2M
    this.path = path
    this.method = method
    this.statusCode = statusCode
    this.ipAddress = ipAddress
    this.userAgent = userAgent
    this.durationMs = durationMs
    this.timestamp = timestamp
    this.metadata = metadata
  }

  /** The event in snake_case, metadata beside the fields; a field wins over metadata of the same name. */
  toDict(): Record<string, unknown> {
    const fields = {
      timestamp: this.timestamp.toISOString(),
      event_type: this.eventType,
      user_id: this.userId,
      client_id: this.clientId,
      is_m2m: this.isM2M,
      path: this.path,
      method: this.method,
      status_code: this.statusCode,
      ip_address: this.ipAddress,
      user_agent: this.userAgent,
      duration_ms: this.durationMs
    }
    return { ...fields, ...this.metadata, ...fields }
  }

  /** What `JSON.stringify` prints. The audit log itself prints `toJson`, which escapes and redacts more. */
  toJSON(): Record<string, unknown> {
    return this.toDict()
  }

  /** The event as the log keeps it: one line, printable ASCII, bounded, and without what looks like a token. */
  toJson(): string {
    const { timestamp, ...members } = this.toDict()
    let line = `{"timestamp":"${timestamp}"`
    for (const name of Object.keys(members)) line += jsonMember(name, members[name])
    return `${line}}`
  }
}
