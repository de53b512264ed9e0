-- Returns the units of committed participations that were cancelled or have expired.
--
-- KEYS  1 state (hash)   2 users (hash)   3 leases (hash)   4 returned (hash)
-- ARGV  1 epoch in which they were given up, then for each: number of the return in its campaign,
--       participation, user, quantity
-- Reply units returned
--       | 'BEHIND' (no state, state of another run, or of an older epoch: what replaces it may or may
--         not know of these yet)
--
-- A return that the gate already knows returns nothing: returns up to the number that the rebuild had read, those in
-- `returned` since then, and all of an epoch before the rebuild's. So it is safe to repeat.
--
-- The writes that Redis rejects when its memory is full (HSET) come before those that it never rejects.

local function digits(number)
  return string.format('%.0f', number)
end

local count = (#ARGV - 1) / 4
local given_up_in = tonumber(ARGV[1])
if not given_up_in or count < 1 or count % 1 ~= 0 then
  return redis.error_reply('ERR give_back: expected an epoch and fours of number, participation, user, quantity')
end
for i = 1, count do
  local number, quantity = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i + 1])
  if not number or not quantity or quantity < 1 or quantity % 1 ~= 0 then
    return redis.error_reply('ERR give_back: a number or a quantity is not one')
  end
end
local state = redis.call('HMGET', KEYS[1], 'epoch', 'units', 'returns', 'run', 'rebuilt', 'history')
local info = redis.call('INFO', 'server', 'replication')
if not state[4] or not string.find(info, 'run_id:' .. state[4], 1, true)
  or not string.find(info, state[6] or '', 1, true)
  or tonumber(state[1]) < given_up_in then
  return 'BEHIND'
end
if tonumber(state[5] or state[1]) > given_up_in then
  return 0
end
local units, known_up_to = tonumber(state[2]), tonumber(state[3] or '0')

local numbers, users = {}, {}
for i = 1, count do
  numbers[i], users[i] = ARGV[4 * i - 2], ARGV[4 * i]
end
local known = redis.call('HMGET', KEYS[4], unpack(numbers))
local entries, held = redis.call('HMGET', KEYS[2], unpack(users)), {}
for i = 1, count do
  local holds, first = string.match(entries[i] or '0:', '^(%d+):(.*)$')
  held[users[i]] = {units = tonumber(holds), first = first}
end
local marks, ended, seen, returned = {}, {}, {}, 0
for i = 1, count do
  local number, participation = numbers[i], ARGV[4 * i - 1]
  if tonumber(number) > known_up_to and not known[i] and not seen[number] then
    seen[number] = true
    local holding, quantity = held[users[i]], tonumber(ARGV[4 * i + 1])
    holding.units, holding.touched = math.max(holding.units - quantity, 0), true
    -- Which of the others came first is unknown here: no participation is better than a wrong one.
    if holding.first == participation then
      holding.first = ''
    end
    returned = returned + quantity
    marks[#marks + 1] = number
    marks[#marks + 1] = '1'
    ended[#ended + 1] = participation
  end
end
if #ended == 0 then
  return 0
end

local emptied, reduced = {}, {}
for user, holding in pairs(held) do
  if holding.touched and holding.units == 0 then
    emptied[#emptied + 1] = user
  elseif holding.touched then
    reduced[#reduced + 1] = user
    reduced[#reduced + 1] = digits(holding.units) .. ':' .. holding.first
  end
end
redis.call('HSET', KEYS[1], 'units', digits(math.max(units - returned, 0)))
redis.call('HSET', KEYS[4], unpack(marks))
-- No key of an ended campaign outlives the state.
local expires = redis.call('PTTL', KEYS[1])
if expires > 0 then
  redis.call('PEXPIRE', KEYS[4], string.format('%.0f', expires))
end
if #reduced > 0 then
  redis.call('HSET', KEYS[2], unpack(reduced))
end
if #emptied > 0 then
  redis.call('HDEL', KEYS[2], unpack(emptied))
end
redis.call('HDEL', KEYS[3], unpack(ended))
return returned
