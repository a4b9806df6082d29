/** One client for all stacks: http/1, https and http/2, with every chunk seen as it arrives. */
import { request as requestHttp } from 'node:http'
import { connect } from 'node:http2'
import { request as requestHttps } from 'node:https'
import { localhostCertificate } from '../support/localhost-certificate.ts'

export interface Answer {
  status: number
  headers: Record<string, unknown>
  body: string
}

export type Protocol = 'http' | 'https' | 'http2'

/** @param onChunk sees each piece of the body before the next one arrives */
export function call(
  protocol: Protocol,
  port: number,
  path: string,
  token: string | undefined,
  onChunk: (chunk: string) => void = () => {}
): Promise<Answer> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  if (protocol === 'http2') return callHttp2(port, path, headers, onChunk)
  const request = protocol === 'http' ? requestHttp : requestHttps
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      path,
      headers,
      agent: false as const,
      ca: localhostCertificate
    }
    request(options, response => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        body += chunk
        onChunk(chunk)
      })
      response.on('error', reject)
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
    })
      .on('error', reject)
      .end()
  })
}

function callHttp2(
  port: number,
  path: string,
  headers: Record<string, string>,
  onChunk: (chunk: string) => void
): Promise<Answer> {
  const session = connect(`https://127.0.0.1:${port}`, { ca: localhostCertificate })
  return new Promise<Answer>((resolve, reject) => {
    const stream = session.request({ ':path': path, ...headers })
    let body = ''
    let answered: Record<string, unknown> = {}
    stream.setEncoding('utf8')
    stream.on('response', all => {
      answered = all
    })
    stream.on('data', (chunk: string) => {
      body += chunk
      onChunk(chunk)
    })
    stream.on('error', reject)
    session.on('error', reject)
    stream.on('close', () => resolve({ status: Number(answered[':status']), headers: answered, body }))
  }).finally(() => session.destroy())
}
