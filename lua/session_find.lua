-- Finds a session that has not expired, and restarts its idle period. The new end is written at most 16 times per
-- idle period, so a session may end 1/16 early.
--
-- Sent after session_head.lua.
--
-- KEYS  1 sessions (hash)
-- ARGV  1 session   2 microseconds it may be idle
-- Reply {'FOUND', us of its end, scopes} | {'NONE'}

local idle_us = tonumber(ARGV[2])
if #ARGV ~= 2 or not idle_us then
  return redis.error_reply('ERR session_find: expected a session and how long it may be idle')
end

local kept = redis.call('HGET', KEYS[1], ARGV[1])
if not kept then
  return {'NONE'}
end
local before, ends, origin, scopes = string.match(kept, '^(%d+) (%d+) (%d+ %S+) (.*)$')
local until_us, ends_us = tonumber(before), tonumber(ends)
if until_us <= now_us then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return {'NONE'}
end
local next_us = math.min(now_us + idle_us, ends_us)
if next_us - until_us > idle_us / 16 or (next_us == ends_us and until_us < ends_us) then
  redis.call('HSET', KEYS[1], ARGV[1], digits(next_us) .. ' ' .. ends .. ' ' .. origin .. ' ' .. scopes)
end
return {'FOUND', ends, scopes}
