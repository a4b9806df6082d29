/** The Lua that keeps an exact sliding window in one Redis string, each call atomic on the server's own clock. */
import { createHash } from 'node:crypto'

/*
 * A key is a string that only grows at its end:
 *
 *     ┌ header, 36 bytes ─────────────────────────────────┬ entries, 12 bytes each, oldest first ──────────┐
 *     │ dead  used  leased │ skew   oldest  newest        │ stamp count │ stamp count │ … │ stamp count    │
 *     │ u32   u32   u32    │ f64    f64     f64           │ ─── dead ── │ ───────── live ──────────────    │
 *     └───────────────────────────────────────────────────┴─────────────────────────────────────────────────┘
 *
 * Stamps are µs of the server's clock. A call reads the header, and entries only when some have expired or the
 * moment a refusal is over must be found; it writes one entry and the header, so that replicas and the append-only file
 * see some 100 bytes however high the limit is. When most entries are dead the string is written anew without them.
 *
 * `skew` is added to the server's clock: when that is set back, a key's time goes on from its newest stamp.
 *
 * Units that are leased stand in a hash beside it, one field a lease: how many, and until when they may be used. Until
 * then any of them can be, so they count until a window after that, unless the holder settles the lease before: then
 * what was used becomes an entry stamped with the last use, and the rest is free.
 *
 * KEYS   the string, the hash of leases (same hash tag)
 * ARGV   1 window µs   2 limit   3 tick µs, then by script
 */
const prelude = `
local windowKey, leaseKey = KEYS[1], KEYS[2]
local window, limit, tick = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local HEADER, ENTRY, CHUNK = 36, 12, 64 * 12

local dead, used, leased, skew, oldest, newest = 0, 0, 0, 0, 0, 0
local tail, dirty, fresh = '', false, true
local header = redis.call('GETRANGE', windowKey, 0, HEADER - 1)
if #header == HEADER then
  dead, used, leased, skew, oldest, newest = struct.unpack('<I4I4I4ddd', header)
  fresh = false
end

local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
if newest - tick > clock + skew then
  skew = newest - tick - clock
  dirty = true
end
local now = clock + skew

local function entriesAt(offset)
  return redis.call('GETRANGE', windowKey, offset, offset + CHUNK - 1)
end

local function drop()
  if used == 0 or oldest + window > now then return end
  if newest + window <= now then
    dead, used, oldest, newest, fresh = 0, 0, 0, 0, true
    return
  end
  local before = dead
  while true do
    local chunk = entriesAt(HEADER + dead * ENTRY)
    if #chunk == 0 then error('the window at this key is damaged') end
    for at = 1, #chunk, ENTRY do
      local stamp, count = struct.unpack('<dI4', chunk, at)
      if stamp + window > now then
        oldest = stamp
        if dead - before > 64 then dirty = true end
        return
      end
      dead = dead + 1
      used = used - count
    end
  end
end

local leases, leaseEnd = {}, 0
local function countLeases()
  if leased == 0 then return end
  leased = 0
  local records = redis.call('HGETALL', leaseKey)
  for i = 1, #records, 2 do
    local count, ends = struct.unpack('<I4d', records[i + 1])
    if ends + window > now then
      leases[#leases + 1] = { ends, count }
      leased = leased + count
      if ends > leaseEnd then leaseEnd = ends end
    else
      redis.call('HDEL', leaseKey, records[i])
    end
  end
  if #leases > 1 then table.sort(leases, function(a, b) return a[1] < b[1] end) end
end

local function append(stamp, count)
  if used > 0 and stamp == newest then
    if tail ~= '' then
      count = count + struct.unpack('<I4', tail, #tail - 3)
      used = used - struct.unpack('<I4', tail, #tail - 3)
      tail = string.sub(tail, 1, -5) .. struct.pack('<I4', count)
    else
      local last = struct.unpack('<I4', redis.call('GETRANGE', windowKey, -4, -1))
      redis.call('SETRANGE', windowKey, redis.call('STRLEN', windowKey) - 4, struct.pack('<I4', last + count))
    end
  else
    tail = tail .. struct.pack('<dI4', stamp, count)
    if used == 0 then oldest = stamp end
    newest = stamp
  end
  used = used + count
  dirty = true
end

local function resetIn()
  local last = 0
  if used > 0 then last = newest end
  if leased > 0 and leaseEnd > last then last = leaseEnd end
  if last == 0 then return 0 end
  return last + window - now
end

local function save()
  if not dirty then return end
  local ttl = math.ceil(resetIn() / 1000) + 1
  local body
  if fresh then
    body = ''
  elseif dead >= 16 and dead * 2 * ENTRY > redis.call('STRLEN', windowKey) - HEADER then
    body = redis.call('GETRANGE', windowKey, HEADER + dead * ENTRY, -1)
  end
  if body then dead = 0 end
  local head = struct.pack('<I4I4I4ddd', dead, used, leased, skew, oldest, newest)
  if body then
    redis.call('SET', windowKey, head .. body .. tail, 'PX', ttl)
  else
    if tail ~= '' then redis.call('APPEND', windowKey, tail) end
    redis.call('SETRANGE', windowKey, 0, head)
    redis.call('PEXPIRE', windowKey, ttl)
  end
  if leased > 0 then redis.call('PEXPIRE', leaseKey, ttl) end
end
`

/**
 * ARGV   4 cost   5 '1' only to look
 *        6 units to lease, 0 for none   7 µs that they may be used   8 name of the lease
 *        9 name of a lease to settle   10 units of it that were used   11 µs: the last use
 * Gives  allowed, units left, µs until it would be admitted (−1: never), µs until nothing counts,
 *        µs for which a refusal stays as it is: nothing expires before; 0 when a lease given back may end it, the stamp (of a lease: the server's time), units leased, the stamp that the settled lease got (0: none)
 */
const consume = `
local cost, look, want = tonumber(ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6] or 0)
local settled, granted, retry, certain = 0, 0, 0, 0

local function stampOfUnit(k)
  if #leases == 0 and k <= 1 then return oldest end
  local at, seen, i, l = HEADER + dead * ENTRY, 0, 1, 1
  local chunk = fresh and '' or entriesAt(at)
  if tail ~= '' and #chunk < CHUNK then chunk = chunk .. tail end
  while true do
    local stamp, count
    if i <= #chunk then stamp, count = struct.unpack('<dI4', chunk, i) end
    if leases[l] and (not stamp or leases[l][1] < stamp) then
      stamp, count, l = leases[l][1], leases[l][2], l + 1
    else
      i = i + ENTRY
    end
    seen = seen + count
    if seen >= k then return stamp end
    if i > #chunk and #chunk >= CHUNK then
      at, i = at + CHUNK, 1
      chunk = entriesAt(at)
      if tail ~= '' and #chunk < CHUNK then chunk = chunk .. tail end
    end
  end
end

drop()
if ARGV[9] and ARGV[9] ~= '' then
  local record = redis.call('HGET', leaseKey, ARGV[9])
  if record then
    redis.call('HDEL', leaseKey, ARGV[9])
    dirty = true
    local units = tonumber(ARGV[10])
    if units > 0 then
      local stamp = tonumber(ARGV[11])
      if tick > 0 then stamp = (math.floor(stamp / tick) + 1) * tick end
      settled = math.max(newest, math.min(stamp, now + tick))
      if settled + window > now then append(settled, units) end
    end
  end
end
countLeases()

local allowed = used + leased + cost <= limit
local stamp = now
if tick > 0 then stamp = (math.floor(now / tick) + 1) * tick end
if stamp < newest then stamp = newest end
if allowed then
  if cost > 0 and not look then
    if want > 0 then
      granted = math.min(math.max(want, cost), limit - used - leased)
      local ends = now + tonumber(ARGV[7])
      redis.call('HSET', leaseKey, ARGV[8], struct.pack('<I4d', granted, ends))
      leased = leased + granted
      if ends > leaseEnd then leaseEnd = ends end
      stamp = now
      dirty = true
    else
      append(stamp, cost)
    end
  end
elseif cost > limit then
  retry = -1
else
  retry = stampOfUnit(used + leased + cost - limit) + window - now
  if used + cost > limit then certain = oldest + window - now end
end
save()
return { allowed and 1 or 0, math.max(0, limit - used - leased), retry, resetIn(), certain, stamp, granted, settled }
`

/** ARGV   4 stamp   5 units, given back if they still count. Gives 1 if they did. */
const refund = `
local stamp, units = tonumber(ARGV[4]), tonumber(ARGV[5])
drop()
if fresh or used == 0 or stamp < oldest or stamp > newest then return 0 end
local total = (redis.call('STRLEN', windowKey) - HEADER) / ENTRY
local low, high = dead, total - 1
while low < high do
  local middle = math.floor((low + high) / 2)
  local at = HEADER + middle * ENTRY
  if struct.unpack('<d', redis.call('GETRANGE', windowKey, at, at + 7)) < stamp then low = middle + 1 else high = middle end
end
local at = HEADER + low * ENTRY
local found, count = struct.unpack('<dI4', redis.call('GETRANGE', windowKey, at, at + ENTRY - 1))
if found ~= stamp or count < units then return 0 end
countLeases()
used = used - units
dirty = true
if count > units then
  redis.call('SETRANGE', windowKey, at + 8, struct.pack('<I4', count - units))
else
  local before = low > dead and redis.call('GETRANGE', windowKey, HEADER + dead * ENTRY, at - 1) or ''
  tail = before .. redis.call('GETRANGE', windowKey, at + ENTRY, -1)
  fresh = true
  oldest, newest = 0, 0
  if tail ~= '' then
    oldest = struct.unpack('<d', tail)
    newest = struct.unpack('<d', tail, #tail - ENTRY + 1)
  end
end
if used == 0 and leased == 0 then
  redis.call('DEL', windowKey, leaseKey)
else
  save()
end
return 1
`

/** ARGV   4 name of the caller's own lease, dropped unused. Leases that others hold go on counting: they may be used. */
const reset = `
if ARGV[4] ~= '' then redis.call('HDEL', leaseKey, ARGV[4]) end
countLeases()
dead, used, oldest, newest, fresh, dirty = 0, 0, 0, 0, true, true
if leased == 0 then
  redis.call('DEL', windowKey, leaseKey)
else
  save()
end
return 1
`

export interface Script {
  readonly body: string
  /** Names the script to `EVALSHA`. */
  readonly sha: string
}

export const consumeScript: Script = script(prelude + consume)
export const refundScript: Script = script(prelude + refund)
export const resetScript: Script = script(prelude + reset)

function script(body: string): Script {
  return { body, sha: createHash('sha1').update(body).digest('hex') }
}
