import assert from 'node:assert/strict'
import test from 'node:test'
import { MemoryReplays } from '../../../lib/auth/sender/replays.ts'

test('a name is new once in its window', () => {
  let now = 0
  const replays = new MemoryReplays({ windowMs: 100, clock: () => now })
  for (const [at, fresh] of [
    [0, true],
    [0, false],
    [99, false],
    [100, false],
    [199, false],
    [200, true],
    [250, false],
    [1_000, true]
  ] as const) {
    now = at
    assert.equal(replays.add('a', 0), fresh, String(at))
  }
})

test('a name is kept for a whole window whenever it came', () => {
  for (let came = 0; came < 100; came += 7) {
    let now = came
    const replays = new MemoryReplays({ windowMs: 100, clock: () => now })
    now = came + 55
    assert.ok(replays.add('a', 0))
    for (let later = 1; later < 100; later += 9) {
      now = came + 55 + later
      replays.add(`other ${later}`, 0)
      assert.equal(replays.add('a', 0), false)
    }
  }
})

test('with no room it cannot tell, until names expire', () => {
  let now = 0
  const replays = new MemoryReplays({ windowMs: 100, maxNames: 2, clock: () => now })
  assert.ok(replays.add('a', 0) && replays.add('b', 0))
  assert.throws(() => replays.add('c', 0), /no room/)
  assert.equal(replays.add('a', 0), false)
  now = 250
  assert.ok(replays.add('c', 0))
  assert.equal(replays.size, 1)
})

test('wrong options are named', () => {
  assert.throws(
    () => new MemoryReplays({ windowMs: 0 }),
    /MemoryReplays: windowMs must be a positive number, got 0/
  )
  assert.throws(
    () => new MemoryReplays({ windowMs: 1, maxNames: 0.5 }),
    /MemoryReplays: maxNames must be a positive integer, got 0.5/
  )
})
