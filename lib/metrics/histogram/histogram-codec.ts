/** The binary formats of HdrHistogram: writes V2, reads V2, V1 and V0, each plain or compressed. All is big-endian. */
import { deflateSync, constants as flush, inflateSync } from 'node:zlib'
import { BucketLayout } from './bucket-layout.ts'
import { type Counts, OwnCounts } from './histogram-counts.ts'
import { HistogramError } from './histogram-error.ts'
import { maxZigZagBytes, writeZigZag, ZigZagReader } from './zigzag.ts'

/** The format's version, and whether it is the compressed form, by the cookie without its bits 4 to 7. */
const kinds = new Map<number, { version: 0 | 1 | 2; compressed: boolean }>([
  [0x1c849308, { version: 0, compressed: false }],
  [0x1c849309, { version: 0, compressed: true }],
  [0x1c849301, { version: 1, compressed: false }],
  [0x1c849302, { version: 1, compressed: true }],
  [0x1c849303, { version: 2, compressed: false }],
  [0x1c849304, { version: 2, compressed: true }]
])
const cookieV2 = 0x1c849313
const cookieV2Compressed = 0x1c849314
const doubleCookies = [0x0c72124e, 0x0c72124f]

/** Enough of a zlib stream for its first 40 bytes, yet no more than 1 MiB when it is inflated. */
const headProbeBytes = 1024

export interface Decoded {
  layout: BucketLayout
  counts: OwnCounts
}

/**
 * V2, uncompressed:
 *
 * ```
 * cookie │ payload length │ index offset │ digits │ lowest  │ highest │ ratio    │ payload
 * int32  │ int32          │ int32, 0     │ int32  │ int64   │ int64   │ double 1 │ zigzag numbers
 * ```
 *
 * The payload goes up to the last counter in use: a count, or a negative number for a run of that many zeros.
 */
export function encode(layout: BucketLayout, counts: Counts): Uint8Array {
  // A count takes 9 bytes at most, a run of zeros no more than those of one.
  const buffer = Buffer.allocUnsafe(41 + maxZigZagBytes * counts.length)
  let at = 40
  let written = 0
  for (let i = counts.nextInUse(0); i < counts.length; i = counts.nextInUse(i + 1)) {
    const zeros = i - written
    if (zeros > 0) at = writeZigZag(buffer, at, zeros === 1 ? 0 : -zeros)
    at = writeZigZag(buffer, at, counts.get(i))
    written = i + 1
  }
  if (at === 40) at = writeZigZag(buffer, at, 0)
  buffer.writeUInt32BE(cookieV2, 0)
  buffer.writeUInt32BE(at - 40, 4)
  buffer.writeUInt32BE(0, 8)
  buffer.writeUInt32BE(layout.significantDigits, 12)
  buffer.writeBigInt64BE(BigInt(layout.lowest), 16)
  buffer.writeBigInt64BE(BigInt(layout.highest), 24)
  buffer.writeDoubleBE(1, 32)
  return new Uint8Array(buffer.subarray(0, at))
}

export function compress(encoded: Uint8Array): Uint8Array {
  const deflated = deflateSync(encoded)
  const buffer = Buffer.alloc(8 + deflated.length)
  buffer.writeUInt32BE(cookieV2Compressed, 0)
  buffer.writeUInt32BE(deflated.length, 4)
  buffer.set(deflated, 8)
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)
}

/** @throws HistogramError when the bytes are no histogram; memory stays bounded by the configuration they claim */
export function decode(bytes: Uint8Array): Decoded {
  const { version, compressed } = kindOf(bytes)
  if (!compressed) return decodePlain(bytes)
  const declared = viewOf(bytes).getUint32(4)
  if (declared !== bytes.length - 8) {
    throw wrongLength(`${declared} compressed bytes are declared, there are ${bytes.length - 8}`)
  }
  const stream = bytes.subarray(8)
  const head = inflated(stream.subarray(0, headProbeBytes), headProbeBytes * 1100, true)
  const inner = kindOf(head)
  if (inner.version !== version || inner.compressed) throw unknownFormat('holds another kind of histogram')
  const header = readHeader(head)
  const plain = inflated(
    stream,
    header.length + Math.min(header.payloadLength, header.maxPayloadLength),
    false
  )
  return decodePlain(plain)
}

/** @throws HistogramError when the text is not base64 */
export function bytesOfBase64(text: string): Uint8Array {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw unknownFormat('the text is not base64')
  return Buffer.from(text, 'base64')
}

interface Header {
  version: 0 | 1 | 2
  /** Of the header itself, in bytes. */
  length: number
  wordBytes: number
  /** Infinity where the format does not tell. */
  payloadLength: number
  maxPayloadLength: number
  layout: BucketLayout
}

function decodePlain(bytes: Uint8Array): Decoded {
  const header = readHeader(bytes)
  const payload = bytes.subarray(header.length)
  const declared = header.payloadLength
  // The C library counted the header too.
  if (declared !== Number.POSITIVE_INFINITY && declared !== payload.length && declared !== bytes.length) {
    throw wrongLength(`${declared} bytes of counts are declared, there are ${payload.length}`)
  }
  const { layout } = header
  // Of V2, a count takes a byte or two, mostly.
  const counters = Math.ceil(payload.length / (header.version === 2 ? 2 : header.wordBytes))
  const counts = new OwnCounts(layout.length, counters)
  if (header.version === 2) readZigZags(payload, layout, counts)
  else readWords(payload, header.wordBytes, layout, counts)
  return { layout, counts }
}

/**
 * The index offset is not looked at: it says where the writer kept its counters, the payload starts at value 0 all the
 * same, in the Java reference as in the JavaScript port, which always claims an offset of 1.
 */
function readHeader(bytes: Uint8Array): Header {
  const { version } = kindOf(bytes)
  const length = version === 0 ? 32 : 40
  if (bytes.length < length) throw wrongLength(`the header has ${length} bytes, there are ${bytes.length}`)
  const view = viewOf(bytes)
  const at = version === 0 ? 4 : 12
  const layout = layoutOf(view.getInt32(at), view.getBigInt64(at + 4), view.getBigInt64(at + 12))
  const wordBytes = version === 2 ? maxZigZagBytes : ((bytes[3]! & 0xf0) >> 4) & 0xe
  if (![2, 4, 8, maxZigZagBytes].includes(wordBytes)) throw unknownFormat(`has words of ${wordBytes} bytes`)
  return {
    version,
    length,
    wordBytes,
    payloadLength: version === 0 ? Number.POSITIVE_INFINITY : view.getUint32(4),
    maxPayloadLength: layout.length * wordBytes,
    layout
  }
}

/** A highest value beyond 2^53 - 1, as Java's resizing histograms claim, is taken as that. */
function layoutOf(significantDigits: number, lowest: bigint, highest: bigint): BucketLayout {
  const largest = BigInt(Number.MAX_SAFE_INTEGER)
  try {
    return new BucketLayout({
      significantDigits,
      lowest: Number(lowest),
      highest: Number(highest > largest ? largest : highest)
    })
  } catch (error) {
    throw new HistogramError('ERR_HISTOGRAM_RANGE', (error as Error).message, { cause: error })
  }
}

function readZigZags(payload: Uint8Array, layout: BucketLayout, counts: OwnCounts): void {
  const reader = new ZigZagReader(payload)
  let index = 0
  while (!reader.done) {
    const count = reader.next()
    const next = index + (count < 0 ? -count : 1)
    if (next > layout.length) {
      throw outOfRange(`counts go on to index ${next - 1}, there are ${layout.length} counters`)
    }
    if (count > 0) counts.add(index, count)
    index = next
  }
}

function readWords(payload: Uint8Array, wordBytes: number, layout: BucketLayout, counts: OwnCounts): void {
  const view = viewOf(payload)
  if (payload.length % wordBytes !== 0) throw wrongLength('the bytes end within a count')
  if (payload.length / wordBytes > layout.length) {
    throw outOfRange(`${payload.length / wordBytes} counts, there are ${layout.length} counters`)
  }
  for (let at = 0; at < payload.length; at += wordBytes) {
    const count =
      wordBytes === 2 ? view.getInt16(at) : wordBytes === 4 ? view.getInt32(at) : Number(view.getBigInt64(at))
    if (!Number.isSafeInteger(count) || count < 0) {
      throw outOfRange(`a count of ${count} is not between 0 and 2^53 - 1`)
    }
    if (count > 0) counts.add(at / wordBytes, count)
  }
}

function kindOf(bytes: Uint8Array): { version: 0 | 1 | 2; compressed: boolean } {
  if (bytes.length < 8) throw wrongLength(`a histogram has 8 bytes at least, there are ${bytes.length}`)
  const cookie = (viewOf(bytes).getUint32(0) & ~0xf0) >>> 0
  const kind = kinds.get(cookie)
  if (kind !== undefined) return kind
  if (doubleCookies.some(known => (known & ~0xf0) >>> 0 === cookie)) {
    throw unknownFormat('is a histogram of doubles, which is not supported')
  }
  throw unknownFormat('does not begin like a histogram')
}

/** @param partial the bytes may stop anywhere; what can be had of them is given */
function inflated(stream: Uint8Array, maxOutputLength: number, partial: boolean): Uint8Array {
  try {
    return inflateSync(stream, {
      maxOutputLength,
      ...(partial ? { finishFlush: flush.Z_SYNC_FLUSH } : undefined)
    })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ERR_BUFFER_TOO_LARGE')
      throw wrongLength('more is compressed than the header declares', error)
    if (code === 'Z_BUF_ERROR') throw wrongLength('the compressed bytes end too early', error)
    throw unknownFormat('the compressed bytes are damaged', error)
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function unknownFormat(reason: string, cause?: unknown): HistogramError {
  return new HistogramError('ERR_HISTOGRAM_FORMAT', `Histogram: cannot decode, ${reason}`, { cause })
}

function wrongLength(reason: string, cause?: unknown): HistogramError {
  return new HistogramError('ERR_HISTOGRAM_LENGTH', `Histogram: cannot decode, ${reason}`, { cause })
}

function outOfRange(reason: string): HistogramError {
  return new HistogramError('ERR_HISTOGRAM_RANGE', `Histogram: cannot decode, ${reason}`)
}
