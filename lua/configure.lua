-- Puts new settings in force unless the gate has newer ones.
--
-- KEYS  1 state (hash)
-- ARGV  1 version   2 state   3 opens_at_us or ''   4 closes_at_us or ''   5 total or ''
--       6 per_user_limit   7 max_quantity
-- Reply 'APPLIED' | 'STALE' (a newer version is in force)
--       | 'MISSING' (no state, or one of another run of the server: rebuild first)

if #ARGV ~= 7 or not tonumber(ARGV[1]) or not tonumber(ARGV[6]) or not tonumber(ARGV[7]) then
  return redis.error_reply('ERR configure: expected seven settings')
end
local state = redis.call('HMGET', KEYS[1], 'version', 'run')
if not state[2] or not string.find(redis.call('INFO', 'server'), state[2], 1, true) then
  return 'MISSING'
end
if tonumber(state[1]) > tonumber(ARGV[1]) then
  return 'STALE'
end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'state', ARGV[2], 'opens_at_us', ARGV[3],
  'closes_at_us', ARGV[4], 'total', ARGV[5], 'per_user_limit', ARGV[6], 'max_quantity', ARGV[7])
return 'APPLIED'
