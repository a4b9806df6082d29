/** The same answer behind Ostiary's gate, with the stages that the setting names. */
import { truncateSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { type GateOptions, ostiary } from '../../lib/index.ts'
import { serve, setting } from './serve.ts'

const { issuer, audience, jwks, folder, stages } = setting()
const options = {
  // As long as fast-jwt keeps what it verified.
  auth: { issuer, audience, jwks, cache: { maxAgeSeconds: 600 } },
  rateLimit: {
    maxRequests: 1_000_000,
    windowSeconds: 1,
    ...(stages.includes('draft-11') && { headers: ['draft-11'] })
  },
  audit: { path: join(folder, 'audit.jsonl') },
  usage: { sqlite: join(folder, 'usage.db') },
  metrics: true
} satisfies GateOptions
const chosen = Object.fromEntries(Object.entries(options).filter(([stage]) => stages.includes(stage)))
// A log that grows for as long as the load lasts would fill a disk.
if (stages.includes('soak')) setInterval(() => truncateSync(options.audit.path), 5_000)
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
