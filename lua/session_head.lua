-- The common beginning of session_open, session_find, session_list and series_find. It has the time and the format of
-- numbers.

local function digits(number)
  return string.format('%.0f', number)
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]

