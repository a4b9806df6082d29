import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import { test } from 'node:test'
import express from 'express'
import { fastify } from 'fastify'
import { MemorySocket } from '../../bench/harness/memory-socket.ts'

const request = 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'
const requests = 250

function socketOf(handler: RequestListener): MemorySocket {
  const server = createServer(handler)
  const socket = new MemorySocket(request)
  server.emit('connection', socket)
  return socket
}

const expressApp = express().get('/', (_req, res) => {
  res.json({ hello: 'world' })
})
const fastifyApp = fastify().get('/', () => ({ hello: 'world' }))
await fastifyApp.ready()

const handlers: Record<string, RequestListener> = {
  'of known length, in one piece': (_req, res) => {
    res.writeHead(200, { 'Content-Length': 2 }).end('ok')
  },
  'in chunks': (_req, res) => {
    res.writeHead(200).end('ok')
  },
  'in several chunks, over turns of the event loop': (_req, res) => {
    res.writeHead(200).write('o')
    setImmediate(() => res.end('k'))
  },
  'of Express, whose last write is empty': (req, res) => expressApp(req, res),
  'of Fastify': (req, res) => fastifyApp.routing(req, res)
}

for (const [name, handler] of Object.entries(handlers)) {
  test(`counts each answer once: ${name}`, async () => {
    let handled = 0
    const socket = socketOf((req, res) => {
      handled++
      handler(req, res)
    })
    await socket.send(requests)
    assert.equal(handled, requests)
    await socket.send(1)
    assert.equal(handled, requests + 1)
  })
}

test('rejects when a request is refused', async () => {
  let handled = 0
  const socket = socketOf((_req, res) => {
    handled++
    res.writeHead(handled === 3 ? 429 : 200).end('ok')
  })
  await assert.rejects(socket.send(10), /429 Too Many Requests/)
  assert.equal(handled, 3)
})

test('sends one lot at a time', async () => {
  const socket = socketOf((_req, res) => {
    res.writeHead(200).end('ok')
  })
  const first = socket.send(2)
  assert.throws(() => socket.send(1), /not answered yet/)
  await first
})
