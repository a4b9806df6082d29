/** The scripts that run on Redis, each call atomic on the server's own clock. What a window is: window-lua.ts. */
import { createHash } from 'node:crypto'
import { append, countLeases, given, judge, opened, save } from './window-lua.ts'

/**
 * ARGV   4 cost   5 '1' only to look
 *        6 units to lease, 0 for none   7 µs that they may be used   8 name of the lease
 *        9 name of a lease to settle   10 units of it that were used   11 µs: the last use
 * Gives  allowed, units left, µs until nothing counts, the stamp (of a lease: the server's time); and unless it was
 *        simply admitted: µs until it would be (−1: never), µs for which a refusal stays as it is since nothing
 *        expires before (0: a lease given back may end it), units leased, the stamp of the settled lease (0: none)
 */
const asked = `
local cost, look, want = tonumber(ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6] or 0)
local settled, granted = 0, 0
`

const settle = `
if ARGV[9] and ARGV[9] ~= '' then
  local record = call('HGET', leaseKey, ARGV[9])
  if record then
    call('HDEL', leaseKey, ARGV[9])
    dirty = true
    local units = tonumber(ARGV[10])
    if units > 0 then
      local stamp = tonumber(ARGV[11])
      if tick > 0 then stamp = (math.floor(stamp / tick) + 1) * tick end
      settled = math.max(newest, math.min(stamp, now + tick))
      if settled + window > now then 
${append('settled', 'units')}
      end
    end
  end
end
`

const take = `
if allowed and cost > 0 and not look then
  if want > 0 then
    granted = math.min(math.max(want, cost), limit - used - leased)
    local ends = now + tonumber(ARGV[7])
    call('HSET', leaseKey, ARGV[8], pack('<I4d', granted, ends))
    leased = leased + granted
    if ends > leaseEnd then leaseEnd = ends end
    stamp = now
    dirty = true
  else
${append('stamp', 'cost')}
  end
end
${save}
local left = math.max(0, limit - used - leased)
if allowed and granted == 0 and settled == 0 then return { 1, left, untilFree, stamp } end
return { allowed and 1 or 0, left, untilFree, stamp, retry, certain, granted, settled }
`

/**
 * Several windows, all or nothing.
 * KEYS   for each window the string and the hash of leases
 * ARGV   1 cost   then for each window: its µs, limit, tick µs
 * Gives  for each window six numbers, as above; when one refuses, the others are as they were
 */
const together = `
local cost = tonumber(ARGV[1])

local function openWindow(windowKey, leaseKey, window, limit, tick)
${opened}${judge}
  local function charge()
${append('stamp', 'cost')}
  end
  local function answer()
${save}
    return { allowed and 1 or 0, math.max(0, limit - used - leased), untilFree, stamp, retry, certain }
  end
  return allowed, charge, answer
end

local all, charges, answers, replies = true, {}, {}, {}
for i = 1, #KEYS / 2 do
  local at = 3 * i - 1
  local window, limit, tick = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local allowed, charge, answer = openWindow(KEYS[2 * i - 1], KEYS[2 * i], window, limit, tick)
  all = all and allowed
  charges[i], answers[i] = charge, answer
end
if all and cost > 0 then
  for i = 1, #charges do charges[i]() end
end
for i = 1, #answers do
  for _, value in ipairs(answers[i]()) do replies[#replies + 1] = value end
end
return replies
`

/** ARGV   4 stamp   5 units, given back if they still count. Gives 1 if they did. */
const refund = `
local stamp, units = tonumber(ARGV[4]), tonumber(ARGV[5])
if used == 0 or stamp < oldest or stamp > newest then return 0 end
local low, high = dead, entries - 1
while low < high do
  local middle = math.floor((low + high) / 2)
  local found = unpack('<d', call('GETRANGE', windowKey, middle * ENTRY, middle * ENTRY + 7))
  if found < stamp then low = middle + 1 else high = middle end
end
local found, count = unpack('<dI4', call('GETRANGE', windowKey, low * ENTRY, low * ENTRY + ENTRY - 1))
if found ~= stamp or count < units then return 0 end
${countLeases}
used = used - units
dirty = true
-- What follows the entry is written again, with the entry or without it.
written = low
if count > units then tail = pack('<dI4', stamp, count - units) end
if low < entries - 1 then
  tail = tail .. call('GETRANGE', windowKey, (low + 1) * ENTRY, entries * ENTRY - 1)
end
if count == units then
  -- The string cannot be cut: it is written as a whole.
  if low > dead then tail = call('GETRANGE', windowKey, dead * ENTRY, low * ENTRY - 1) .. tail end
  entries, dead, written, fresh = #tail / ENTRY, 0, 0, true
end
if used == 0 and leased == 0 then
  call('DEL', windowKey, leaseKey)
  return 1
end
oldest, newest, last = 0, 0, 0
if used > 0 then
  local first = tail
  if low > dead and not fresh then first = call('GETRANGE', windowKey, dead * ENTRY, dead * ENTRY + 7) end
  oldest = unpack('<d', first)
  newest, last = unpack('<dI4', tail, #tail - ENTRY + 1)
end
${save}
return 1
`

/** ARGV   4 name of the caller's own lease, dropped unused. Leases that others hold go on counting: they may be used. */
const reset = `
if ARGV[4] ~= '' then call('HDEL', leaseKey, ARGV[4]) end
${countLeases}
entries, dead, used, last, oldest, newest, written, fresh, dirty = 0, 0, 0, 0, 0, 0, 0, true, true
if leased == 0 then
  call('DEL', windowKey, leaseKey)
else
${save}
end
return 1
`

export interface Script {
  readonly body: string
  /** Names the script to `EVALSHA`. */
  readonly sha: string
}

export const consumeScript: Script = script(given + opened + asked + settle + judge + take)
export const togetherScript: Script = script(together)
export const refundScript: Script = script(given + opened + refund)
export const resetScript: Script = script(given + opened + reset)

function script(body: string): Script {
  return { body, sha: createHash('sha1').update(body).digest('hex') }
}
