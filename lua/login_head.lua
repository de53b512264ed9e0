-- The common beginning of login_try and login_end. It has the time, the format of numbers, and the bound of addresses
-- in the hash of a login name.
--
-- KEYS  1 failures of a login name (hash)

local function digits(number)
  return string.format('%.0f', number)
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]

-- Makes room for one more field of a kind: removes those whose time, which `part` finds in the value, is not after
-- `over_us`, and then the earliest ones.
local function make_room(kind, part, over_us, most)
  local all = redis.call('HGETALL', KEYS[1])
  local others = {}
  for at = 1, #all, 2 do
    if string.sub(all[at], 1, #kind) == kind then
      others[#others + 1] = {all[at], tonumber(string.match(all[at + 1], part))}
    end
  end
  table.sort(others, function(one, other) return one[2] < other[2] end)
  for at, other in ipairs(others) do
    if other[2] <= over_us or #others - at >= most - 1 then
      redis.call('HDEL', KEYS[1], other[1])
    end
  end
end

