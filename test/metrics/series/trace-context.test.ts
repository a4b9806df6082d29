import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sampledTrace } from '../../../lib/metrics/series/trace-context.ts'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const spanId = '00f067aa0ba902b7'

test('valid and sampled', () => {
  for (const header of [
    `00-${traceId}-${spanId}-01`,
    `00-${traceId}-${spanId}-03`,
    `cc-${traceId}-${spanId}-01`,
    `cc-${traceId}-${spanId}-01-what-the-future-adds`
  ]) {
    assert.deepEqual(sampledTrace(header), { traceId, spanId }, header)
  }
})

test('anything else is no trace', () => {
  for (const header of [
    undefined,
    '',
    [`00-${traceId}-${spanId}-01`],
    `00-${traceId}-${spanId}-00`,
    `00-${traceId}-${spanId}-01-more`,
    `00-${traceId}-${spanId}-01 `,
    `cc-${traceId}-${spanId}-01.more`,
    `ff-${traceId}-${spanId}-01`,
    `00-${traceId.toUpperCase()}-${spanId}-01`,
    `00-${'0'.repeat(32)}-${spanId}-01`,
    `00-${traceId}-${'0'.repeat(16)}-01`,
    `00-${traceId.slice(1)}-${spanId}-01`,
    `00-${traceId}-${spanId}"}-01`,
    `00_${traceId}_${spanId}_01`,
    'x'.repeat(10_000)
  ]) {
    assert.equal(sampledTrace(header), undefined, String(header))
  }
})
