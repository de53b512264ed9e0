-- Adds up the recent answers of all replicas except one for a campaign.
--
-- KEYS  1 recent (hash)
-- ARGV  1 the replica that is left out: it knows its own better
-- Reply {answers, microseconds they took together}

if #ARGV ~= 1 then
  return redis.error_reply('ERR recent_sum: expected a replica')
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local noted = redis.call('HGETALL', KEYS[1])
local answers, took_us = 0, 0
for at = 1, #noted, 2 do
  local until_us, count, us = string.match(noted[at + 1], '^(%d+):(%d+):(%d+)$')
  if until_us and noted[at] ~= ARGV[1] and tonumber(until_us) > now_us then
    answers, took_us = answers + tonumber(count), took_us + tonumber(us)
  end
end
return {string.format('%.0f', answers), string.format('%.0f', took_us)}
