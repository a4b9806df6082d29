/** A load generator with the arguments and the answer of wrk with wrk.lua, where there is no wrk or the load is pipelined. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import autocannon from 'autocannon'
import { Histogram } from '../../lib/metrics/histogram/histogram.ts'

const shares = [0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999]

const { values, positionals } = parseArgs({
  options: {
    connections: { type: 'string', default: '1' },
    pipelining: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '1' }
  },
  allowPositionals: true
})
const [url, file] = positionals
const connections = Number(values.connections)
const tokens = readFileSync(file, 'utf8').split('\n')
// Its own latencies are in whole ms, so they are recorded here.
const latencies = new Histogram({ highest: 3_600_000_000, significantDigits: 3 })

let clients = 0
const running = autocannon(
  {
    url,
    connections,
    pipelining: Number(values.pipelining),
    duration: Number(values.seconds),
    // Else it would give up what it waited for while it was stopped.
    timeout: 3_600,
    requests: [requestWith(tokens[0])],
    ...(tokens.length > 1 && { setupClient: client => client.setRequests(shareOf(clients++)) })
  },
  (error, result) => {
    if (error) throw error
    const seen = {
      requests: result.requests.total,
      seconds: result.duration,
      refused: result.non2xx,
      errors: result.errors,
      latency: shares.map(share => [share, latencies.percentile(share * 100) / 1_000])
    }
    process.stdout.write(`${JSON.stringify(seen)}\n`)
  }
)
running.on('response', (_client, _status, _bytes, ms) => latencies.record(ms * 1_000))
process.on('SIGINT', () => running.stop())

function shareOf(client: number): autocannon.Request[] {
  return tokens.filter((_, i) => i % connections === client % connections).map(requestWith)
}

function requestWith(token: string): autocannon.Request {
  return { method: 'GET', path: '/', headers: { authorization: `Bearer ${token}` } }
}
