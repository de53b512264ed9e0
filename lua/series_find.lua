-- Finds a series of remembered log-ins, and whether a token is its latest. It changes nothing.
--
-- Sent after session_head.lua.
--
-- KEYS  1 series (hash)
-- ARGV  1 series   2 token shown
-- Reply {'CURRENT'} (the token is the one) | {'REPLACED'} (another one is) | {'NONE'} (there is no such series)

if #ARGV ~= 2 then
  return redis.error_reply('ERR series_find: expected a series and a token')
end

local kept = redis.call('HGET', KEYS[1], ARGV[1])
if not kept then
  return {'NONE'}
end
local ends_us, token = string.match(kept, '^(%d+) %d+ (%S+)')
if tonumber(ends_us) <= now_us then
  return {'NONE'}
end
if token ~= ARGV[2] then
  return {'REPLACED'}
end
return {'CURRENT'}
