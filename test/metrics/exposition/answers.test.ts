import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { Answers } from '../../../lib/metrics/exposition/answers.ts'
import { metricsEndpoint } from '../../../lib/metrics/exposition/metrics-endpoint.ts'
import { MetricRegistry } from '../../../lib/metrics/metric-registry.ts'
import { converse, listen } from '../../support/server.ts'

const mebibyte = 1_024 * 1_024

/** One sample whose label is as long as told, and another letter at each reading. */
function registryOf(length: () => number): MetricRegistry {
  const registry = new MetricRegistry()
  let reading = 0
  registry.source(
    () => 'abcdefghij'[reading++ % 10].repeat(length()),
    [{ name: 'long', type: 'gauge', help: 'Long.', labels: ['l'], value: text => [[[text], 1]] }]
  )
  return registry
}

test('the memory of an answer is that of the next, once all who share it have released it', async () => {
  const answers = new Answers(
    registryOf(() => 100_000),
    false
  )
  const [first, again] = await Promise.all([answers.take('text'), answers.take('text')])
  assert.equal(again, first)
  const text = first.body.toString()
  first.release()
  const second = await answers.take('text')
  assert.ok(second.body.buffer !== first.body.buffer)
  assert.ok(first.body.toString() === text)
  again.release()
  const third = await answers.take('text')
  assert.ok(third.body.buffer === first.body.buffer)
  assert.ok(third.body.toString() === text.replace(/a{100000}/, 'c'.repeat(100_000)))
})

test('answers in several formats that are made at once do not share memory', async () => {
  const answers = new Answers(
    registryOf(() => 1_000),
    false
  )
  for (let round = 0; round < 3; round++) {
    const made = await Promise.all(
      (['text', 'json', 'protobuf', 'openmetrics'] as const).map(f => answers.take(f))
    )
    assert.equal(new Set(made.map(({ body }) => body.buffer)).size, 4)
    assert.ok(made.every(({ body }) => /([a-j])\1{999}/.test(body.toString('latin1'))))
    for (const answer of made) answer.release()
  }
})

test('no more than 32 MiB outlive an answer', async () => {
  let length = 1_000
  const answers = new Answers(
    registryOf(() => length),
    false
  )
  const take = async (): Promise<Buffer> => {
    const answer = await answers.take('text')
    answer.release()
    return answer.body
  }
  const small = (await take()).buffer
  assert.ok((await take()).buffer === small)
  length = 33 * mebibyte
  const large = await take()
  assert.ok(large.length > length)
  length = 1_000
  assert.ok((await take()).buffer !== large.buffer)
})

test('a refresh that throws at once fails this answer, not the next', async () => {
  let broken = true
  const registry = Object.assign(
    registryOf(() => 10),
    {
      refresh() {
        if (broken) throw new Error('nobody there')
        return Promise.resolve()
      }
    }
  )
  const answers = new Answers(registry, false)
  await assert.rejects(answers.take('text'), /nobody there/)
  broken = false
  assert.match((await answers.take('text')).body.toString(), /a{10}/)
})

test('a scraper that reads late gets its own answer, whole, though others come meanwhile', async t => {
  // More than sockets hold.
  const length = 16 * mebibyte
  const endpoint = metricsEndpoint({ registry: registryOf(() => length), auth: false, gzip: false })
  const port = await listen(t, createServer(endpoint))
  const request = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  const late = connect(port, '127.0.0.1')
  late.write(request)
  const beginning = await new Promise<Buffer>(resolve => {
    late.once('data', chunk => {
      late.pause()
      resolve(chunk)
    })
  })
  assert.ok((await converse(port, request)).includes('b'.repeat(length)))
  const chunks = [beginning]
  for await (const chunk of late) chunks.push(chunk as Buffer)
  assert.ok(Buffer.concat(chunks).includes('a'.repeat(length)))
})
