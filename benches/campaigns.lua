-- A load for wrk on many campaigns in turn; every request is another user, and every answer can be a yes.
-- Arguments after `--`: the first campaign, how many, the way, and the number of the first user.

local counter = 0
local threads = 0

function setup(thread)
  thread:set('thread_number', threads)
  threads = threads + 1
end

function init(args)
  first, count, way = tonumber(args[1]), tonumber(args[2]), args[3]
  first_user = tonumber(args[4])
  headers = { ['Content-Type'] = 'application/json' }
end

function request()
  counter = counter + 1
  local path = string.format('/api/campaigns/%d/%s', first + counter % count, way)
  local user = first_user + thread_number * 100000000 + counter
  return wrk.format('POST', path, headers, string.format('{"userId":%d}', user))
end
