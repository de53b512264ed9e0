-- Decides whether a log-in may be tried, and counts it as a failure at once. login_end uncounts a success. So of many
-- concurrent log-ins, only as many are tried as failures are allowed.
--
-- Failures are counted for the login name from one address, and for the login name from all addresses. After a number
-- of failures without a delay, the next try must wait, and twice as long each time, up to a bound. From an address
-- with a recent correct password nobody waits, until too many failures come from it, too.
--
-- All is in one hash: 'all' and 'from:ADDRESS' have the value 'count until_us last_us', 'good:ADDRESS' has 'until_us
-- failures', and 'keep_us' is the latest end of these.
--
-- Sent after login_head.lua.
--
-- KEYS  1 failures of a login name (hash)
-- ARGV  1 address   2 failures from one address that cost nothing   3 failures from all that cost nothing
--       4 microseconds of the first delay   5 microseconds of the longest   6 microseconds after which failures
--       are forgotten   7 failures after which an address is not good any more   8 addresses at most
-- Reply {'KNOWN'} | {'TRY'} | {'WAIT', microseconds}

local address, free_from, free_all = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local first_us, longest_us, forget_us = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local good_failures, addresses_max = tonumber(ARGV[7]), tonumber(ARGV[8])
if #ARGV ~= 8 or not (free_from and free_all and first_us and longest_us and forget_us and good_failures
    and addresses_max) or addresses_max < 1 then
  return redis.error_reply('ERR login_try: expected an address and the bounds of log-ins')
end

local function count_of(field)
  local kept = redis.call('HGET', KEYS[1], field)
  local count, until_us, last_us = string.match(kept or '', '^(%d+) (%d+) (%d+)$')
  if not count or now_us - tonumber(last_us) > forget_us then
    return 0, 0
  end
  -- Written before the server's clock was set back: nobody waits as long as that was.
  if tonumber(last_us) > now_us then
    return tonumber(count), 0
  end
  return tonumber(count), tonumber(until_us)
end

local function fail(field, count, free)
  local until_us = 0
  if count > free then
    until_us = now_us + math.min(first_us * 2 ^ math.min(count - free - 1, 40), longest_us)
  end
  redis.call('HSET', KEYS[1], field, count .. ' ' .. digits(until_us) .. ' ' .. digits(now_us))
end

local good = 'good:' .. address
local good_until, failures = string.match(redis.call('HGET', KEYS[1], good) or '', '^(%d+) (%d+)$')
if good_until and tonumber(good_until) > now_us and tonumber(failures) < good_failures then
  redis.call('HSET', KEYS[1], good, good_until .. ' ' .. (failures + 1))
  return {'KNOWN'}
end

local from = 'from:' .. address
local from_count, from_until = count_of(from)
local all_count, all_until = count_of('all')
local wait_us = math.max(from_until, all_until) - now_us
if wait_us > 0 then
  return {'WAIT', digits(wait_us)}
end

-- Expired entries are removed first, and then those with the oldest failure.
if from_count == 0 then
  make_room('from:', '(%d+)$', now_us - forget_us, addresses_max)
end
fail(from, from_count + 1, free_from)
fail('all', all_count + 1, free_all)
local keep_us = tonumber(redis.call('HGET', KEYS[1], 'keep_us') or 0) - now_us
redis.call('PEXPIRE', KEYS[1], digits(math.ceil(math.max(forget_us, keep_us) / 1000)))
return {'TRY'}
