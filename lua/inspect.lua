-- Tells the state of one campaign.
--
-- KEYS  1 state (hash)   2 users (hash)   3 leases (hash)
-- ARGV  none
-- Reply {'STATE', epoch, units, last rank, remaining or '', leases, users} | {'MISSING'}

local state = redis.call('HMGET', KEYS[1], 'epoch', 'units', 'last_rank', 'total')
if not state[1] then
  return {'MISSING'}
end
local total, remaining = tonumber(state[4]), ''
if total then
  remaining = string.format('%.0f', math.max(total - tonumber(state[2]), 0))
end
return {'STATE', state[1], state[2], state[3], remaining,
  redis.call('HLEN', KEYS[3]), redis.call('HLEN', KEYS[2])}
