-- Ends the leases of what was committed: the units and the users' places stay taken.
--
-- KEYS  1 leases (hash)
-- ARGV  participations
-- Reply how many leases ended; a participation without a lease is passed over

return redis.call('HDEL', KEYS[1], unpack(ARGV))
