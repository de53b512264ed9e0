-- Returns the state of one campaign.
--
-- KEYS  1 state (hash)   2 users (hash)   3 leases (hash)   4 returned (hash)
-- ARGV  none
-- Reply {'STATE', epoch, units, last rank, remaining or '', leases, users,
--         returns known of, epoch of the campaign when its settings were read, version, state,
--         opens_at_us or '', closes_at_us or '', total or '', per_user_limit, max_quantity}
--       | {'MISSING'} (none, or one of another run of the server)

local state = redis.call('HMGET', KEYS[1], 'epoch', 'units', 'last_rank', 'total', 'run', 'returns',
  'settings_epoch', 'version', 'state', 'opens_at_us', 'closes_at_us', 'per_user_limit', 'max_quantity',
  'history')
local info = redis.call('INFO', 'server', 'replication')
if not state[5] or not string.find(info, 'run_id:' .. state[5], 1, true)
  or not string.find(info, state[14] or '', 1, true) then
  return {'MISSING'}
end
local total, remaining = tonumber(state[4]), ''
if total then
  remaining = string.format('%.0f', math.max(total - tonumber(state[2]), 0))
end
return {'STATE', state[1], state[2], state[3], remaining,
  redis.call('HLEN', KEYS[3]), redis.call('HLEN', KEYS[2]),
  string.format('%.0f', tonumber(state[6] or '0') + redis.call('HLEN', KEYS[4])),
  state[7], state[8], state[9], state[10], state[11], state[4], state[12], state[13]}
