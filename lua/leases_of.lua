-- Lists the leases of one replica.
--
-- KEYS  1 leases (hash)
-- ARGV  1 owner   2 how many at most
-- Reply one list per lease: {participation, epoch, end of the lease in microseconds}
--
-- It reads all leases. They are as many as there are participations between admission and commit.

local limit = tonumber(ARGV[2])
if not string.match(ARGV[1] or '', '^%x+$') or not limit then
  return redis.error_reply('ERR leases_of: expected an owner and a limit')
end
local leases = redis.call('HGETALL', KEYS[1])
local answers = {}
for i = 1, #leases, 2 do
  local epoch, until_us, owner = string.match(leases[i + 1], '^[^:]+:%d+:%d+:%d*:(%d+):(%d+):(%x+)$')
  if owner == ARGV[1] and #answers < limit then
    answers[#answers + 1] = {leases[i], epoch, until_us}
  end
end
return answers
