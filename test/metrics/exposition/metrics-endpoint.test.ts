import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { type TestContext, test } from 'node:test'
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { exchangeOf } from '../../../lib/http/exchange.ts'
import { type Middleware, pipeline } from '../../../lib/http/pipeline.ts'
import {
  type MetricsEndpointOptions,
  metricsEndpoint
} from '../../../lib/metrics/exposition/metrics-endpoint.ts'
import { MetricRegistry } from '../../../lib/metrics/metric-registry.ts'
import { converse, listen } from '../../support/server.ts'
import { sampleOf } from '../samples.ts'

type Auth = Pick<MetricsEndpointOptions, 'auth'>

function registryWith(read: () => number = () => 5): MetricRegistry {
  const registry = new MetricRegistry()
  registry.source(read, [{ name: 'answer', type: 'gauge', help: 'The answer.', value: value => value }])
  return registry
}

async function serve(t: TestContext, options: Partial<MetricsEndpointOptions>, ...before: Middleware[]) {
  const endpoint = metricsEndpoint({ registry: registryWith(), ...options })
  const port = await listen(
    t,
    createServer(before.length === 0 ? endpoint : pipeline(...before).wrap(endpoint))
  )
  return (headers: Record<string, string> = {}, method = 'GET') =>
    fetch(`http://127.0.0.1:${port}/metrics`, { headers, method })
}

const signedIn: Middleware = (req, _res, next) => {
  exchangeOf(req).user = {
    id: 'x',
    key: 'user:x',
    name: null,
    email: null,
    kind: 'machine',
    isM2M: true,
    clientId: 'x',
    scopes: []
  }
  next()
}

test('opened on purpose, it answers anyone in the format that is asked for', async t => {
  const scrape = await serve(t, { auth: false, protobuf: true })
  const table = [
    ['*/*', 'text/plain; version=0.0.4; charset=utf-8'],
    ['application/json', 'application/json'],
    ['application/openmetrics-text', 'application/openmetrics-text; version=1.0.0; charset=utf-8'],
    [
      'application/vnd.google.protobuf',
      'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited'
    ]
  ]
  for (const [accept, contentType] of table) {
    const res = await scrape({ accept })
    assert.equal(res.status, 200)
    assert.equal(res.headers.get('content-type'), contentType)
    assert.equal(res.headers.get('vary'), 'Accept, Accept-Encoding')
    assert.equal(res.headers.get('cache-control'), 'no-store')
    assert.equal(Number(res.headers.get('content-length')), (await res.arrayBuffer()).byteLength)
  }
  assert.equal(sampleOf(await (await scrape()).text(), 'answer'), 5)
})

test('protobuf and _created are only for those who turned them on', async t => {
  const scrape = await serve(t, { auth: false })
  const res = await scrape({ accept: 'application/vnd.google.protobuf' })
  assert.match(res.headers.get('content-type')!, /^text\/plain/)
})

test('by default, an authenticated caller may read and an anonymous one may not', async t => {
  const closed = await serve(t, {})
  const res = await closed()
  assert.equal(res.status, 401)
  assert.equal(res.headers.get('www-authenticate'), 'Bearer')
  assert.ok(!(await res.text()).includes('answer'))
  const open = await serve(t, {}, signedIn)
  assert.equal((await open()).status, 200)
})

test('a predicate decides, and only true is a yes', async t => {
  const table: [Auth['auth'], Middleware[], number][] = [
    [{ allow: () => true }, [], 200],
    [{ allow: async req => req.headers['x-key'] === 'k' }, [], 200],
    [{ allow: () => false }, [], 401],
    [{ allow: async () => false }, [], 401],
    [{ allow: () => false }, [signedIn], 403],
    [{ allow: (_req, exchange) => exchange.user?.isM2M === true }, [signedIn], 200],
    [{ allow: (() => 'yes') as never }, [], 401],
    [{ allow: (() => undefined) as never }, [], 401],
    [
      {
        allow: () => {
          throw new Error('broken')
        }
      },
      [],
      500
    ],
    [
      {
        allow: async () => {
          throw new Error('broken')
        }
      },
      [],
      500
    ]
  ]
  t.mock.method(process, 'emitWarning', () => {})
  for (const [i, [auth, before, status]] of table.entries()) {
    const scrape = await serve(t, { auth: auth! }, ...before)
    assert.equal((await scrape({ 'x-key': 'k' })).status, status, `row ${i}`)
  }
})

test('middleware refuses by itself, and all of a list must pass', async t => {
  const basic: Middleware = (req, res, next) => {
    if (req.headers.authorization === 'Basic c2NyYXBlOnI=') next()
    else res.writeHead(401, { 'WWW-Authenticate': 'Basic realm="metrics"' }).end()
  }
  for (const auth of [basic, [basic], [signedIn, basic]]) {
    const scrape = await serve(t, { auth })
    assert.equal((await scrape()).status, 401)
    assert.equal((await scrape({ authorization: 'Basic c2NyYXBlOnI=' })).status, 200)
  }
})

test('only GET and HEAD, and HEAD has no body', async t => {
  const scrape = await serve(t, { auth: false })
  const refused = await scrape({}, 'POST')
  assert.equal(refused.status, 405)
  assert.equal(refused.headers.get('allow'), 'GET, HEAD')
  const head = await scrape({}, 'HEAD')
  assert.equal(head.status, 200)
  assert.ok(Number(head.headers.get('content-length')) > 100)
  assert.equal(await head.text(), '')
})

/** A registry whose answer is of some 20 KB, always the same. */
function longRegistry(): MetricRegistry {
  const registry = new MetricRegistry()
  const rows = Array.from({ length: 500 }, (_, i) => [[`würde ${i}`], i] as const)
  registry.source(
    () => rows,
    [{ name: 'rows', type: 'gauge', help: 'Rows.', labels: ['i'], value: all => all }]
  )
  return registry
}

interface RawAnswer {
  head: string
  length: number
  body: Buffer
}

async function rawScrape(port: number, acceptEncoding?: string, method = 'GET'): Promise<RawAnswer> {
  const encoding = acceptEncoding === undefined ? '' : `Accept-Encoding: ${acceptEncoding}\r\n`
  const answer = await converse(
    port,
    `${method} / HTTP/1.1\r\nHost: a\r\n${encoding}Connection: close\r\n\r\n`
  )
  const end = answer.indexOf('\r\n\r\n')
  const head = answer.slice(0, end)
  const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1])
  return { head, length, body: Buffer.from(answer.slice(end + 4), 'latin1') }
}

test('a long answer is compressed for those who accept it', async t => {
  const registry = longRegistry()
  const port = await listen(t, createServer(metricsEndpoint({ registry, auth: false })))
  const plain = await rawScrape(port)
  assert.equal(plain.body.toString(), registry.toPrometheus())
  for (const accepted of ['gzip', 'deflate, gzip;q=0.5', '*', 'x-gzip', 'identity;q=0.1, gzip;q=0.2']) {
    const { head, length, body } = await rawScrape(port, accepted)
    assert.match(head, /^content-encoding: gzip$/im, accepted)
    assert.match(head, /^vary: Accept, Accept-Encoding$/im)
    assert.match(head, /^content-type: text\/plain; version=0\.0\.4; charset=utf-8$/im)
    assert.equal(length, body.length)
    assert.ok(body.length < plain.body.length / 3, `${body.length} of ${plain.body.length} bytes`)
    assert.deepEqual(gunzipSync(body), plain.body)
    const asked = await rawScrape(port, accepted, 'HEAD')
    assert.deepEqual([asked.length, asked.body.length], [length, 0])
    assert.match(asked.head, /^content-encoding: gzip$/im)
  }
  const together = await Promise.all(Array.from({ length: 5 }, () => rawScrape(port, 'gzip')))
  for (const { body } of together) assert.deepEqual(gunzipSync(body), plain.body)
})

test('an answer goes out as it is to those who do not ask for less, when it is short, or when told so', async t => {
  const long = await listen(t, createServer(metricsEndpoint({ registry: longRegistry(), auth: false })))
  const short = await listen(t, createServer(metricsEndpoint({ registry: registryWith(), auth: false })))
  const off = metricsEndpoint({ registry: longRegistry(), auth: false, gzip: false })
  const never = await listen(t, createServer(off))
  for (const encoding of [
    undefined,
    '',
    'br',
    'gzip;q=0',
    'gzip;q=0, *',
    'identity, gzip;q=0.9',
    'gzip;q=2'
  ]) {
    const { head, length, body } = await rawScrape(long, encoding)
    assert.doesNotMatch(head, /content-encoding/i, encoding)
    assert.match(head, /^vary: Accept, Accept-Encoding$/im)
    assert.equal(length, body.length)
    assert.match(body.toString(), /^rows\{i="würde 499"\} 499$/m)
  }
  assert.doesNotMatch((await rawScrape(short, 'gzip')).head, /content-encoding/i)
  const { head, body } = await rawScrape(never, 'gzip')
  assert.doesNotMatch(head, /content-encoding/i)
  assert.match(head, /^vary: Accept$/im)
  assert.match(body.toString(), /^rows\{i="würde 499"\} 499$/m)
})

test('scrapes that come together share one reading, one that comes later has its own', async t => {
  let reads = 0
  const registry = new MetricRegistry()
  registry.source(() => ++reads, [{ name: 'reads', type: 'gauge', help: 'Reads.', value: value => value }])
  const waiting: (() => void)[] = []
  // When requests arrive is the kernel's business: they go on together when all twenty are there.
  const together: Middleware = (_req, _res, next) => {
    if (waiting.push(next) === 20) for (const goOn of waiting) goOn()
    else if (waiting.length > 20) next()
  }
  const scrape = await serve(t, { registry, auth: together })
  const texts = await Promise.all(Array.from({ length: 20 }, () => scrape().then(res => res.text())))
  assert.equal(new Set(texts).size, 1)
  assert.equal(sampleOf(texts[0], 'reads'), 1)
  assert.equal(sampleOf(await (await scrape()).text(), 'reads'), 2)
})

test('a registry that must ask others first is asked once for all who wait', async t => {
  let arrived = 0
  const counted: Middleware = (_req, _res, next) => {
    arrived++
    next()
  }
  class Distant extends MetricRegistry {
    asked = 0
    told = 0
    async refresh(): Promise<void> {
      this.asked++
      while (arrived < 2) await wait(1)
      this.told = this.asked
    }
  }
  const registry = new Distant()
  registry.source(
    () => registry.told,
    [{ name: 'told', type: 'gauge', help: 'Told.', value: value => value }]
  )
  const scrape = await serve(t, { registry, auth: false }, counted)
  const answers = await Promise.all([scrape(), scrape()].map(async pending => (await pending).text()))
  assert.deepEqual(
    answers.map(text => sampleOf(text, 'told')),
    [1, 1]
  )
  assert.equal(sampleOf(await (await scrape()).text(), 'told'), 2)

  registry.refresh = async () => {
    throw new Error('nobody there')
  }
  t.mock.method(process, 'emitWarning', () => {})
  assert.equal((await scrape()).status, 500)
})

test('a long answer lets others have their turn', async t => {
  // Every look at the clock finds it a quarter of a millisecond on, however fast the machine is.
  let now = performance.now()
  t.mock.method(performance, 'now', () => (now += 0.25))
  let turns = 0
  const registry = new MetricRegistry({ maxSamples: 100_000 })
  const many = Array.from({ length: 50_000 }, (_, i) => [[`value ${i}`], i] as const)
  const turn = (name: string) =>
    registry.source(() => turns, [{ name, type: 'gauge', help: 'Turns so far.', value: count => count }])
  turn('before')
  registry.source(
    () => many,
    [{ name: 'many', type: 'gauge', help: 'Many.', labels: ['i'], value: rows => rows }]
  )
  turn('after')
  const scrape = await serve(t, { registry, auth: false })
  let done = false
  const pending = scrape()
    .then(res => res.text())
    .finally(() => {
      done = true
    })
  while (!done) {
    await nextTurn()
    turns++
  }
  const text = await pending
  assert.match(text, /^many\{i="value 49999"\} 49999$/m)
  // Sixteen rows between two looks, four looks to the millisecond: some 780 of them.
  const between = sampleOf(text, 'after')! - sampleOf(text, 'before')!
  assert.ok(between > 700, `${between} turns`)
})

test('wrong options are named, with what was given', () => {
  const registry = new MetricRegistry()
  const table: [unknown, RegExp][] = [
    [undefined, /metricsEndpoint: registry must be a MetricRegistry, got undefined/],
    [{ registry: {} }, /registry/],
    [{ registry, auth: true }, /metricsEndpoint: auth must be false, middleware, .* got true/],
    [{ registry, auth: null }, /got null/],
    [{ registry, auth: [] }, /got \[\]/],
    [{ registry, auth: ['secret'] }, /auth must be .* got a list/],
    [{ registry, auth: { allow: 'secret' } }, /auth must be .* got an object/],
    [{ registry, auth: false, protobuf: 1 }, /protobuf must be true or false, got 1/],
    [{ registry, auth: false, created: 'no' }, /created must be true or false, got no/],
    [{ registry, auth: false, gzip: null }, /gzip must be true or false, got null/]
  ]
  for (const [options, message] of table) {
    assert.throws(() => metricsEndpoint(options as MetricsEndpointOptions), message)
  }
})
