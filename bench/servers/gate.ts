/** The same answer behind Ostiary's gate, with the stages that the setting names. */
import { createServer } from 'node:http'
import { join } from 'node:path'
import { type GateOptions, ostiary } from '../../lib/index.ts'
import { serve, setting } from './serve.ts'

const { issuer, audience, jwks, folder, stages } = setting()
const options: Required<Pick<GateOptions, 'auth' | 'rateLimit' | 'audit' | 'usage' | 'metrics'>> = {
  auth: { issuer, audience, jwks },
  rateLimit: { maxRequests: 1_000_000, windowSeconds: 1 },
  audit: { path: join(folder, 'audit.jsonl') },
  usage: { sqlite: join(folder, 'usage.db') },
  metrics: true
}
const chosen = Object.fromEntries(Object.entries(options).filter(([stage]) => stages.includes(stage)))
const gate = ostiary(chosen)
await gate.ready()
serve(
  createServer(
    gate.wrap((_req, res) => {
      res.writeHead(200, { 'Content-Type': 'application/json' })
      res.end('{"hello":"world"}')
    })
  )
)
