-- Lists the sessions of an account and its series of remembered log-ins, without expired ones.
--
-- Sent after session_head.lua.
--
-- KEYS  1 sessions (hash)   2 series (hash)
-- ARGV  1 microseconds a session may be idle
-- Reply six for each: 'SESSION' or 'SERIES', its digest, us of its beginning or '', us of its last use (of a
--       session to within a sixteenth of the time it may be idle), us of its end, address or '-'

local idle_us = tonumber(ARGV[1])
if #ARGV ~= 1 or not idle_us then
  return redis.error_reply('ERR session_list: expected how long a session may be idle')
end

local found = {}

local function add(kind, digest, opened, used_us, ends, address)
  for _, field in ipairs({kind, digest, opened, digits(used_us), ends, address}) do
    found[#found + 1] = field
  end
end

local sessions = redis.call('HGETALL', KEYS[1])
for at = 1, #sessions, 2 do
  local until_us, ends, opened, address = string.match(sessions[at + 1], '^(%d+) (%d+) (%d+) (%S+) ')
  if tonumber(until_us) > now_us then
    local used_us = math.max(math.min(until_us - idle_us, now_us), tonumber(opened))
    add('SESSION', sessions[at], opened, used_us, ends, address)
  end
end
local series = redis.call('HGETALL', KEYS[2])
for at = 1, #series, 2 do
  local ends, used = string.match(series[at + 1], '^(%d+) (%d+) ')
  if tonumber(ends) > now_us then
    add('SERIES', series[at], '', tonumber(used), ends, '-')
  end
end
return found
