import { createServer } from 'node:http'
import { pipeline } from '../../lib/http/pipeline.ts'
import { serve } from './serve.ts'

serve(
  createServer(
    pipeline().wrap((_req, res) => {
      res.writeHead(200, { 'Content-Type': 'application/json' })
      res.end('{"hello":"world"}')
    })
  )
)
