-- Refuses an idempotency key permanently, some time after an entrant with it was refused, unless something was
-- admitted under the key since then.
--
-- KEYS  1 state (hash)   2 leases (hash)   3 what is remembered of the key (string)
-- ARGV  1 microseconds since the entrant was asked for, at least   2 length of a lease in microseconds
-- Reply {'REFUSED', epoch} and the refusal is remembered as one of now
--       | {'UNDECIDED'} (something was admitted under the key since, or may have been)
--       | {'MISSING'} (there is no state, or it is another run's)
--
-- The record of the key is written by admit.lua, which describes it. It lasts for a lease and longer than a rebuild,
-- but a gate that loses its state also loses it.

local age_us, lease_us = tonumber(ARGV[1]), tonumber(ARGV[2])
if #KEYS ~= 3 or #ARGV ~= 2 or not age_us or not lease_us or age_us < 0 or lease_us < 0 then
  return redis.error_reply('ERR refuse_key: expected an age and a lease')
end
local state = redis.call('HMGET', KEYS[1], 'run', 'keys_since_us', 'epoch', 'history')
local info = redis.call('INFO', 'server', 'replication')
if not state[1] or not string.find(info, 'run_id:' .. state[1], 1, true)
  or not string.find(info, state[4] or '', 1, true) then
  return {'MISSING'}
end
local known = redis.call('MGET', KEYS[3])[1]
local admitted_at, first = string.match(known or '', '^%d+:(%d+):(.*)$')
if not first or age_us >= lease_us or (first ~= '' and redis.call('HGET', KEYS[2], first)) then
  return {'UNDECIDED'}
end
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
if math.max(tonumber(admitted_at), tonumber(state[2] or '0')) >= now_us - age_us then
  return {'UNDECIDED'}
end
local remember_ms = string.format('%.0f', math.max(math.ceil(lease_us / 1000), 1))
redis.call('SET', KEYS[3], string.format('%.0f:%s:%s', now_us, admitted_at, first), 'PX', remember_ms)
return {'REFUSED', state[3]}
