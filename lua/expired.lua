-- Lists expired leases, oldest first.
--
-- KEYS  1 leases (hash)
-- ARGV  1 how many at most   2 owner: the replica that asks   3 length of its longest lease in microseconds;
--       0: it has none
-- Reply the server's time in microseconds, then one list per lease:
--       {participation, epoch, end of the lease in microseconds}
--
-- It reads all leases. They are as many as there are participations between admission and commit.
--
-- A lease of this owner that ends later than one that begins now was written before the server's clock was set back.
-- It begins again: its owner does not commit longer than that, and its units return. Other owners have perhaps longer
-- leases, and ask for themselves; those of dead ones are ended otherwise (leases_of.lua).

local limit, longest_us = tonumber(ARGV[1]), tonumber(ARGV[3])
if #ARGV ~= 3 or not limit or not longest_us then
  return redis.error_reply('ERR expired: expected how many at most, an owner and the length of its leases')
end
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local leases = redis.call('HGETALL', KEYS[1])
local last_us = now_us + longest_us
local due, ends, begun = {}, {}, {}
for i = 1, #leases, 2 do
  local before, epoch, until_us, owner = string.match(leases[i + 1], '^([^:]+:%d+:%d+:%d*:(%d+):)(%d+):(%x+)$')
  local end_us = tonumber(until_us or '')
  if end_us and longest_us > 0 and end_us > last_us and owner == ARGV[2] then
    begun[#begun + 1] = leases[i]
    begun[#begun + 1] = before .. string.format('%.0f', last_us) .. ':' .. owner
  end
  if end_us and end_us <= now_us then
    local lease = {leases[i], epoch, until_us}
    due[#due + 1], ends[lease] = lease, end_us
  end
end
for first = 1, #begun, 2000 do
  redis.call('HSET', KEYS[1], unpack(begun, first, math.min(first + 1999, #begun)))
end
table.sort(due, function(one, other)
  if ends[one] ~= ends[other] then
    return ends[one] < ends[other]
  end
  return one[1] < other[1]
end)
return {string.format('%.0f', now_us), unpack(due, 1, math.min(limit, #due))}
