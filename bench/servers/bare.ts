/** A server that does nothing but answer. */
import { createServer } from 'node:http'
import { serve } from './serve.ts'

serve(
  createServer((_req, res) => {
    res.writeHead(200, { 'Content-Type': 'application/json' })
    res.end('{"hello":"world"}')
  })
)
