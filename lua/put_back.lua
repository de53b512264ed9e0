-- Returns a token to a bucket, because the request that took it does not count.
--
-- KEYS  1 bucket (hash)
-- ARGV  1 microseconds in which a token comes back
-- Reply 1

local token_us = tonumber(ARGV[1])
if #ARGV ~= 1 or not token_us or token_us < 1 then
  return redis.error_reply('ERR put_back: expected the time of a token')
end
local full_us = tonumber(redis.call('HGET', KEYS[1], 'full_us') or 0)
if full_us > 0 then
  redis.call('HSET', KEYS[1], 'full_us', string.format('%.0f', full_us - token_us))
end
return 1
