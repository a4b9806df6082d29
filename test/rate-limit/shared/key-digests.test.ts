import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { KeyDigests } from '../../../lib/rate-limit/shared/key-digests.ts'

describe('digests of keys', () => {
  test('are the same for one key and one secret, remembered or not', () => {
    const digests = new KeyDigests('secret', 4)
    const names = Array.from({ length: 20 }, (_, i) => `key-${i}`)
    const first = names.map(name => digests.of(name))
    assert.deepEqual(
      names.map(name => digests.of(name)),
      first
    )
    assert.equal(new Set(first.map(digest => JSON.stringify(digest))).size, names.length)
    assert.deepEqual(new KeyDigests('secret', 4).of('key-7'), first[7])
    assert.notDeepEqual(new KeyDigests('another', 4).of('key-7'), first[7])
  })

  test('are kept while a key is asked for, and never more than there may be keys', () => {
    const digests = new KeyDigests('secret', 8)
    const hot = digests.of('hot')
    for (let i = 0; i < 100; i++) {
      digests.of(`cold-${i}`)
      assert.equal(digests.of('hot'), hot, 'the very object: it was not hashed anew')
      assert.ok(digests.size <= 8)
    }
  })

  test('of long keys are not kept', () => {
    const digests = new KeyDigests('secret', 8)
    assert.deepEqual(digests.of('k'.repeat(257)), digests.of('k'.repeat(257)))
    assert.equal(digests.size, 0)
  })
})
