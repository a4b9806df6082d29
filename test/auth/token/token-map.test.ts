import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { TokenEntry, TokenMap } from '../../../lib/auth/token/token-map.ts'
import { fc } from '../../support/seeded.ts'

/** Long beginnings, and few endings: many of them share the key. */
const text = fc
  .tuple(fc.nat(5), fc.nat(3))
  .map(([start, end]) => `${start}${'x'.repeat(30)}${end}-the-very-end`)
const command = fc.oneof(
  fc.record({ do: fc.constant('add' as const), text, bytes: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ do: fc.constant('find' as const), text }),
  fc.record({ do: fc.constant('delete' as const), text })
)

for (const hashTokens of [false, true]) {
  test(`whatever happens to it, the map keeps its bounds and takes no token for another (${hashTokens ? 'digests' : 'tokens'})`, () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 80 }), commands => {
        const map = new TokenMap<TokenEntry>({ maxEntries: 5, maxBytes: 120, hashTokens })
        const added = new Map<string, TokenEntry>()
        for (const step of commands) {
          const found = map.find(step.text)
          if (found !== undefined) assert.equal(found, added.get(step.text))
          if (step.do === 'add') {
            const entry = new TokenEntry(map, step.text, step.bytes)
            map.add(entry)
            added.set(step.text, entry)
            assert.equal(map.find(step.text), entry)
          } else if (step.do === 'delete' && found !== undefined) {
            map.delete(found)
            map.delete(found)
            assert.equal(map.find(step.text), undefined)
          } else if (found !== undefined) {
            found.used = true
          }
          const alive = new Set([...added.values()].filter(entry => entry.alive))
          assert.ok(map.size <= 5 && map.bytes <= 120)
          assert.equal(
            map.bytes,
            [...alive].reduce((sum, entry) => sum + entry.bytes, 0)
          )
        }
      }),
      { numRuns: 300 }
    )
  })
}

test('what is used again and again outlives what came once', () => {
  const map = new TokenMap<TokenEntry>({ maxEntries: 10, maxBytes: 1_000, hashTokens: false })
  const add = (name: string) => map.add(new TokenEntry(map, name.padStart(20, '-'), 1))
  add('often')
  for (let i = 0; i < 1_000; i++) {
    const often = map.find('often'.padStart(20, '-'))
    assert.ok(often !== undefined, `gone after ${i}`)
    often.used = true
    add(`once-${i}`)
  }
  assert.deepEqual([map.size, map.evictions], [10, 991])
})

test('what was displaced is let go of, though nothing is ever evicted', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const map = new TokenMap<TokenEntry>({ maxEntries: 1_000, maxBytes: 1_000_000, hashTokens: false })
  const displaced: WeakRef<TokenEntry>[] = []
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 100; i++) {
      const entry = new TokenEntry(map, `${'x'.repeat(30)}${String(i).padStart(12, '0')}`, 100)
      map.add(entry)
      if (round < 8) displaced.push(new WeakRef(entry))
    }
  }
  assert.equal(map.size, 100)
  let alive = displaced.length
  for (let round = 0; round < 100 && alive > 0; round++) {
    await new Promise(resolve => setImmediate(resolve))
    collect()
    alive = displaced.filter(reference => reference.deref() !== undefined).length
  }
  assert.equal(alive, 0)
})
