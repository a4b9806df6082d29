import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createSecureServer } from 'node:http2'
import { createServer as createTlsServer } from 'node:https'
import { createRequire } from 'node:module'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import middie from '@fastify/middie'
import connect from 'connect'
import express from 'express'
import fastify from 'fastify'
import polka from 'polka'
import { LocalIssuer } from '../../examples/local-issuer.ts'
import { type Gate, ostiary } from '../../lib/gate.ts'
import type { GuardedRequest, Next } from '../../lib/http/pipeline.ts'
import { localhostCertificate, localhostKey } from '../support/localhost-certificate.ts'
import { listen } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { call, type Protocol } from './client.ts'

// These have no types, or types of another major version.
const load = createRequire(import.meta.url)
const express4 = load('express4') as typeof express
const Koa = load('koa')
const koaConnect = load('koa-connect')

const audience = 'orders-api'
const tls = { key: localhostKey, cert: localhostCertificate }

/** What the applications do, in whatever form their stack wants it. */
interface Routes {
  hello(req: IncomingMessage, res: ServerResponse): void
  /** Three events; the second waits until the client has seen the first. */
  events(req: IncomingMessage, res: ServerResponse): void
  seen(): void
}

interface Stack {
  name: string
  protocol?: Protocol
  /** Where the gate is mounted; '' where the stack knows no prefixes. */
  prefix: string
  skip?: string | false
  /** The gate mounted twice, in front of `/hello`, `/events` and `/boom` below the prefix. */
  serve(t: TestContext, gate: Gate, routes: Routes): Promise<number> | number
}

function routes(): Routes {
  let seen: () => void = () => {}
  const first = new Promise<void>(resolve => {
    seen = resolve
  })
  return {
    hello: (req, res) => {
      res.setHeader('X-App', '1')
      res.end(`hello ${(req as GuardedRequest).user?.id}`)
    },
    events(_req, res) {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' })
      res.write('data: 1\n\n')
      void first.then(() => {
        res.write('data: 2\n\n')
        res.end('data: 3\n\n')
      })
    },
    seen: () => seen()
  }
}

/** A handler that finds its way by itself. */
function byHand({ hello, events }: Routes): (req: IncomingMessage, res: ServerResponse) => void {
  return (req, res) => {
    if (req.url === '/hello') hello(req, res)
    else if (req.url === '/events') events(req, res)
    else throw new Error('boom')
  }
}

function boom(_req: unknown, _res: unknown, next: Next): void {
  next(new Error('boom'))
}

function answerError(_error: unknown, _req: unknown, res: ServerResponse, _next: unknown): void {
  if (!res.headersSent) res.writeHead(500).end('the error handler of the stack')
}

function expressStack(name: string, framework: typeof express): Stack {
  return {
    name,
    prefix: '/api',
    serve(t, gate, { hello, events }) {
      const app = framework()
      app.use('/api', gate as never, gate as never)
      app.get('/api/hello', hello)
      app.get('/api/events', events)
      app.get('/api/boom', boom as never)
      app.use(answerError as never)
      return listen(t, createServer(app as RequestListener))
    }
  }
}

const stacks: Stack[] = [
  {
    name: 'http.createServer',
    prefix: '',
    serve: (t, gate, app) => listen(t, createServer(gate.wrap(gate.wrap(byHand(app)))))
  },
  {
    name: 'https.createServer',
    protocol: 'https',
    prefix: '',
    serve: (t, gate, app) => listen(t, createTlsServer(tls, gate.wrap(gate.wrap(byHand(app)))))
  },
  {
    name: 'http2.createSecureServer',
    protocol: 'http2',
    prefix: '',
    serve: (t, gate, app) =>
      listen(t, createSecureServer(tls, gate.wrap(gate.wrap(byHand(app))) as never) as unknown as Server)
  },
  {
    name: 'http2.createSecureServer with allowHTTP1, spoken to in http/1',
    protocol: 'https',
    prefix: '',
    serve: (t, gate, app) =>
      listen(
        t,
        createSecureServer(
          { ...tls, allowHTTP1: true },
          gate.wrap(gate.wrap(byHand(app))) as never
        ) as unknown as Server
      )
  },
  {
    name: 'Connect',
    prefix: '/api',
    serve(t, gate, { hello, events }) {
      const app = connect()
      app.use('/api', gate)
      app.use('/api', gate)
      app.use('/api/hello', hello)
      app.use('/api/events', events)
      app.use('/api/boom', boom as never)
      app.use(answerError as never)
      return listen(t, createServer(app))
    }
  },
  expressStack('Express 5', express),
  expressStack('Express 4', express4),
  {
    name: 'Polka',
    prefix: '/api',
    serve(t, gate, { hello, events }) {
      const app = polka({ onError: (_error, _req, res) => res.writeHead(500).end('the error handler') })
      app.use('/api', gate as never, gate as never)
      app.get('/api/hello', hello as never)
      app.get('/api/events', events as never)
      app.get('/api/boom', boom as never)
      return listen(t, createServer(app.handler as unknown as RequestListener))
    }
  },
  {
    name: 'Koa through koa-connect',
    prefix: '',
    serve(t, gate, app) {
      const koa = new Koa()
      koa.silent = true
      koa.use(koaConnect(gate)).use(koaConnect(gate))
      const handle = byHand(app)
      koa.use((context: { req: IncomingMessage; res: ServerResponse; respond: boolean; status: number }) => {
        context.status = 200
        handle(context.req, context.res)
        context.respond = false
      })
      return listen(t, createServer(koa.callback()))
    }
  },
  {
    name: 'Fastify through @fastify/middie',
    prefix: '/api',
    async serve(t, gate, { hello, events }) {
      const app = fastify()
      await app.register(middie)
      app.use('/api', gate as never)
      app.use('/api', gate as never)
      app.get('/api/hello', (request, reply) => {
        reply.hijack()
        hello(request.raw, reply.raw)
      })
      app.get('/api/events', (request, reply) => {
        reply.hijack()
        events(request.raw, reply.raw)
      })
      app.get('/api/boom', async () => {
        throw new Error('boom')
      })
      await app.ready()
      t.after(() => app.close())
      return listen(t, app.server)
    }
  },
  {
    name: 'Restify',
    prefix: '',
    skip:
      Number(process.versions.node.split('.')[0]) > 22 &&
      'restify 11 does not load on this Node: its spdy does not',
    serve(t, gate, { hello, events }) {
      const app = load('restify').createServer({ ignoreTrailingSlash: true })
      app.pre(gate)
      app.use(gate)
      app.get('/hello', (req: IncomingMessage, res: ServerResponse, next: Next) => {
        hello(req, res)
        next()
      })
      app.get('/events', (req: IncomingMessage, res: ServerResponse, next: Next) => {
        events(req, res)
        next()
      })
      app.get('/boom', boom)
      return listen(t, app.server)
    }
  },
  {
    name: 'Next-style handlers',
    prefix: '',
    serve(t, gate, app) {
      // As an API route exports them; the framework adds members to the response and calls them.
      const handle = byHand(app)
      const exported = gate.wrap(
        gate.wrap(async (req, res) => {
          if (req.url === '/hello') (res as ServerResponse & { status(code: number): unknown }).status(200)
          handle(req, res)
        })
      )
      return listen(
        t,
        createServer((req, res) => {
          const extended = Object.assign(res, {
            status(code: number) {
              res.statusCode = code
              return res
            }
          })
          exported(req, extended)
        })
      )
    }
  }
]

let issuer: LocalIssuer
before(async () => {
  issuer = await LocalIssuer.start({ audience })
})
after(() => issuer.close())

for (const { name, protocol = 'http', prefix, skip = false, serve } of stacks) {
  describe(name, { skip }, () => {
    test('lets in, refuses, limits, streams, fails, and audits each request once', async t => {
      const folder = temporaryFolder()
      const path = join(folder, 'audit.jsonl')
      const gate = ostiary({
        auth: { issuer: issuer.url, audience, jwks: issuer.jwks },
        rateLimit: { maxRequests: 4, windowSeconds: 60, clock: () => 0 },
        audit: { path },
        metrics: true,
        onReport() {}
      })
      t.after(async () => {
        await gate.close()
      })
      const app = routes()
      const port = await serve(t, gate, app)
      const token = await issuer.issue({ sub: 'jane', client_id: 'web' })
      const get = async (where: string, bearer: string | undefined, onChunk?: (chunk: string) => void) => {
        const { events } = gate.auditLogger!.stats
        const answer = await call(protocol, port, prefix + where, bearer, onChunk)
        // The end of an exchange may come a moment after the client has the answer.
        while (gate.auditLogger!.stats.events === events) await turn()
        return answer
      }

      const hello = await get('/hello', token)
      assert.equal(hello.body, 'hello jane')
      assert.equal(hello.status, 200)
      assert.equal(hello.headers['x-app'], '1')
      assert.match(String(hello.headers['ratelimit']), /r=3/)

      const refused = await get('/hello', undefined)
      assert.equal(refused.status, 401)
      assert.match(String(refused.headers['www-authenticate']), /^Bearer/)
      assert.equal(refused.headers['content-type'], 'application/problem+json')
      assert.equal(JSON.parse(refused.body).status, 401)

      let came = ''
      let alone = ''
      const streamed = await get('/events', token, chunk => {
        came += chunk
        // It may come in pieces. Until it is here there is no second.
        if (!came.includes('\n\n') || alone !== '') return
        alone = came
        app.seen()
      })
      assert.equal(streamed.status, 200)
      assert.equal(alone, 'data: 1\n\n', 'the first event came alone')
      assert.equal(streamed.body, 'data: 1\n\ndata: 2\n\ndata: 3\n\n')

      const failed = await get('/boom', token)
      assert.equal(failed.status, 500)
      assert.ok(!failed.body.includes('at '), 'no stack')

      assert.equal((await get('/hello', token)).status, 200)
      const limited = await get('/hello', token)
      assert.equal(limited.status, 429)
      assert.equal(Number(limited.headers['retry-after']), 60)

      await gate.flush()
      const events = (await readFile(path, 'utf8'))
        .trim()
        .split('\n')
        .map(line => JSON.parse(line))
      assert.deepEqual(
        events.map(event => [event.path, event.status_code, event.user_id]),
        [
          [`${prefix}/hello`, 200, 'jane'],
          [`${prefix}/hello`, 401, null],
          [`${prefix}/events`, 200, 'jane'],
          [`${prefix}/boom`, 500, 'jane'],
          [`${prefix}/hello`, 200, 'jane'],
          [`${prefix}/hello`, 429, 'jane']
        ]
      )
    })
  })
}
