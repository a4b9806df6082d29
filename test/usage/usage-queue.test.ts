import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Exchange, Identity } from '../../lib/http/exchange.ts'
import { UsageQueue } from '../../lib/usage/usage-queue.ts'
import type { UsageRuns } from '../../lib/usage/usage-runs.ts'
import type { UsageRecord } from '../../lib/usage/usage-store.ts'
import { fc } from '../support/seeded.ts'

type Step = { kind: 'add'; record: UsageRecord } | { kind: 'read' | 'release'; count: number }

const anyText = fc.option(fc.string({ maxLength: 5 }), { nil: null })

const anyRecord: fc.Arbitrary<UsageRecord> = fc
  .record({
    tokenJti: fc.string({ minLength: 1, maxLength: 5 }),
    userEmail: fc.string({ minLength: 1, maxLength: 5 }),
    timestamp: fc.date({ noInvalidDate: true }),
    endpoint: fc.string({ maxLength: 5 }),
    method: fc.constantFrom('GET', 'POST'),
    ipAddress: anyText,
    userAgent: anyText,
    statusCode: fc.integer({ min: 0, max: 599 }),
    responseTimeMs: fc.integer({ min: 0, max: 1e12 }).map(micros => micros / 1_000)
  })
  .map(fields => {
    const blocked = fields.statusCode >= 400 && fields.statusCode < 500
    return { ...fields, blocked, blockReason: blocked ? `http_${fields.statusCode}` : null }
  })

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: anyRecord.map(record => ({ kind: 'add' as const, record })) },
  fc.record({
    kind: fc.constantFrom('read' as const, 'release' as const),
    count: fc.integer({ min: 0, max: 9 })
  })
)

/** The least of an exchange that the queue reads. */
function exchangeOfRecord(record: UsageRecord): Exchange {
  return {
    req: { method: record.method, headers: { 'user-agent': record.userAgent ?? undefined } },
    path: record.endpoint,
    clientAddress: record.ipAddress ?? undefined,
    statusCode: record.statusCode,
    durationMs: record.responseTimeMs,
    denial: undefined
  } as unknown as Exchange
}

/** The records that runs stand for. */
function recordsOf({ groups, sizes, moments }: UsageRuns): UsageRecord[] {
  let m = 0
  const records = groups.flatMap(({ run: _, older: __, siblings: ___, ...shared }, g) =>
    Array.from({ length: sizes[g] }, () => ({
      ...shared,
      timestamp: new Date(moments[m++]),
      responseTimeMs: moments[m++] / 1_000
    }))
  )
  assert.equal(m, moments.length)
  return records
}

function inOrder(records: UsageRecord[]): string[] {
  return records.map(record => JSON.stringify(Object.entries(record).sort())).sort()
}

test('a queue of columns does what a list of records does', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 7 }), fc.array(anyStep, { maxLength: 80 }), (capacity, steps) => {
      const queue = new UsageQueue(capacity)
      const list: UsageRecord[] = []
      let total = 0
      for (const step of steps) {
        if (step.kind === 'add') {
          const { record } = step
          const owner = { id: 'id', email: record.userEmail } as Identity
          const taken = queue.add(
            exchangeOfRecord(record),
            owner,
            record.tokenJti,
            record.timestamp.getTime()
          )
          assert.equal(taken, list.length < capacity)
          if (taken) total = list.push(record) && total + 1
        } else if (step.kind === 'read') {
          const expected = list.slice(0, step.count)
          assert.deepEqual(queue.read(step.count), expected)
          assert.deepEqual(inOrder(recordsOf(queue.readRuns(step.count))), inOrder(expected))
        } else {
          const count = Math.min(step.count, list.length)
          queue.release(count)
          list.splice(0, count)
        }
        assert.equal(queue.size, list.length)
        assert.equal(queue.total, total)
      }
    })
  )
})
