import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Report, Reporter } from '../../lib/http/reporter.ts'

test('tells of each kind at most once an interval, and loses no count', () => {
  let now = 0
  const reports: Report[] = []
  const reporter = new Reporter({
    onReport: report => reports.push(report),
    intervalMs: 100,
    clock: () => now
  })
  const error = new Error('full')
  reporter.report('audit_write', error)
  reporter.report('audit_write', error, 5)
  reporter.report('usage_write', undefined, 2)
  now = 99.9
  reporter.report('audit_write', error)
  now = 100
  reporter.report('audit_write', error)
  assert.deepEqual(reports, [
    { what: 'audit_write', count: 1, error },
    { what: 'usage_write', count: 2, error: undefined },
    { what: 'audit_write', count: 7, error }
  ])
  assert.deepEqual(
    [...reporter.counts],
    [
      ['audit_write', 8],
      ['usage_write', 2]
    ]
  )
})

/** The next warning of a reporter: others, such as Node's own, may come between. */
function nextWarning(): Promise<Error & { code?: string }> {
  return new Promise(resolve => {
    const listen = (warning: Error) => {
      if (warning.name !== 'OstiaryWarning') return
      process.off('warning', listen)
      resolve(warning)
    }
    process.on('warning', listen)
  })
}

test('an asynchronous listener that rejects is counted, and told of by a warning', async () => {
  const reporter = new Reporter({
    onReport: async () => {
      throw new Error('no room')
    }
  })
  const warned = nextWarning()
  reporter.report('audit_write', new Error('full'))
  assert.match((await warned).message, /no room/)
  assert.equal(reporter.counts.get('report'), 1)
})

test('a listener that throws is counted, and told of by a warning', async () => {
  const reporter = new Reporter({
    onReport() {
      throw new Error('no room')
    }
  })
  const warned = nextWarning()
  reporter.report('audit_write', new Error('full'))
  const warning = await warned
  assert.equal(warning.name, 'OstiaryWarning')
  assert.equal(warning.code, 'OSTIARY_REPORT')
  assert.match(warning.message, /no room/)
  assert.deepEqual(
    [...reporter.counts],
    [
      ['audit_write', 1],
      ['report', 1]
    ]
  )
})

test('by default it warns', async () => {
  const warned = nextWarning()
  new Reporter().report('audit_write', 'a text')
  const warning = await warned
  assert.equal(warning.code, 'OSTIARY_AUDIT_WRITE')
  assert.match(warning.message, /audit_write \(1 since the last report\): a text/)
})
