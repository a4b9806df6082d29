/** The five-middleware stack on Connect. */
import { createServer } from 'node:http'
import connect from 'connect'
import { fiveMiddlewares } from './five-middlewares.ts'
import { serve, setting } from './serve.ts'

const app = connect()
for (const middleware of fiveMiddlewares(setting())) app.use(middleware)
app.use((_req, res) => {
  res.writeHead(200, { 'Content-Type': 'application/json' })
  res.end('{"hello":"world"}')
})
serve(createServer(app))
