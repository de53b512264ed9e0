-- Replaces the whole state by the loaded one, and only moves the epoch forward. State of another run of the server, or
-- of another history (admit.lua), counts as missing: it is replaced whatever its epoch.
--
-- KEYS  1 state (hash)   2 users (hash)   3 leases (hash)   4 loading (hash)   5 returned (hash)
-- ARGV  1 epoch   2 users loaded   3 units they hold   4 last rank
--       5 epoch of the campaign when its settings were read   6 version   7 state   8 opens_at_us or ''
--       9 closes_at_us or ''   10 total or ''   11 per_user_limit   12 max_quantity   13 returns known of
--       14 milliseconds that the keys stay when the campaign is over
-- Reply 'SWAPPED' | 'STALE' (the gate's epoch is this one or newer; what was loaded is dropped)
--       | 'INCOMPLETE' (what was loaded is not all there; nothing was changed)
--
-- Settings that are newer than the rebuild's (configure.lua defines the order) stay, because the rebuild read the
-- campaign earlier. If the store has lost them, the rebuild detects it afterwards and raises the epoch beyond theirs.
-- The work does not depend on the number of users: a rename, and removals in the background.

for i = 1, 6 do
  if not tonumber(ARGV[i]) then
    return redis.error_reply('ERR swap: epochs, users, units, rank and version are numbers')
  end
end
if #ARGV ~= 14 or not tonumber(ARGV[11]) or not tonumber(ARGV[12]) or not tonumber(ARGV[13])
  or not tonumber(ARGV[14]) then
  return redis.error_reply('ERR swap: expected fourteen arguments')
end
local info = redis.call('INFO', 'server', 'replication')
local run, history = string.match(info, 'run_id:([%w-]+)'), string.match(info, 'master_replid:%w+') or ''
if not run then
  return redis.error_reply('ERR swap: the server does not tell its run_id')
end
-- Settings without a run are those of an ended campaign, see configure.lua.
local current = redis.call('HMGET', KEYS[1], 'epoch', 'run', 'settings_epoch', 'version', 'state', 'history')
if current[2] and current[2] ~= run then
  current = {}
elseif current[2] and (current[6] or history) ~= history then
  -- Newer settings stay: in this run, a replica of an older release may have applied them.
  current[1] = false
end
if current[1] and tonumber(current[1]) >= tonumber(ARGV[1]) then
  redis.call('UNLINK', KEYS[4])
  return 'STALE'
end
local loaded = redis.call('HLEN', KEYS[4])
if loaded ~= tonumber(ARGV[2]) then
  redis.call('UNLINK', KEYS[4])
  return 'INCOMPLETE'
end

-- The keys that were refused before are unknown now, because the gate was lost, or the database refused them while
-- this gate was closed. Before the first epoch there was nothing to refuse.
local keys_since_us = '0'
if tonumber(ARGV[1]) > 1 then
  local time = redis.call('TIME')
  keys_since_us = string.format('%.0f', time[1] * 1000000 + time[2])
end

-- HSET is first because it is the only write that Redis rejects when its memory is full.
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'rebuilt', ARGV[1], 'units', ARGV[3], 'last_rank', ARGV[4], 'returns', ARGV[13],
  'run', run, 'history', history, 'keys_since_us', keys_since_us)
local known_epoch, known_version = tonumber(current[3]), tonumber(current[4])
local epoch, version, state = tonumber(ARGV[5]), tonumber(ARGV[6]), current[5]
if not known_epoch or known_epoch < epoch or (known_epoch == epoch and known_version <= version) then
  redis.call('HSET', KEYS[1], 'settings_epoch', ARGV[5], 'version', ARGV[6], 'state', ARGV[7],
    'opens_at_us', ARGV[8], 'closes_at_us', ARGV[9], 'total', ARGV[10], 'per_user_limit', ARGV[11],
    'max_quantity', ARGV[12])
  state = ARGV[7]
end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[5])
if loaded > 0 then
  redis.call('RENAME', KEYS[4], KEYS[2])
end
for i = 1, 2 do
  if state == 'closed' or state == 'archived' then
    redis.call('PEXPIRE', KEYS[i], ARGV[14])
  else
    redis.call('PERSIST', KEYS[i])
  end
end
return 'SWAPPED'
