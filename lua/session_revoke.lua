-- Ends all sessions and series of an account. For a time, callers that read the account before it changes to this
-- version cannot open a session.
--
-- KEYS  1 sessions (hash)   2 series (hash)   3 floor (hash)
-- ARGV  1 version the account is about to have   2 milliseconds that its readers may take
-- Reply sessions that were ended

local version = tonumber(ARGV[1])
if #ARGV ~= 2 or not version or not tonumber(ARGV[2]) then
  return redis.error_reply('ERR session_revoke: expected a version and a time')
end
local ended = redis.call('HLEN', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2])
if tonumber(redis.call('HGET', KEYS[3], 'version') or 0) < version then
  redis.call('HSET', KEYS[3], 'version', ARGV[1])
end
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return ended
