-- Uncounts the failure that login_try counted, because the password was correct or was not checked. After a correct
-- password the address is known from now on, and its failures are deleted.
--
-- Sent after login_head.lua.
--
-- KEYS  1 failures of a login name (hash)
-- ARGV  1 address   2 microseconds for which the address is good; 0: the password was not looked at
--       3 good addresses at most   4 what login_try answered: KNOWN or TRY
-- Reply 1

local address, good_us, addresses_max = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if #ARGV ~= 4 or not (good_us and addresses_max) or addresses_max < 1 then
  return redis.error_reply('ERR login_end: expected an address and how long it is good')
end

local from, good = 'from:' .. address, 'good:' .. address

local function take_back(field)
  local kept = redis.call('HGET', KEYS[1], field)
  local count, last_us = string.match(kept or '', '^(%d+) %d+ (%d+)$')
  if not count then
    return
  end
  if tonumber(count) <= 1 then
    redis.call('HDEL', KEYS[1], field)
  else
    redis.call('HSET', KEYS[1], field, (count - 1) .. ' 0 ' .. last_us)
  end
end

local known, failures = string.match(redis.call('HGET', KEYS[1], good) or '', '^(%d+) (%d+)$')
if known and tonumber(known) <= now_us then
  known = nil
end
if good_us == 0 and known and tonumber(failures) > 0 and ARGV[4] == 'KNOWN' then
  redis.call('HSET', KEYS[1], good, known .. ' ' .. (failures - 1))
  return 1
end
if ARGV[4] ~= 'KNOWN' then
  take_back('all')
  take_back(from)
end
if good_us == 0 then
  return 1
end
redis.call('HDEL', KEYS[1], from)
if not known then
  make_room('good:', '^%d+', now_us, addresses_max)
end
redis.call('HSET', KEYS[1], good, digits(now_us + good_us) .. ' 0', 'keep_us', digits(now_us + good_us))
redis.call('PEXPIRE', KEYS[1], digits(math.ceil(good_us / 1000)))
return 1
