import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WallClock } from '../../lib/http/wall-clock.ts'

test('turns monotonic instants into wall-clock time and follows a clock that is set', () => {
  let monotonic = 5_000
  let wall = 1_000_000
  let reads = 0
  const clock = new WallClock(
    () => monotonic,
    () => {
      reads++
      return wall
    }
  )
  assert.equal(clock.at(5_000.25), 1_000_000.25)
  assert.equal(clock.at(4_990), 999_990)
  monotonic = 5_500
  assert.equal(clock.now(), 1_000_500)
  assert.equal(reads, 1)

  // Within the clock's own resolution nothing jumps.
  monotonic = 6_001
  wall = 1_001_002
  assert.equal(clock.now(), 1_001_001)
  assert.equal(reads, 2)

  // Somebody set the clock an hour ahead: seen within a second.
  monotonic = 7_002
  wall = 1_002_002 + 3_600_000
  assert.equal(clock.now(), 4_602_002)
  assert.equal(clock.at(7_010), 4_602_010)
})

test('a process that is held up between the readings of the two clocks looks again', () => {
  let monotonic = 5_000
  const delays = [40, 0]
  const clock = new WallClock(
    () => monotonic,
    () => {
      monotonic += delays.shift() ?? 0
      return 1_000_000 + monotonic
    }
  )
  assert.equal(clock.now(), 1_000_000 + monotonic)
  assert.equal(delays.length, 0)
  delays.push(9, 9, 9, 9)
  monotonic += 2_000
  clock.now()
  assert.equal(delays.length, 1, 'a few times, not for ever')
})

test('reads the real clocks by default', () => {
  const isRight = () => {
    const before = Date.now()
    const now = new WallClock().now()
    return now >= before - 1 && now <= Date.now() + 1
  }
  // Somebody may set the system's clock in the middle of it, or the process be held up; not each time.
  assert.ok(Array.from({ length: 100 }).some(isRight))
})
