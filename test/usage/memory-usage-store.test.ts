import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryUsageStore } from '../../lib/usage/memory-usage-store.ts'
import { now, record, storeContract } from './store-contract.ts'

storeContract('memory', () => new MemoryUsageStore({ clock: () => now }))

test('keeps the newest records and counts what it let go', async () => {
  const store = new MemoryUsageStore({ maxRecords: 3, clock: () => now })
  for (const responseTimeMs of [100, 200, 1, 2, 3]) await store.append([record({ responseTimeMs })])
  const stats = await store.stats({ userEmail: 'ann@example.com' })
  assert.equal(stats.totalRequests, 3)
  assert.equal(stats.averageResponseTimeMs, 2)
  assert.deepEqual(store.stored, { records: 3, evicted: 2 })
})

test('keeps copies: a record that is changed later is not', async () => {
  const store = new MemoryUsageStore({ clock: () => now })
  const mine = record()
  await store.append([mine])
  mine.statusCode = 500
  assert.equal((await store.stats({ userEmail: 'ann@example.com' })).successfulRequests, 1)
})

test('looks back from now by default', async () => {
  const store = new MemoryUsageStore()
  await store.append([record({ timestamp: new Date() })])
  assert.equal((await store.stats({ userEmail: 'ann@example.com', days: 1 })).totalRequests, 1)
})

for (const maxRecords of [0, -1, 1.5, Number.NaN, '5']) {
  test(`refuses maxRecords ${String(maxRecords)}`, () => {
    assert.throws(
      () => new MemoryUsageStore({ maxRecords: maxRecords as number }),
      new RegExp(`MemoryUsageStore: maxRecords must be a positive integer, got ${String(maxRecords)}`)
    )
  })
}
