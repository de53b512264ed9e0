-- The head of session_open, session_find, session_list and series_find, which are sent after it. It has the time
-- and how numbers are written.

local function digits(number)
  return string.format('%.0f', number)
end

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]

