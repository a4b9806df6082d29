import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PrintedPairs, PrintedTexts } from '../../lib/audit/printed-texts.ts'
import { fc } from '../support/seeded.ts'

/** Few different ones, so that they come again, and some that fall into one slot. */
const text = fc.oneof(
  fc.constant(undefined),
  fc.constantFrom('', '/', '/a', '/b', 'xay', 'yax', '1', '12'),
  fc.string({ maxLength: 3 }),
  fc.constant('long'.repeat(200))
)

test('a remembered pair is printed as it would be anew, however often it comes and whatever comes between', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(text, text), { maxLength: 200 }), steps => {
      const print = (first: string | undefined, second: string | undefined): string =>
        JSON.stringify([first ?? null, second ?? null, first === undefined]).replace(/[^ -~]/g, '?')
      const pairs = new PrintedPairs(print)
      for (const [first, second] of [...steps, ...steps, ...steps]) {
        assert.equal(pairs.of(first, second), print(first, second))
      }
    })
  )
})

test('what comes again is printed once; what is long is not remembered', () => {
  let printed = 0
  const pairs = new PrintedPairs((first, second) => {
    printed++
    return `${first}${second}`
  })
  for (let i = 0; i < 5; i++) assert.equal(pairs.of('/orders', 'GET'), '/ordersGET')
  assert.equal(printed, 1)
  for (let i = 0; i < 5; i++) assert.equal(pairs.of('x'.repeat(600), 'GET'), `${'x'.repeat(600)}GET`)
  assert.equal(printed, 6)
})

test('texts are printed as JSON strings, the empty one and those of one slot too', () => {
  const texts = new PrintedTexts()
  for (const text of ['', 'a', 'xay', 'ab"c', 'xay', 'ä', '', 'a']) {
    assert.equal(JSON.parse(texts.of(text)), text)
  }
})
