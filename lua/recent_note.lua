-- Stores the recent answers of one replica for a campaign, in place of its previous ones, and deletes replicas
-- without recent answers.
--
-- KEYS  1 recent (hash)
-- ARGV  1 replica   2 answers   3 microseconds they took together   4 microseconds for which this counts
-- Reply 'NOTED'
--
-- A value is until:answers:microseconds.

local answers, took_us, term_us = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if #ARGV ~= 4 or not (answers and took_us and term_us) or term_us < 1000 then
  return redis.error_reply('ERR recent_note: expected a replica, its answers, their time and a term')
end

local function digits(number)
  return string.format('%.0f', number)
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local noted = redis.call('HGETALL', KEYS[1])
for at = 1, #noted, 2 do
  local until_us = tonumber(string.match(noted[at + 1], '^(%d+):'))
  if not until_us or until_us <= now_us then
    redis.call('HDEL', KEYS[1], noted[at])
  end
end
redis.call('HSET', KEYS[1], ARGV[1],
  table.concat({digits(now_us + term_us), digits(answers), digits(took_us)}, ':'))
redis.call('PEXPIRE', KEYS[1], digits(math.ceil(term_us / 1000)))
return 'NOTED'
