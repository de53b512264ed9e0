-- Replaces the whole state by what a rebuild has loaded, and only moves the epoch forward. State of
-- another run of the server is no state: whatever its epoch, it is replaced.
--
-- KEYS  1 state (hash)   2 users (hash)   3 leases (hash)   4 expiry (sorted set)   5 loading (hash)
--       6 returned (hash)
-- ARGV  1 epoch   2 users loaded   3 units they hold   4 last rank
--       5 version   6 state   7 opens_at_us or ''   8 closes_at_us or ''   9 total or ''
--       10 per_user_limit   11 max_quantity   12 returns known of
-- Reply 'SWAPPED' | 'STALE' (the gate's epoch is this one or newer; what was loaded is dropped)
--       | 'INCOMPLETE' (what was loaded is not all there; nothing was changed)
--
-- Settings in force that are newer than the rebuild's are kept: it read the campaign earlier. The
-- work is the same however many users there are: a rename, and removals in the background.

for i = 1, 5 do
  if not tonumber(ARGV[i]) then
    return redis.error_reply('ERR swap: epoch, users, units, rank and version are numbers')
  end
end
if #ARGV ~= 12 or not tonumber(ARGV[10]) or not tonumber(ARGV[11]) or not tonumber(ARGV[12]) then
  return redis.error_reply('ERR swap: expected twelve arguments')
end
local run = string.match(redis.call('INFO', 'server'), 'run_id:([%w-]+)')
if not run then
  return redis.error_reply('ERR swap: the server does not tell its run_id')
end
local current = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'run')
if current[3] ~= run then
  current = {}
end
if current[1] and tonumber(current[1]) >= tonumber(ARGV[1]) then
  redis.call('UNLINK', KEYS[5])
  return 'STALE'
end
local loaded = redis.call('HLEN', KEYS[5])
if loaded ~= tonumber(ARGV[2]) then
  redis.call('UNLINK', KEYS[5])
  return 'INCOMPLETE'
end

-- HSET goes first because it is the one write that Redis refuses when its memory is full.
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'units', ARGV[3], 'last_rank', ARGV[4], 'returns', ARGV[12],
  'run', run)
if not current[2] or tonumber(current[2]) <= tonumber(ARGV[5]) then
  redis.call('HSET', KEYS[1], 'version', ARGV[5], 'state', ARGV[6], 'opens_at_us', ARGV[7],
    'closes_at_us', ARGV[8], 'total', ARGV[9], 'per_user_limit', ARGV[10], 'max_quantity', ARGV[11])
end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[6])
if loaded > 0 then
  redis.call('RENAME', KEYS[5], KEYS[2])
  redis.call('PERSIST', KEYS[2])
end
return 'SWAPPED'
