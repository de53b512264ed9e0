-- A change of one order after another for wrk with one thread: ends when there are no more.
-- Arguments after `--`: a file with an id in each line, and the change, `confirm` or `cancel`.

local ids = {}
local nth = 0

function init(args)
  for id in io.lines(args[1]) do ids[#ids + 1] = id end
  change = args[2]
  headers = { ['Content-Type'] = 'application/json', ['Authorization'] = 'Bearer bench' }
end

function request()
  nth = nth + 1
  if nth >= #ids then wrk.thread:stop() end
  local id = ids[math.min(nth, #ids)]
  return wrk.format('POST', '/api/participations/' .. id .. '/' .. change, headers, '{}')
end
