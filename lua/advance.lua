-- Moves the gate to the next epoch, with all leases but those of dead replicas. From then on the store rejects what was
-- admitted before. Replicas that are alive ask again, and get their leases in the new epoch. The leases of the dead stay
-- in the old one, in which nothing can be committed any more, until they are settled or released.
--
-- KEYS  1 state (hash)   2 leases (hash)
-- ARGV  1 epoch that the gate must be in   2 next epoch, then owners whose leases stay
-- Reply 'ADVANCED' | 'STALE' (the gate is in another epoch, or its state is missing, or another run's: rebuild it)
--
-- The state is still that of the last rebuild, so `rebuilt` stays: units of leases and returns since then are counted.
-- State that an older release wrote has no `rebuilt`: there, each epoch began with a rebuild.

local from, to = tonumber(ARGV[1]), tonumber(ARGV[2])
if not from or not to or to <= from then
  return redis.error_reply('ERR advance: expected an epoch and a later one')
end
local state = redis.call('HMGET', KEYS[1], 'epoch', 'run', 'rebuilt', 'history')
local info = redis.call('INFO', 'server', 'replication')
if not state[2] or not string.find(info, 'run_id:' .. state[2], 1, true)
  or not string.find(info, state[4] or '', 1, true) then
  return 'STALE'
end
if tonumber(state[1]) ~= from then
  return 'STALE'
end
local stays = {}
for i = 3, #ARGV do
  stays[ARGV[i]] = true
end
local leases = redis.call('HGETALL', KEYS[2])
local moved = {}
for i = 1, #leases, 2 do
  local before, epoch, until_us, owner = string.match(leases[i + 1], '^([^:]+:%d+:%d+:%d*:)(%d+):(%d+):(%x+)$')
  if tonumber(epoch) == from and not stays[owner] then
    moved[#moved + 1] = leases[i]
    moved[#moved + 1] = before .. ARGV[2] .. ':' .. until_us .. ':' .. owner
  end
end
-- The epoch comes last: if Redis rejects a write because its memory is full, the gate stays in its epoch, and the
-- caller rebuilds it.
for first = 1, #moved, 2000 do
  redis.call('HSET', KEYS[2], unpack(moved, first, math.min(first + 1999, #moved)))
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'rebuilt', state[3] or ARGV[1])
return 'ADVANCED'
