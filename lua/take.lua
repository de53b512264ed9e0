-- Takes tokens from a bucket: all or none. The bucket is stored as the time at which it will be full again (the
-- generic cell rate algorithm), so it needs one field, and none when it is full.
--
-- KEYS  1 bucket (hash)
-- ARGV  1 microseconds in which a token comes back   2 tokens of a full bucket   3 tokens to take
-- Reply {'TAKEN', tokens left, microseconds until the bucket is full}
--       | {'EMPTY', microseconds until there are enough, microseconds until the bucket is full}

local token_us, tokens, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not token_us or token_us < 1 or not tokens or tokens < 1 or not count or count < 1 or count > tokens then
  return redis.error_reply('ERR take: expected the time of a token, the tokens of a bucket and the tokens to take')
end

local function digits(number)
  return string.format('%.0f', number)
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local full_us = math.max(tonumber(redis.call('HGET', KEYS[1], 'full_us') or now_us), now_us)
-- No bucket takes longer to fill: this one was written before the server's clock was set back, or was larger.
if full_us > now_us + token_us * tokens then
  full_us = now_us
end
local after_us = full_us + token_us * count
local missing_us = after_us - now_us
if missing_us > token_us * tokens then
  return {'EMPTY', digits(missing_us - token_us * tokens), digits(full_us - now_us)}
end
redis.call('HSET', KEYS[1], 'full_us', digits(after_us))
redis.call('PEXPIRE', KEYS[1], digits(math.ceil(missing_us / 1000)))
return {'TAKEN', digits(math.floor((token_us * tokens - missing_us) / token_us)), digits(missing_us)}
