-- Applies new settings unless the gate has newer ones. Settings are ordered by the epoch that the campaign had when
-- they were read, and within an epoch by their version: a store that lost its last changes counts versions again, but
-- raises the epoch beyond the gate's before it rebuilds.
--
-- The keys of an ended campaign expire, also if they are of another run of the server. Without a state only the
-- settings are stored, with the same expiry, so that a rebuild that had read the campaign before it ended does not
-- open it again. State of another run of the server is void, so it loses its run: settings without one stay (swap.lua).
--
-- KEYS  1 state (hash)   2 users (hash)   3 leases (hash)   4 returned (hash)
-- ARGV  1 epoch of the campaign   2 version   3 state   4 opens_at_us or ''   5 closes_at_us or ''
--       6 total or ''   7 per_user_limit   8 max_quantity
--       9 milliseconds that the keys stay when the campaign is over
-- Reply 'APPLIED' | 'STALE' (newer settings are in force)
--       | 'MISSING' (no state, or one of another run of the server: rebuild first)

local epoch, version = tonumber(ARGV[1]), tonumber(ARGV[2])
if #ARGV ~= 9 or not epoch or not version or not tonumber(ARGV[7]) or not tonumber(ARGV[8])
  or not tonumber(ARGV[9]) then
  return redis.error_reply('ERR configure: expected nine arguments')
end
local is_over = ARGV[3] == 'closed' or ARGV[3] == 'archived'
local known = redis.call('HMGET', KEYS[1], 'settings_epoch', 'version', 'run', 'history')
local run, info = known[3], redis.call('INFO', 'server', 'replication')
local is_here = run and string.find(info, 'run_id:' .. run, 1, true) and string.find(info, known[4] or '', 1, true)
if not is_here and not is_over then
  return 'MISSING'
end
if run and not is_here then
  known = {}
end
local known_epoch, known_version = tonumber(known[1]), tonumber(known[2])
if known_epoch and (known_epoch > epoch or (known_epoch == epoch and known_version > version)) then
  return 'STALE'
end
redis.call('HSET', KEYS[1], 'settings_epoch', ARGV[1], 'version', ARGV[2], 'state', ARGV[3],
  'opens_at_us', ARGV[4], 'closes_at_us', ARGV[5], 'total', ARGV[6], 'per_user_limit', ARGV[7],
  'max_quantity', ARGV[8])
if run and not is_here then
  redis.call('HDEL', KEYS[1], 'run', 'epoch')
elseif run and not known[4] then
  -- An older release wrote the state.
  redis.call('HSET', KEYS[1], 'history', string.match(info, 'master_replid:%w+') or '')
end
for i = 1, 4 do
  if is_over then
    redis.call('PEXPIRE', KEYS[i], ARGV[9])
  else
    redis.call('PERSIST', KEYS[i])
  end
end
return 'APPLIED'
