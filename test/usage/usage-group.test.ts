import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type UsageGroup, UsageGroups } from '../../lib/usage/usage-group.ts'
import type { UsageRecord } from '../../lib/usage/usage-store.ts'
import { fc } from '../support/seeded.ts'
import { record } from './store-contract.ts'

function groupOf(groups: UsageGroups, changes: Partial<UsageRecord> = {}): UsageGroup {
  const one = record(changes)
  return groups.of(
    one.tokenJti,
    one.userEmail,
    one.endpoint,
    one.method,
    one.ipAddress,
    one.userAgent,
    one.statusCode,
    one.blocked,
    one.blockReason
  )
}

const changes: Partial<UsageRecord>[] = [
  { tokenJti: 'jti-2' },
  { userEmail: 'bob@example.com' },
  { endpoint: '/a' },
  { method: 'POST' },
  { ipAddress: null },
  { userAgent: 'curl/9' },
  { statusCode: 404 },
  { blocked: true },
  { blockReason: 'http_404' }
]

for (const change of changes) {
  test(`another group for another ${Object.keys(change)[0]}`, () => {
    const groups = new UsageGroups()
    const group = groupOf(groups)
    const other = groupOf(groups, change)
    assert.notEqual(other, group)
    assert.equal(groupOf(groups), group)
    assert.equal(groupOf(groups, change), other)
  })
}

test('records that are alike have one group, however many kinds there are', () => {
  const any = fc.record({
    tokenJti: fc.constantFrom('jti-1', 'jti-2', 'jti-3'),
    endpoint: fc.integer({ min: 0, max: 50 }).map(n => `/${n}`),
    statusCode: fc.constantFrom(200, 201, 404, 500),
    method: fc.constantFrom('GET', 'POST')
  })
  fc.assert(
    fc.property(fc.array(any, { maxLength: 300 }), list => {
      const groups = new UsageGroups()
      const known = new Map<string, UsageGroup>()
      for (const one of list) {
        const group = groupOf(groups, one)
        const { tokenJti, endpoint, statusCode, method } = group
        assert.deepEqual({ tokenJti, endpoint, statusCode, method }, { ...one })
        const key = JSON.stringify(Object.values(one))
        assert.equal(group, known.get(key) ?? group)
        known.set(key, group)
      }
      assert.equal(new Set(known.values()).size, known.size)
    })
  )
})

test('one endpoint with more kinds of records than are compared gets groups anew, and a record its own', () => {
  const groups = new UsageGroups()
  const kinds = Array.from({ length: 9 }, (_, i) => `192.0.2.${i}`)
  const first = kinds.map(ipAddress => groupOf(groups, { ipAddress }))
  assert.equal(groupOf(groups, { ipAddress: kinds[1] }), first[1])
  const again = groupOf(groups, { ipAddress: kinds[0] })
  assert.notEqual(again, first[0])
  assert.equal(again.ipAddress, kinds[0])
})

test('groups from before a clearing are not used again', () => {
  const groups = new UsageGroups()
  const before = groupOf(groups)
  groups.clear()
  assert.notEqual(groupOf(groups), before)
})
