-- Ends the leases of participations that were not committed: units return, and the user may participate again. A rank
-- is never given twice: it proves the order, and a gap shows an admission that was not committed.
--
-- KEYS  1 state (hash)   2 users (hash)   3 leases (hash)
-- ARGV  1 epoch of the leases, then participations, each perhaps followed by `:` and the end of its lease
-- Reply units returned. A participation without a lease, or with one of another epoch, returns none,
--       so that a second release, or one after a settle or a rebuild, does nothing. One that comes late
--       must not end the lease of a newer epoch under which the same participation was admitted again. The end time
--       distinguishes such a lease from an earlier one that was moved to the same epoch (advance.lua)
--
-- Units of a lease count only since the last rebuild: it has counted what was committed, and ended all leases.
--
-- The writes that Redis rejects when its memory is full (HSET) come before those that it never rejects, so that a
-- rejected release has changed nothing.

local function digits(number)
  return string.format('%.0f', number)
end

local state = redis.call('HMGET', KEYS[1], 'epoch', 'units', 'rebuilt')
if not state[1] then
  return 0
end
local units, rebuilt = tonumber(state[2]), tonumber(state[3] or state[1])
if not tonumber(ARGV[1]) or #ARGV < 2 then
  return redis.error_reply('ERR release: expected an epoch and participations')
end

local ids, ends = {}, {}
for i = 2, #ARGV do
  ids[i - 1], ends[i - 1] = string.match(ARGV[i], '^([^:]+):?(%d*)$')
  if not ids[i - 1] then
    return redis.error_reply('ERR release: a participation is not one')
  end
end
local known = redis.call('HMGET', KEYS[3], unpack(ids))
local ended, released, users, seen, returned = {}, {}, {}, {}, 0
for i = 1, #ids do
  local participation, lease = ids[i], known[i]
  if lease and not seen[participation] then
    seen[participation] = true
    local user, quantity, of_epoch, until_us = string.match(lease, '^([^:]+):(%d+):%d+:%d*:(%d+):(%d+):')
    if of_epoch == ARGV[1] and (ends[i] == '' or ends[i] == until_us) then
      ended[#ended + 1] = participation
      if tonumber(of_epoch) >= rebuilt then
        released[#released + 1] = {participation, user, tonumber(quantity)}
        users[#users + 1] = user
        returned = returned + tonumber(quantity)
      end
    end
  end
end
if #ended == 0 then
  return 0
end

local emptied, reduced = {}, {}
if #released > 0 then
  local entries, held = redis.call('HMGET', KEYS[2], unpack(users)), {}
  for i = 1, #users do
    local holds, first = string.match(entries[i] or '0:', '^(%d+):(.*)$')
    held[users[i]] = {units = tonumber(holds), first = first}
  end
  for i = 1, #released do
    local participation, user, quantity = unpack(released[i])
    local holding = held[user]
    holding.units = math.max(holding.units - quantity, 0)
    -- Which of the others came first is unknown here: no participation is better than a wrong one.
    if holding.first == participation then
      holding.first = ''
    end
  end
  for user, holding in pairs(held) do
    if holding.units == 0 then
      emptied[#emptied + 1] = user
    else
      reduced[#reduced + 1] = user
      reduced[#reduced + 1] = digits(holding.units) .. ':' .. holding.first
    end
  end
  redis.call('HSET', KEYS[1], 'units', digits(math.max(units - returned, 0)))
end
if #reduced > 0 then
  redis.call('HSET', KEYS[2], unpack(reduced))
end
if #emptied > 0 then
  redis.call('HDEL', KEYS[2], unpack(emptied))
end
redis.call('HDEL', KEYS[3], unpack(ended))
return returned
