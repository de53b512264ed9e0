-- Lists expired leases, oldest first.
--
-- KEYS  1 leases (hash)
-- ARGV  1 how many at most
-- Reply one list per lease: {participation, epoch, end of the lease in microseconds}
--
-- It reads all leases. They are as many as there are participations between admission and commit.

local limit = tonumber(ARGV[1])
if not limit then
  return redis.error_reply('ERR expired: expected how many at most')
end
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local leases = redis.call('HGETALL', KEYS[1])
local due, ends = {}, {}
for i = 1, #leases, 2 do
  local epoch, until_us = string.match(leases[i + 1], '^[^:]+:%d+:%d+:%d*:(%d+):(%d+):')
  local end_us = tonumber(until_us or '')
  if end_us and end_us <= now_us then
    local lease = {leases[i], epoch, until_us}
    due[#due + 1], ends[lease] = lease, end_us
  end
end
table.sort(due, function(one, other)
  if ends[one] ~= ends[other] then
    return ends[one] < ends[other]
  end
  return one[1] < other[1]
end)
return {unpack(due, 1, math.min(limit, #due))}
