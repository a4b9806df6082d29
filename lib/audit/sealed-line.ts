/** The two kinds of lines that a sealed log adds to the events: one that opens it, and one that seals what came before. */
import type { Checkpoint } from './sealed-note.ts'

/** Says that a log begins or goes on here, and at which point of the chain. Written once a process and file. */
export interface Opening {
  readonly timestamp: string
  /** The name of the log, the origin of its checkpoints. */
  readonly origin: string
  /** Batches sealed so far, and the events in them. */
  readonly size: number
  readonly events: number
  readonly epoch: number
  /** That verifies the next seal; base64 of 32 bytes. */
  readonly public_key: string
  /** The roots of the perfect subtrees of the batches so far. */
  readonly tree: readonly string[]
  /** What was found before this line without a seal, as a crash leaves it. */
  readonly set_aside: SetAside | null
  /** Events that the process before this one had taken and could not store. */
  readonly lost_events: number
}

export interface SetAside {
  readonly lines: number
  readonly bytes: number
  readonly hash: string
}

/** Seals the lines since the seal or opening before it. */
export interface Seal {
  /** Batches, with this one. */
  readonly size: number
  /** Events in this batch, and since the beginning of the log. */
  readonly lines: number
  readonly events: number
  readonly epoch: number
  readonly keyId: string
  /** Verifies the seals of the next epoch; the present key is gone after this seal. */
  readonly nextKey: string | undefined
  readonly leaf: string
  readonly root: string
  readonly signature: string
  /** The part of the line that is part of the batch. */
  readonly head: string
}

/** What both kinds of lines begin with; no event may. */
export const reservedStart = '{"event_type":"log_'
/** A longer line is neither. */
export const maxReservedLine = 16_384

const openingStart = `${reservedStart}opened"`
const sealPattern = new RegExp(
  '^(\\{"event_type":"log_seal","timestamp":"[-0-9T:.Z+]{20,30}","size":(\\d{1,15}),"lines":(\\d{1,15}),' +
    '"events":(\\d{1,15}),"epoch":(\\d{1,15}),"key_id":"([0-9a-f]{8})"(?:,"next_key":"([A-Za-z0-9+/]{43}=)")?)' +
    ',"leaf":"([A-Za-z0-9+/]{43}=)","root":"([A-Za-z0-9+/]{43}=)","signature":"([A-Za-z0-9+/]{86}==)"\\}$'
)

/** Whether the line at these bytes may be one of the two. */
export function isReserved(bytes: Buffer, at: number, end: number): boolean {
  // An event begins with its timestamp: the third character tells.
  return (
    bytes[at + 2] === 0x65 &&
    end - at <= maxReservedLine &&
    bytes.toString('latin1', at, at + reservedStart.length) === reservedStart
  )
}

export function printOpening(opening: Opening): string {
  return JSON.stringify({ event_type: 'log_opened', ...opening })
}

/** @returns undefined when the line is no opening */
export function parseOpening(line: string): Opening | undefined {
  if (!line.startsWith(openingStart)) return undefined
  try {
    const opening = JSON.parse(line)
    return isOpening(opening) ? opening : undefined
  } catch {
    return undefined
  }
}

/** The part of a seal's line that is hashed with the batch. */
export function sealHead(timestamp: Date, seal: Omit<Seal, 'leaf' | 'root' | 'signature' | 'head'>): string {
  return (
    `{"event_type":"log_seal","timestamp":"${timestamp.toISOString()}","size":${seal.size},"lines":${seal.lines},` +
    `"events":${seal.events},"epoch":${seal.epoch},"key_id":"${seal.keyId}"` +
    (seal.nextKey === undefined ? '' : `,"next_key":"${seal.nextKey}"`)
  )
}

export function printSeal(head: string, leaf: string, { root }: Checkpoint, signature: string): string {
  return `${head},"leaf":"${leaf}","root":"${root}","signature":"${signature}"}`
}

/** @returns undefined when the line is no seal */
export function parseSeal(line: string): Seal | undefined {
  const parts = sealPattern.exec(line)
  if (parts === null) return undefined
  return {
    head: parts[1],
    size: Number(parts[2]),
    lines: Number(parts[3]),
    events: Number(parts[4]),
    epoch: Number(parts[5]),
    keyId: parts[6],
    nextKey: parts[7],
    leaf: parts[8],
    root: parts[9],
    signature: parts[10]
  }
}

function isOpening(value: Record<string, unknown>): value is Opening & Record<string, unknown> {
  const { timestamp, origin, size, events, epoch, public_key, tree, set_aside, lost_events } = value
  return (
    typeof timestamp === 'string' &&
    isOrigin(origin) &&
    [size, events, epoch, lost_events].every(isCount) &&
    isHash(public_key) &&
    Array.isArray(tree) &&
    tree.every(isHash) &&
    (set_aside === null || isSetAside(set_aside))
  )
}

function isSetAside(value: unknown): value is SetAside {
  const { lines, bytes, hash } = (value ?? {}) as Partial<SetAside>
  return isCount(lines) && isCount(bytes) && isHash(hash)
}

/** A name that can stand in a signed note. */
export function isOrigin(value: unknown): value is string {
  return typeof value === 'string' && /^[!-*,-~]{1,255}$/.test(value)
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** Base64 of 32 bytes. */
export function isHash(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9+/]{43}=$/.test(value)
}
