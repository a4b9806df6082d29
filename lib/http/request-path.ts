/** The path of a request: what filters decide on and logs show. */
import type { IncomingMessage } from 'node:http'

// The authority ends where a URL parser ends it: what hides a path behind `\\` or `#` keeps that character.
const absoluteForm = /^[a-z][a-z0-9+.-]*:\/\/[^/\\?#]*/i

/** The path without the query, as received: never decoded, and not what a mount made of it. */
export function pathOf(req: IncomingMessage): string {
  const url = (req as { originalUrl?: string }).originalUrl ?? req.url ?? ''
  // Absolute form (RFC 9112, section 3.2.2): the authority may hold a password, and is not the path.
  const target = url.charCodeAt(0) === 0x2f ? url : url.replace(absoluteForm, '')
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  return path === '' ? '/' : path
}
