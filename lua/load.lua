-- Loads one chunk of the users of a rebuild into a separate key, next to the current state.
--
-- KEYS  1 loading (hash): named after the epoch and the attempt, so that two attempts never mix
-- ARGV  1 how long an abandoned attempt stays, in milliseconds, then for each user: user, units,
--       first participation
-- Reply how many users are loaded so far

local count = (#ARGV - 1) / 3
if not tonumber(ARGV[1]) or count < 1 or count % 1 ~= 0 then
  return redis.error_reply('ERR load: expected a time and triples of user, units, participation')
end
local fields = {}
for i = 1, count do
  local units = ARGV[3 * i]
  if not string.match(units, '^[1-9]%d*$') then
    return redis.error_reply('ERR load: a user holds a whole number of units from 1')
  end
  fields[2 * i - 1] = ARGV[3 * i - 1]
  fields[2 * i] = units .. ':' .. ARGV[3 * i + 1]
end
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('HLEN', KEYS[1])
