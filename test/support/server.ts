/** Starts real servers on free loopback ports and talks to them in raw bytes. */
import { once } from 'node:events'
import { type AddressInfo, connect, type Server } from 'node:net'
import type { TestContext } from 'node:test'

/**
 * Listens on a free port; the server and its connections are gone when the test ends. Until then it closes no idle connection:
 * on a machine that is slow enough the client may just be sending the next request on it.
 */
export async function listen(t: TestContext, server: Server): Promise<number> {
  if ('keepAliveTimeout' in server) server.keepAliveTimeout = 0
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    ;(server as Server & { closeAllConnections?: () => void }).closeAllConnections?.()
  })
  return (server.address() as AddressInfo).port
}

/** Sends bytes, half-closes nothing, and gives everything that comes back until the server closes the connection. */
export async function converse(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.setEncoding('latin1')
  socket.write(request, 'latin1')
  let answer = ''
  for await (const chunk of socket) answer += chunk
  return answer
}
