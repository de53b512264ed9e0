-- Lists expired leases, oldest first.
--
-- KEYS  1 leases (hash)   2 expiry (sorted set)
-- ARGV  1 how many at most
-- Reply one list per lease: {participation, epoch, end of the lease in microseconds}

local time = redis.call('TIME')
local now_us = string.format('%.0f', time[1] * 1000000 + time[2])
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now_us, 'LIMIT', '0', ARGV[1])
if #due == 0 then
  return {}
end
local leases = redis.call('HMGET', KEYS[1], unpack(due))
local answers = {}
for i = 1, #due do
  local epoch, until_us = string.match(leases[i] or '', '^[^:]+:%d+:%d+:%d*:(%d+):(%d+):')
  if epoch then
    answers[#answers + 1] = {due[i], epoch, until_us}
  else
    -- The hash was lost and the set was not: nothing can be returned, and the entry must not fill the page.
    redis.call('ZREM', KEYS[2], due[i])
  end
end
return answers
