-- Ends the leases of what was committed: the units and the users' places stay taken.
--
-- KEYS  1 leases (hash)   2 expiry (sorted set)
-- ARGV  participations
-- Reply how many leases ended; a participation without a lease is passed over

local ended = redis.call('HDEL', KEYS[1], unpack(ARGV))
redis.call('ZREM', KEYS[2], unpack(ARGV))
return ended
