import assert from 'node:assert/strict'
import { test } from 'node:test'
import { markdown } from '../../bench/harness/markdown.ts'
import { emptyReport } from '../../bench/harness/result.ts'
import type { EndToEndResult } from '../../bench/suite.ts'

const traffic = { requestsPerSecond: 30_000.4, p50Ms: 1, p99Ms: 2.5, p999Ms: 10, latency: [] }
const servers = [
  { name: 'bare', cpuMicros: 16, heapBytes: 7e6, traffic },
  { name: 'gate', cpuMicros: 20, heapBytes: 13e6, traffic },
  { name: 'stack', cpuMicros: 56, heapBytes: 11e6, traffic },
  { name: 'slower', cpuMicros: 96, heapBytes: 11e6, traffic }
]

function linesOf(result: EndToEndResult): string[] {
  return markdown('Results', { ...emptyReport(), endToEnd: [result] }).split('\n')
}

test('a table end to end tells what is above bare, also as a share of the stack’s', () => {
  const lines = linesOf({ name: 'a load', servers, beside: 'stack' })
  const at = lines.indexOf('### a load')
  assert.deepEqual(lines.slice(at + 2, at + 8), [
    '| server | CPU µs a request | above bare | share of stack | requests/s | p50 / p99 / p99.9 ms | heap MB |',
    '|---|---:|---:|---:|---:|---:|---:|',
    '| bare | 16.0 | 0.0 |  | 30000 | 1.00 / 2.50 / 10.00 | 7.0 |',
    '| gate | 20.0 | 4.0 | 1/10.0 | 30000 | 1.00 / 2.50 / 10.00 | 13.0 |',
    '| stack | 56.0 | 40.0 | 1 | 30000 | 1.00 / 2.50 / 10.00 | 11.0 |',
    '| slower | 96.0 | 80.0 | 2 | 30000 | 1.00 / 2.50 / 10.00 | 11.0 |'
  ])
})

test('a share too small to be told is told as such', () => {
  const [bare, gate, ...others] = servers
  for (const [cpuMicros, share] of [
    [16.79, '< 1/50'],
    [15, '< 1/50'],
    [16.81, '1/49.4']
  ]) {
    const changed = { ...gate, cpuMicros: cpuMicros as number }
    const lines = linesOf({ name: 'a load', servers: [bare, changed, ...others], beside: 'stack' })
    assert.equal(lines.find(line => line.startsWith('| gate'))?.split(' | ')[3], share)
  }
})

test('without a client and without a stack it has no columns for them', () => {
  const lines = linesOf({ name: 'a load', servers: servers.map(({ traffic: _, ...rest }) => rest) })
  const at = lines.indexOf('### a load')
  assert.deepEqual(lines.slice(at + 2, at + 5), [
    '| server | CPU µs a request | above bare | heap MB |',
    '|---|---:|---:|---:|',
    '| bare | 16.0 | 0.0 | 7.0 |'
  ])
})

test('targets are shares of the stack’s overhead, those missed first', () => {
  const targets = [
    { path: 'reached', server: 'gate', share: 1 / 10 },
    { path: 'missed', server: 'gate', share: 1 / 20 }
  ]
  const lines = linesOf({ name: 'a load', servers, beside: 'stack', targets })
  assert.deepEqual(
    lines.filter(line => line.includes('of its overhead')),
    [
      '| missed, beside stack | ≤ 1/20 of its overhead | 1/10.0: 4.0 of 40.0 µs | **missed** |',
      '| reached, beside stack | ≤ 1/10 of its overhead | 1/10.0: 4.0 of 40.0 µs | reached |'
    ]
  )
})
