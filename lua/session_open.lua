-- Opens a session of an account, unless the account has changed since it was read. With a series it also remembers
-- the log-in. Either a new series begins, or an existing one continues; then its latest token must be shown, and is
-- replaced. A token that was replaced before is a copy: the series ends, and all sessions of the account end.
--
-- The value of a session is 'until_us ends_us opened_us address scopes', that of a series 'ends_us used_us token
-- previous'.
--
-- Sent after session_head.lua.
--
-- KEYS  1 sessions (hash)   2 series (hash)   3 floor (hash)
-- ARGV  1 session   2 microseconds it may be idle   3 microseconds it may last   4 its scopes
--       5 version of the account   6 sessions at most
--       7 series or ''   8 token shown, '' for a new series   9 next token   10 microseconds a series lasts
--       11 series at most   12 microseconds in which a token used twice is an accident   13 address, '-' for none
-- Reply {'OPENED', us of the session's end, us of the series' end or ''}
--       | {'STALE'} (the account has a newer version: read it again)
--       | {'UNKNOWN'} (there is no such series) | {'JUST_USED'} (the token was used a moment ago)
--       | {'STOLEN', sessions that were ended}

local idle_us, lasts_us = tonumber(ARGV[2]), tonumber(ARGV[3])
local version, sessions_max = tonumber(ARGV[5]), tonumber(ARGV[6])
local series, shown, series_us = ARGV[7], ARGV[8], tonumber(ARGV[10])
local series_max, grace_us = tonumber(ARGV[11]), tonumber(ARGV[12])
if #ARGV ~= 13 or not (idle_us and lasts_us and version and sessions_max and series_us and series_max
    and grace_us) or sessions_max < 1 or series_max < 1 then
  return redis.error_reply('ERR session_open: expected a session, an account and a series')
end

-- Removes expired entries, and then those that expire next, until there is room for one more.
local function make_room(key, most)
  local all = redis.call('HGETALL', key)
  local left = {}
  for at = 1, #all, 2 do
    left[#left + 1] = {all[at], tonumber(string.match(all[at + 1], '^%d+'))}
  end
  table.sort(left, function(one, other) return one[2] < other[2] end)
  for at, entry in ipairs(left) do
    if entry[2] <= now_us or #left - at >= most - 1 then
      redis.call('HDEL', key, entry[1])
    end
  end
end

if tonumber(redis.call('HGET', KEYS[3], 'version') or 0) > version then
  return {'STALE'}
end
local series_ends_us = now_us + series_us
local previous = ''
if series ~= '' and shown ~= '' then
  local kept = redis.call('HGET', KEYS[2], series)
  if not kept then
    return {'UNKNOWN'}
  end
  local ends_us, used_us, token, before = string.match(kept, '^(%d+) (%d+) (%S+) ?(%S*)$')
  if tonumber(ends_us) <= now_us then
    redis.call('HDEL', KEYS[2], series)
    return {'UNKNOWN'}
  end
  if token ~= shown then
    if before == shown and now_us - tonumber(used_us) < grace_us then
      return {'JUST_USED'}
    end
    local ended = redis.call('HLEN', KEYS[1])
    redis.call('DEL', KEYS[1])
    redis.call('HDEL', KEYS[2], series)
    return {'STOLEN', ended}
  end
  series_ends_us, previous = tonumber(ends_us), shown
end

make_room(KEYS[1], sessions_max)
local ends_us = now_us + lasts_us
local until_us = math.min(now_us + idle_us, ends_us)
redis.call('HSET', KEYS[1], ARGV[1],
  digits(until_us) .. ' ' .. digits(ends_us) .. ' ' .. digits(now_us) .. ' ' .. ARGV[13] .. ' ' .. ARGV[4])
-- The newest session lasts longest.
redis.call('PEXPIRE', KEYS[1], digits(math.ceil(lasts_us / 1000)))
if series == '' then
  return {'OPENED', digits(ends_us), ''}
end
if shown == '' then
  make_room(KEYS[2], series_max)
end
redis.call('HSET', KEYS[2], series,
  digits(series_ends_us) .. ' ' .. digits(now_us) .. ' ' .. ARGV[9] .. ' ' .. previous)
if shown == '' then
  redis.call('PEXPIRE', KEYS[2], digits(math.ceil(series_us / 1000)))
end
return {'OPENED', digits(ends_us), digits(series_ends_us)}
