-- Ends a session, a series of remembered log-ins, or both.
--
-- KEYS  1 sessions (hash)   2 series (hash)
-- ARGV  1 session or ''   2 series or ''
-- Reply how many there were

if #ARGV ~= 2 then
  return redis.error_reply('ERR session_end: expected a session and a series')
end
local ended = 0
for at = 1, 2 do
  if ARGV[at] ~= '' then
    ended = ended + redis.call('HDEL', KEYS[at], ARGV[at])
  end
end
return ended
