import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RefusalCounts } from '../../../lib/metrics/series/refusal-counts.ts'

test('pairs of stage and reason are told apart up to a cap, and none is lost', () => {
  const counts = new RefusalCounts()
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 600; i++) counts.count({ stage: `stage ${i % 3}`, reason: `reason ${i}` })
  }
  const points = counts.points()
  assert.equal(points.length, 501)
  assert.equal(
    points.reduce((sum, point) => sum + point.value, 0),
    1_200
  )
  assert.deepEqual(points[0].labels.pairs, [
    ['stage', 'stage 0'],
    ['reason', 'reason 0']
  ])
  assert.equal(points[0].value, 2)
  assert.equal(points[500].labels.text, 'stage="_OTHER",reason="_OTHER"')
  assert.equal(points[500].value, 200)
})
