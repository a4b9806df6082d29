/** Why `exchange.signal` fires, and how to know it again. */

/** One for all: a client that leaves should not cost a stack trace. */
export const clientGone: DOMException = new DOMException('The client is gone', 'AbortError')

/** Whether this was thrown because `exchange.signal` fired: no fault of the handler's, and nobody is left to tell. */
export function isClientGone(error: unknown): boolean {
  return error === clientGone || (error as { cause?: unknown } | null | undefined)?.cause === clientGone
}
