/** Serves a listener on a free port, and calls it as a client would, printing what came back. */
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Shown {
  url: string
  /** Calls a path, prints the answer on one line, and gives its body. */
  show(path: string, token?: string, method?: string): Promise<string>
  close(): void
}

/** @param headers names of the response headers to print */
export async function serve(listener: RequestListener, headers: readonly string[] = []): Promise<Shown> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    async show(path, token, method = 'GET') {
      const answer = await fetch(url + path, {
        method,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` }
      })
      const body = (await answer.text()).trim()
      const fields = headers.flatMap(name =>
        answer.headers.has(name) ? [`${name}: ${answer.headers.get(name)}`] : []
      )
      console.log([`${method} ${path} -> ${answer.status}`, ...fields, body].join('  '))
      return body
    },
    close() {
      server.close()
      server.closeAllConnections()
    }
  }
}

/** What leaves the process as JSON is in snake_case. */
export function snakeCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCased)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name.replaceAll(/[A-Z]/g, letter => `_${letter.toLowerCase()}`),
      snakeCased(member)
    ])
  )
}
