-- Estimates the memory of a campaign in the server.
--
-- KEYS  1 state (hash)   2 users (hash)   3 leases (hash)   4 returned (hash)
-- ARGV  1 entries of a key that are measured; the rest is estimated from them
-- Reply {users, leases, returns, bytes, milliseconds until the keys expire or ''}
--
-- State of another run of the server counts, too: it uses memory until it is replaced.

if not tonumber(ARGV[1]) then
  return redis.error_reply('ERR footprint: expected how many entries are measured')
end
local bytes = 0
for i = 1, 4 do
  bytes = bytes + (redis.call('MEMORY', 'USAGE', KEYS[i], 'SAMPLES', ARGV[1]) or 0)
end
local expires = redis.call('PTTL', KEYS[1])
return {redis.call('HLEN', KEYS[2]), redis.call('HLEN', KEYS[3]), redis.call('HLEN', KEYS[4]), bytes,
  expires < 0 and '' or string.format('%.0f', expires)}
