-- Lists leases of some replicas.
--
-- KEYS  1 state (hash)   2 leases (hash)
-- ARGV  1 only leases of epochs before this one   2 how many at most, then owners
-- Reply one list per lease: {participation, epoch, end of the lease in microseconds}; none if the state is missing or
--       another run's: a rebuild will end all leases
--
-- It reads all leases. They are as many as there are participations between admission and commit.

local before, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
if not before or not limit then
  return redis.error_reply('ERR leases_of: expected an epoch, a limit and owners')
end
local state = redis.call('HMGET', KEYS[1], 'run', 'history')
local info = redis.call('INFO', 'server', 'replication')
if not state[1] or not string.find(info, 'run_id:' .. state[1], 1, true)
  or not string.find(info, state[2] or '', 1, true) then
  return {}
end
local is_wanted = {}
for i = 3, #ARGV do
  is_wanted[ARGV[i]] = true
end
local leases = redis.call('HGETALL', KEYS[2])
local answers = {}
for i = 1, #leases, 2 do
  local epoch, until_us, owner = string.match(leases[i + 1], '^[^:]+:%d+:%d+:%d*:(%d+):(%d+):(%x+)$')
  if is_wanted[owner] and tonumber(epoch) < before and #answers < limit then
    answers[#answers + 1] = {leases[i], epoch, until_us}
  end
end
return answers
