-- Sends the tokens of a file in turn and prints what wrk saw as one line of JSON.
local requests = {}
local at = 0

function init(args)
  for token in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format(nil, nil, { Authorization = "Bearer " .. token })
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local shares = {}
  for _, percent in ipairs({ 0, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99 }) do
    local value = percent == 0 and latency.min or latency:percentile(percent)
    shares[#shares + 1] = string.format("[%.4f,%.3f]", percent / 100, value / 1000)
  end
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%f,"refused":%d,"errors":%d,"latency":[%s]}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, table.concat(shares, ",")
  ))
end
