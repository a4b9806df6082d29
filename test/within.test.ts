import assert from 'node:assert/strict'
import { test } from 'node:test'
import { within } from '../lib/within.ts'

const never = new Promise<never>(() => {})

test('an answer that comes is the answer, good or bad', async () => {
  assert.equal(await within(60_000, Promise.resolve(7)), 7)
  await assert.rejects(within(60_000, Promise.reject(new Error('broken'))), /^Error: broken$/)
})

test('an answer that does not come is given up', async () => {
  await assert.rejects(within(1, never), /^Error: no answer within 1 ms$/)
  await assert.rejects(
    within(1, never, 'the store said nothing'),
    /^Error: the store said nothing within 1 ms$/
  )
})

test('what is said too late is nobody’s unhandled rejection', async t => {
  const unhandled: unknown[] = []
  const listener = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', listener)
  t.after(() => process.off('unhandledRejection', listener))
  let reject: (error: Error) => void = () => {}
  const late = new Promise<never>((_, refuse) => {
    reject = refuse
  })
  await assert.rejects(within(1, late), /no answer within 1 ms/)
  reject(new Error('too late'))
  await new Promise(setImmediate)
  assert.deepEqual(unhandled, [])
})
