import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KeyTable, longestTableKey } from '../../../lib/rate-limit/window/key-table.ts'

/** The same numbers on every run. */
function dice(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

test('a few keys and very many: the slot of each, and of no other', () => {
  const table = new KeyTable()
  const slots = new Map<string, number>()
  const free: number[] = []
  const random = dice(11)
  let opened = 0
  // Grows through the Map into the index, twice over the index's first size, and shrinks again.
  for (const share of [0.95, 0.95, 0.95, 0.5, 0.05]) {
    for (let i = 0; i < 60_000; i++) {
      const key = `user:${random(250_000)}`
      const slot = slots.get(key)
      assert.equal(table.find(key), slot ?? 0)
      if (slot === undefined && random(1_000) < share * 1_000) {
        const given = free.pop() ?? ++opened
        table.add(key, given)
        slots.set(key, given)
      } else if (slot !== undefined && random(1_000) >= share * 1_000) {
        table.delete(slot)
        slots.delete(key)
        free.push(slot)
      }
    }
    assert.equal(table.size, slots.size)
    for (const [key, slot] of slots) {
      assert.equal(table.find(key), slot)
      assert.equal(table.keyOf(slot), key)
    }
  }
  for (const slot of slots.values()) table.delete(slot)
  assert.equal(table.size, 0)
  for (const key of slots.keys()) assert.equal(table.find(key), 0)
})

test('keys that look alike are different keys among many', () => {
  const table = new KeyTable()
  const keys = [
    '',
    '\0',
    '\0\0',
    'a',
    'a\0',
    '\0a',
    'ab',
    'ba',
    '\u0100',
    '\ud800',
    '\ud801',
    '\u8000',
    '\u8001'
  ]
  keys.push('x'.repeat(longestTableKey), `${'x'.repeat(longestTableKey - 1)}y`, '__proto__')
  for (let i = 0; i < 40_000; i++) keys.push(`${i}`)
  keys.forEach((key, i) => {
    table.add(key, i + 1)
  })
  keys.forEach((key, i) => {
    assert.equal(table.find(key), i + 1, JSON.stringify(key))
  })
  assert.equal(table.find('\0\0\0'), 0)
  for (let i = 0; i < keys.length; i += 2) table.delete(i + 1)
  keys.forEach((key, i) => {
    assert.equal(table.find(key), i % 2 === 0 ? 0 : i + 1, JSON.stringify(key))
  })
})

test('no key that is added waits for the growth of the whole', () => {
  const table = new KeyTable()
  const count = 300_000
  let most = 0
  for (let i = 1; i <= count; i++) {
    const before = table.moved
    table.add(`user:${i}`, i)
    most = Math.max(most, table.moved - before)
    // Where half of them are just now: in the Map, in the index, or in the one before it.
    const known = 1 + ((i * 7_919) % i)
    assert.equal(table.find(`user:${known}`), known)
    assert.equal(table.find(`user:-${i}`), 0)
  }
  // Each doubling has moved all that were there. A few at a time, and what stands together with the last of them.
  assert.ok(table.moved > 400_000, `${table.moved}`)
  assert.ok(most < 2_000, `${most}`)
})

test('keys leave while they are on their way to another place', () => {
  const table = new KeyTable()
  // At each of these the keys begin to move; after the next eighth of them they have arrived.
  for (const full of [32_768, 65_536, 131_072]) {
    for (let i = table.size + 1; i <= full + 200; i++) table.add(`user:${i}`, i)
    const moved = table.moved
    for (let i = 1; i <= full; i += 2) table.delete(i)
    for (let i = 1; i <= full; i++) assert.equal(table.find(`user:${i}`), i % 2 === 0 ? i : 0)
    assert.equal(table.moved, moved)
    for (let i = 1; i <= full; i += 2) table.add(`user:${i}`, i)
    // Those that have left do not arrive.
    assert.ok(table.moved > moved && table.moved - moved <= full / 2, `${table.moved - moved}`)
    for (let i = 1; i <= full + 200; i++) assert.equal(table.find(`user:${i}`), i)
    assert.equal(table.size, full + 200)
  }
})
