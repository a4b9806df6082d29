import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { test } from 'node:test'
import type { Exchange } from '../../../lib/http/exchange.ts'
import { LabelSet } from '../../../lib/metrics/metric.ts'
import {
  originCount,
  originLabels,
  originOf,
  requestKey,
  requestLabels
} from '../../../lib/metrics/series/request-labels.ts'

const methods = [
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'QUERY',
  'TRACE',
  'LOCK',
  '__proto__'
]
const kinds = [undefined, 'human', 'machine', 'unknown']
const statuses = [0, 101, 200, 404, 499, 500, 503, 999]
const outcomes = ['completed', 'aborted', 'failed']

/** Every request that differs in something, as far as its labels go. */
function* exchanges(): Generator<Exchange> {
  for (const method of methods) {
    for (const encrypted of [true, undefined]) {
      for (const kind of kinds) {
        for (const statusCode of statuses) {
          for (const outcome of outcomes) {
            const req = { method, httpVersionMajor: 1, socket: { encrypted } } as unknown as IncomingMessage
            yield { req, statusCode, outcome, user: kind && { kind } } as unknown as Exchange
          }
        }
      }
    }
  }
}

test('two keys are two label sets, and one key is one', () => {
  const texts = new Map<number, string>()
  for (const exchange of exchanges()) {
    const key = requestKey(exchange, originOf(exchange))
    assert.ok(Number.isInteger(key) && key >= 0 && key < 2 ** 30, `a small integer, got ${key}`)
    const { text } = new LabelSet(requestLabels(key, '/r'))
    assert.equal(texts.get(key) ?? text, text)
    texts.set(key, text)
  }
  assert.equal(new Set(texts.values()).size, texts.size)
})

test('labels say what the exchange says', () => {
  for (const exchange of exchanges()) {
    const { req, statusCode, outcome, user } = exchange
    const labels = Object.fromEntries(requestLabels(requestKey(exchange, originOf(exchange)), undefined))
    assert.deepEqual(labels, {
      http_request_method: methods.indexOf(req.method!) < 10 ? req.method : '_OTHER',
      url_scheme: (req.socket as { encrypted?: boolean }).encrypted ? 'https' : 'http',
      ...(statusCode === 0 ? {} : { http_response_status_code: String(statusCode) }),
      ...(statusCode >= 500
        ? { error_type: String(statusCode) }
        : outcome === 'completed'
          ? {}
          : { error_type: outcome }),
      caller_kind: user?.kind ?? 'anonymous'
    })
  }
})

test('every origin has labels of its own', () => {
  const texts = Array.from({ length: originCount }, (_, origin) => new LabelSet(originLabels(origin)).text)
  assert.equal(new Set(texts).size, originCount)
})
