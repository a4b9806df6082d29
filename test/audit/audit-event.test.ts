import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AuditEvent, type AuditEventInit } from '../../lib/audit/audit-event.ts'

test('prints its fields in snake_case and in order, metadata after them', () => {
  const event = new AuditEvent({
    eventType: 'request_success',
    userId: 'u1',
    clientId: 'web',
    isM2M: false,
    path: '/a',
    method: 'GET',
    statusCode: 200,
    ipAddress: '192.0.2.1',
    userAgent: 'curl/8',
    durationMs: 1.5,
    timestamp: new Date('2030-01-02T03:04:05.678Z'),
    plan: 'gold'
  })
  assert.equal(
    JSON.stringify(event),
    '{"timestamp":"2030-01-02T03:04:05.678Z","event_type":"request_success","user_id":"u1","client_id":"web","is_m2m":false,' +
      '"path":"/a","method":"GET","status_code":200,"ip_address":"192.0.2.1","user_agent":"curl/8","duration_ms":1.5,"plan":"gold"}'
  )
  assert.deepEqual(event.metadata, { plan: 'gold' })
})

test('what is not known is null, and the time is now, in UTC', t => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2_030, 0, 2, 3, 4, 5, 678) })
  const { timestamp, ...rest } = new AuditEvent({ eventType: 'x' }).toDict()
  assert.equal(timestamp, '2030-01-02T03:04:05.678Z')
  assert.deepEqual(rest, {
    event_type: 'x',
    user_id: null,
    client_id: null,
    is_m2m: null,
    path: null,
    method: null,
    status_code: null,
    ip_address: null,
    user_agent: null,
    duration_ms: null
  })
})

test('toJson is the line that the log keeps: printable, bounded, and without tokens', () => {
  const event = new AuditEvent({
    eventType: 'order_placed',
    userId: 'Zürich\n',
    timestamp: new Date('2030-01-02T03:04:05.678Z'),
    note: 'Bearer abc.def',
    api_key: 'orders_1'
  })
  assert.equal(
    event.toJson(),
    '{"timestamp":"2030-01-02T03:04:05.678Z","event_type":"order_placed","user_id":"Z\\u00fcrich\\n","client_id":null,' +
      '"is_m2m":null,"path":null,"method":null,"status_code":null,"ip_address":null,"user_agent":null,"duration_ms":null,' +
      '"note":"Bearer [redacted]","api_key":"[redacted]"}'
  )
})

test('metadata cannot stand in for a field', () => {
  const dict = new AuditEvent({
    eventType: 'x',
    userId: 'u1',
    user_id: 'forged',
    timestamp: new Date(0)
  }).toDict()
  assert.equal(dict['user_id'], 'u1')
})

const wrong: [string, unknown, RegExp][] = [
  ['no type', {}, /AuditEvent: eventType must be a non-empty string, got undefined/],
  ['nothing', undefined, /AuditEvent: eventType must be a non-empty string, got undefined/],
  ['an empty type', { eventType: '' }, /AuditEvent: eventType must be a non-empty string, got $/],
  [
    'a broken date',
    { eventType: 'x', timestamp: new Date('never') },
    /AuditEvent: timestamp must be a valid Date, got Invalid Date/
  ],
  [
    'a number for a date',
    { eventType: 'x', timestamp: 1 },
    /AuditEvent: timestamp must be a valid Date, got 1/
  ]
]

for (const [what, init, message] of wrong) {
  test(`refuses ${what}`, () => assert.throws(() => new AuditEvent(init as AuditEventInit), message))
}
