/** Looks at the end of a sealed log before the log goes on, and tells a crash from what a crash does not do. */
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { type ChainPoint, ChainReader } from './sealed-chain.ts'
import { maxReservedLine, parseSeal, type SetAside } from './sealed-line.ts'

export interface Tail {
  /** Where the chain goes on. */
  readonly point: ChainPoint
  /** Of the file. */
  readonly bytes: number
  /** What no seal covers, with the newline that the last line may still need. */
  readonly setAside: SetAside | null
  /** What is wrong with the file beyond what a crash leaves. */
  readonly damage: string | undefined
}

const readBytes = 262_144
const newline = Buffer.from('\n')

/**
 * @param point where the chain was when its state was last kept
 * @param offset where the last seal ended then
 */
export function readTail(path: string, point: ChainPoint, offset: number): Tail {
  const bytes = fileBytes(path)
  // Rotated away, or nothing was ever written; if it was emptied, the chain tells.
  if (bytes === 0) return { point, bytes, setAside: null, damage: undefined }
  const problems: string[] = []
  const reader = new ChainReader(
    { problem: (line, kind, text) => problems.push(`${kind}: ${text} (line ${line})`) },
    point
  )
  const from = endsInSeal(path, offset, point) ? offset : 0
  readInto(reader, path, from)
  const reached = reader.point
  const ahead = reached !== undefined && reached.tree.size >= point.tree.size
  const isOther = from === 0 && reached === point && point.tree.size > 0
  const damage = problems[0] ?? (isOther ? 'it does not hold the last seal' : undefined)
  return { point: ahead ? reached : point, bytes, setAside: setAsideOf(reader), damage }
}

/** What is in a file that the log goes on in although it is not its own, and whether its last line has no end. */
export function readForeign(path: string): { setAside: SetAside | null; torn: boolean } {
  const reader = new ChainReader({ problem() {} })
  const torn = readInto(reader, path, 0)
  return { setAside: setAsideOf(reader), torn }
}

/** Whether a file holds lines of a sealed log. */
export function isSealed(path: string): boolean {
  let found = false
  const find = (): void => {
    found = true
  }
  readInto(new ChainReader({ problem: find, opened: find }), path, 0)
  return found
}

/** 0 when it is not there. */
export function fileBytes(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

/** What no seal covers. */
export function setAsideOf(reader: ChainReader): SetAside | null {
  const { lines, bytes, hash } = reader.rest
  return bytes === 0 ? null : { lines, bytes, hash }
}

/** To the end, and as if the last line had an end, since it gets one before anything else is written; tells if it has none. */
function readInto(reader: ChainReader, path: string, from: number): boolean {
  if (fileBytes(path) === 0) return false
  const fd = openSync(path, 'r')
  try {
    const chunk = Buffer.allocUnsafe(readBytes)
    let last = newline
    let at = from
    for (let n = readSync(fd, chunk, 0, readBytes, at); n > 0; n = readSync(fd, chunk, 0, readBytes, at)) {
      reader.push(chunk.subarray(0, n))
      last = Buffer.from(chunk.subarray(n - 1, n))
      at += n
    }
    const torn = !last.equals(newline)
    if (torn) reader.push(newline)
    return torn
  } finally {
    closeSync(fd)
  }
}

/** Whether the seal of this point ends at this place of the file. */
function endsInSeal(path: string, offset: number, { tree }: ChainPoint): boolean {
  const from = Math.max(offset - maxReservedLine, 0)
  const bytes = Buffer.alloc(offset - from)
  const fd = openSync(path, 'r')
  try {
    if (readSync(fd, bytes, 0, bytes.length, from) < bytes.length || bytes.at(-1) !== newline[0]) return false
  } finally {
    closeSync(fd)
  }
  const text = bytes.toString('latin1', bytes.lastIndexOf(newline, bytes.length - 2) + 1, bytes.length - 1)
  const seal = parseSeal(text)
  return seal !== undefined && seal.size === tree.size && seal.root === tree.root().toString('base64')
}
