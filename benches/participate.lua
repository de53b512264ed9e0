-- A light load for wrk: every request is another user, so that every answer can be a yes.
-- Arguments after `--`: the path, the number of the first user, and, for an open load, how many requests
-- a second to begin (with one thread, and more connections than are ever busy).

local counter = 0
local threads = 0

function setup(thread)
  thread:set('thread_number', threads)
  threads = threads + 1
end

function init(args)
  path = args[1]
  first_user = tonumber(args[2] or '1')
  rate = tonumber(args[3] or '0')
  headers = { ['Content-Type'] = 'application/json' }
end

function request()
  counter = counter + 1
  local user = first_user + thread_number * 100000000 + counter
  return wrk.format('POST', path, headers, string.format('{"userId":%d}', user))
end

local ffi = require('ffi')
ffi.cdef [[
  typedef struct { long s; long us; } clock_now;
  int gettimeofday(clock_now *now, void *zone);
]]
local clock = ffi.new('clock_now')
local due

-- Milliseconds until the next request is due, by a schedule that slow answers do not move.
function delay()
  if rate == 0 then return 0 end
  ffi.C.gettimeofday(clock, nil)
  local now = tonumber(clock.s) * 1000 + tonumber(clock.us) / 1000
  due = (due or now) + 1000 / rate
  return math.max(0, math.floor(due - now + math.random()))
end
