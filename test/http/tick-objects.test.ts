import assert from 'node:assert/strict'
import { createHook } from 'node:async_hooks'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { pipeline } from '../../lib/http/pipeline.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

test('one tick object, and no more, outlives a collection', async () => {
  const made: WeakRef<object>[] = []
  const hook = createHook({
    init(_id, type, _trigger, resource) {
      if (type === 'TickObject') made.push(new WeakRef(resource))
    }
  }).enable()
  pipeline()
  pipeline()
  process.nextTick(() => {})
  hook.disable()
  const alive = () => made.filter(tick => tick.deref() !== undefined).length
  // What was just dereferenced stays until the next turn.
  for (let round = 0; round < 200 && alive() > 1; round++) {
    for (let i = 0; i < 5; i++) await setImmediate()
    collect()
  }
  pipeline()
  assert.equal(made.length, 3)
  assert.equal(alive(), 1)
})
