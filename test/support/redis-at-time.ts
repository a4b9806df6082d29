/** A client of a real server on which scripts see the time that the test says, and keys do not expire by themselves. */
import { Redis } from 'ioredis'
import {
  consumeScript,
  refundScript,
  resetScript,
  togetherScript
} from '../../lib/rate-limit/redis/window-script.ts'

const scripts = [consumeScript, togetherScript, refundScript, resetScript]

/** Stands before the unchanged script: the same server, the same commands, another clock. */
const otherClock = `
local real, us = redis, table.remove(ARGV)
local redis = { call = function(command, ...)
  local args = { ... }
  if command == 'TIME' then return { math.floor(us / 1000000), us % 1000000 } end
  if command == 'PEXPIRE' then return 1 end
  if command == 'SET' then return real.call('SET', args[1], args[2]) end
  return real.call(command, unpack(args))
end }
`

export class RedisAtTime extends Redis {
  /** ms. */
  now = 0
  readonly clock = (): number => this.now
  readonly #port: number

  constructor(port: number) {
    super(port, '127.0.0.1')
    this.#port = port
  }

  override duplicate(): Redis {
    const twin = new RedisAtTime(this.#port)
    Object.defineProperty(twin, 'now', { get: () => this.now })
    return twin
  }

  override evalsha = ((sha: string, ...args: (string | number)[]) => {
    const script = scripts.find(script => script.sha === sha)!
    return this.eval(otherClock + script.body, ...(args as [number]), Math.round(this.now * 1_000))
  }) as Redis['evalsha']
}
