import assert from 'node:assert/strict'
import { test } from 'node:test'
import { quantile } from '../../bench/harness/quantile.ts'

test('a quantile is one of the values, or lies between two of them', () => {
  const values = [40, 10, 30, 20, 50]
  assert.equal(quantile(values, 0), 10)
  assert.equal(quantile(values, 0.5), 30)
  assert.equal(quantile(values, 1), 50)
  assert.equal(quantile(values, 0.1), 14)
  assert.deepEqual(values, [40, 10, 30, 20, 50])
  assert.equal(quantile([7], 0.1), 7)
})
