-- A light load for wrk: every request is another user, so that every answer can be a yes.
-- Arguments after `--`: the path, and the number of the first user.

local counter = 0
local threads = 0

function setup(thread)
  thread:set('thread_number', threads)
  threads = threads + 1
end

function init(args)
  path = args[1]
  first_user = tonumber(args[2] or '1')
  headers = { ['Content-Type'] = 'application/json' }
end

function request()
  counter = counter + 1
  local user = first_user + thread_number * 100000000 + counter
  return wrk.format('POST', path, headers, string.format('{"userId":%d}', user))
end
