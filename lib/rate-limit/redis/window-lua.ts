/** The Lua that keeps an exact sliding window in one Redis string: pieces that the scripts are put together from. */

/*
 * A key is a string that is read and written at its end:
 *
 *     ┌ entries, 12 bytes each, oldest first ──────────┬ trailer, 52 bytes ──────────────────────────────────────────┐
 *     │ stamp count │ stamp count │ … │ stamp count    │ entries  dead  used  leased  last │ skew oldest newest expires │
 *     │ ─── dead ── │ ───────── live ──────────────    │ u32      u32   u32   u32     u32  │ f64  f64    f64    f64     │
 *     └────────────────────────────────────────────────┴─────────────────────────────────────────────────────────────┘
 *
 * Stamps are µs of the server's clock. A call reads the trailer, and entries only when some have expired or the moment a
 * refusal is over must be found; it writes one entry and the trailer, so that replicas and the append-only file see some
 * 100 bytes however high the limit is. When most entries are dead the string is written anew without them.
 *
 * `last` is the newest entry's count, `expires` when the key vanishes. `skew` is added to the server's clock: when that is
 * set back, a key's time goes on from its newest stamp.
 *
 * Units that are leased stand in a hash beside it, one field a lease: how many, and until when they may be used. Until
 * then any of them can be, so they count until a window after that, unless the holder settles the lease before: then
 * what was used becomes an entry stamped with the last use, and the rest is free.
 *
 * KEYS   the string, the hash of leases (same hash tag)
 * ARGV   1 window µs   2 limit   3 tick µs, then by script
 */
export const given = `
local windowKey, leaseKey = KEYS[1], KEYS[2]
local window, limit, tick = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
`

/** From the string to what is live of it. Needs what `given` names. */
export const opened = `
local TRAILER, ENTRY, CHUNK = 52, 12, 64 * 12
local call, pack, unpack = redis.call, struct.pack, struct.unpack

local entries, dead, used, leased, last, skew, oldest, newest, expires = 0, 0, 0, 0, 0, 0, 0, 0, 0
local trailer = call('GETRANGE', windowKey, -TRAILER, -1)
local fresh = trailer == ''
if not fresh then
  entries, dead, used, leased, last, skew, oldest, newest, expires = unpack('<I4I4I4I4I4dddd', trailer)
end
local written, tail, dirty = entries, '', false

local time = call('TIME')
local clock = time[1] * 1000000 + time[2]
if newest - tick > clock + skew then
  skew = newest - tick - clock
  dirty = true
end
local now = clock + skew

if used > 0 and oldest + window <= now then
  if newest + window <= now then
    entries, dead, used, last, oldest, newest, written, fresh = 0, 0, 0, 0, 0, 0, 0, true
  else
    -- Under steady load a call finds one or two that have expired since the last.
    local before, live, bytes = dead, false, 4 * ENTRY
    while not live do
      local first = dead * ENTRY
      local chunk = call('GETRANGE', windowKey, first, math.min(first + bytes, written * ENTRY) - 1)
      bytes = CHUNK
      if chunk == '' then error('the window at this key is damaged') end
      for at = 1, #chunk, ENTRY do
        local stamp, count = unpack('<dI4', chunk, at)
        if stamp + window > now then
          oldest, live = stamp, true
          break
        end
        dead = dead + 1
        used = used - count
      end
    end
    if dead - before > 64 then dirty = true end
  end
end

local leases, leaseEnd = nil, 0
`

/** Which leases count. */
export const countLeases = `
if leased > 0 then
  leased, leases = 0, {}
  local records = call('HGETALL', leaseKey)
  for i = 1, #records, 2 do
    local count, ends = unpack('<I4d', records[i + 1])
    if ends + window > now then
      leases[#leases + 1] = { ends, count }
      leased = leased + count
      if ends > leaseEnd then leaseEnd = ends end
    else
      call('HDEL', leaseKey, records[i])
    end
  end
  if #leases > 1 then table.sort(leases, function(a, b) return a[1] < b[1] end) end
end
`

/** Puts units behind the newest entry, or into it. Arguments are names. */
export function append(stamp: string, count: string): string {
  return `
if used > 0 and ${stamp} == newest then
  last = last + ${count}
  if tail == '' then written = written - 1 end
  tail = string.sub(tail, 1, -1 - ENTRY) .. pack('<dI4', ${stamp}, last)
else
  tail = tail .. pack('<dI4', ${stamp}, ${count})
  entries = entries + 1
  last = ${count}
  if used == 0 then oldest = ${stamp} end
  newest = ${stamp}
end
used = used + ${count}
dirty = true
`
}

/** Back to the string, when something is other than it was. Sets `untilFree`, µs. */
export const save = `
local untilFree = 0
if used > 0 then untilFree = newest end
if leased > 0 and leaseEnd > untilFree then untilFree = leaseEnd end
if untilFree > 0 then untilFree = untilFree + window - now end
if dirty then
  local body
  if fresh then
    body = ''
  elseif dead >= 16 and dead * 2 > entries then
    body = ''
    if written > dead then body = call('GETRANGE', windowKey, dead * ENTRY, written * ENTRY - 1) end
    entries = entries - dead
    dead = 0
  end
  -- Kept an eighth longer than it counts, so that not every call has to say so again.
  local longer = body
  if clock + untilFree > expires then
    expires = clock + untilFree * 1.125
    longer = true
  end
  local trailer = pack('<I4I4I4I4I4dddd', entries, dead, used, leased, last, skew, oldest, newest, expires)
  local ttl = math.ceil((expires - clock) / 1000) + 1
  if body then
    call('SET', windowKey, body .. tail .. trailer, 'PX', ttl)
  else
    call('SETRANGE', windowKey, written * ENTRY, tail .. trailer)
    if longer then call('PEXPIRE', windowKey, ttl) end
  end
  if leased > 0 then call('PEXPIRE', leaseKey, ttl) end
end
`

/** The stamp of the k-th unit that is live, as `freed`. */
const findUnit = `
local k = used + leased + cost - limit
if not leases and k <= 1 then
  freed = oldest
else
  local function entriesFrom(index)
    if index >= written then return '' end
    return call('GETRANGE', windowKey, index * ENTRY, math.min(index * ENTRY + CHUNK, written * ENTRY) - 1)
  end
  local leases = leases or {}
  local index, seen, i, l = dead, 0, 1, 1
  local chunk = entriesFrom(index)
  if #chunk < CHUNK then chunk = chunk .. tail end
  repeat
    local stamp, count
    if i <= #chunk then stamp, count = unpack('<dI4', chunk, i) end
    if leases[l] and (not stamp or leases[l][1] < stamp) then
      stamp, count, l = leases[l][1], leases[l][2], l + 1
    else
      i = i + ENTRY
    end
    seen, freed = seen + count, stamp
    if seen < k and i > #chunk then
      index, i = index + #chunk / ENTRY, 1
      chunk = entriesFrom(index)
      if #chunk < CHUNK and index <= written then chunk = chunk .. tail end
    end
  until seen >= k
end
`

/** Whether `cost` units fit, and when they will. Needs `cost`. */
export const judge = `
${countLeases}
local allowed, retry, certain = used + leased + cost <= limit, 0, 0
local stamp = now
if tick > 0 then stamp = (math.floor(now / tick) + 1) * tick end
if stamp < newest then stamp = newest end
if cost > limit then
  retry = -1
elseif not allowed then
  local freed
${findUnit}
  retry = freed + window - now
  if used + cost > limit then certain = oldest + window - now end
end
`
