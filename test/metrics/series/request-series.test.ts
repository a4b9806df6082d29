import assert from 'node:assert/strict'
import { test } from 'node:test'
import { standardBounds } from '../../../lib/metrics/series/duration-buckets.ts'
import { RequestSeriesTable } from '../../../lib/metrics/series/request-series.ts'

const key = (200 * 32 + 6) * 16

test('routes that are the same in UTF-8 are one series', () => {
  const table = new RequestSeriesTable(10, standardBounds, undefined)
  const routes = ['/a\ud800', '/a\udfff', '/a\ufffd', '/a\ud800']
  const found = new Set(routes.map(route => table.find(key, route)))
  assert.equal(found.size, 1)
  assert.deepEqual(
    table.durations.map(({ labels }) => labels.pairs.find(([name]) => name === 'http_route')),
    [['http_route', '/a\ufffd']]
  )
})

test('what is longer than a route is one series, and none is more than the cap', () => {
  const table = new RequestSeriesTable(3, standardBounds, undefined)
  const long = table.find(key, '/'.repeat(257))
  assert.equal(table.find(key, 'x'.repeat(1_000)), long)
  assert.notEqual(table.find(key, '/'.repeat(256)), long)
  const overflow = table.find(key, '/b')
  assert.equal(table.find(key, '/c\ud800'), overflow)
  assert.deepEqual([table.durations.length, table.overflowed], [3, 2])
})
