/** The five-middleware stack on Express 5. */
import { createServer } from 'node:http'
import express, { type RequestHandler } from 'express'
import { fiveMiddlewares } from './five-middlewares.ts'
import { serve, setting } from './serve.ts'

const app = express()
for (const middleware of fiveMiddlewares(setting())) app.use(middleware as unknown as RequestHandler)
app.get('/', (_req, res) => {
  res.json({ hello: 'world' })
})
serve(createServer(app))
