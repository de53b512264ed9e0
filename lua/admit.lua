-- Decides for each entrant, in order, whether it is admitted: all or nothing per entrant.
--
-- KEYS  1 state (hash)   2 users (hash)   3 leases (hash)
--       then for each entrant with an idempotency key what is remembered of the key (string)
-- ARGV  1 length of a lease in microseconds   2 owner of the leases: the replica that asks   3 number of entrants
--       then for each entrant: participation, user, quantity
--       then for each entrant with a key: its number among the entrants, 'DECIDE' or 'REFUSE'
-- Reply one list per entrant, in order; `remaining` is the units left, '' when unlimited:
--   {'ADMITTED', remaining, 'epoch:rank:end of the lease in microseconds:microseconds until then'}
--     with a key also: for how many microseconds the key is known not to have been refused
--   {'ALREADY_PARTICIPATED', remaining, first participation}
--   {'UNDECIDED', remaining, first participation}   one in the way, of the same key or the user's first,
--     still holds its lease
--   {'NOT_OPEN_YET', remaining, opens_at in microseconds or ''}
--   {'SOLD_OUT' | 'ENDED' | 'PAUSED' | 'LIMIT_EXCEEDED', remaining}
--   {'NOT_ALLOWED', remaining}   the caller refuses, and no participation of the key holds a lease
--   {'MISSING'}   there is no state, or it is another run's: rebuild first
--
-- A final refusal of a key is valid for every attempt of the key that began before it. It is returned only after
-- refuse_key.lua, which makes it a refusal of that moment. So the time of a refusal is stored for the length of a
-- lease, and an admission returns how long ago it was: an attempt that began earlier does not commit. Refusals before
-- the last rebuild are unknown, which counts as a refusal.
--
-- State that a server has loaded from a file, or copied from another server, may be older than its earlier replies. So
-- a rebuild stores the run of the server in which it was made, and the id of its history of writes (`master_replid`),
-- which changes when a replica is promoted. In any other run or history the state counts as missing. State of an older
-- release has no history.
--
-- A script that fails is not rolled back, so every argument and field is read and checked before the first write, and
-- the writes come last. Numbers are written with '%.0f', because Lua 5.1 would print large ones as 1e+15. Users and
-- participations stay strings.
--
-- A value in `users` is units:first ('' when the first one was released and others stand);
-- a value in `leases` is user:quantity:rank:remaining:epoch:until:owner;
-- what is remembered of a key is refused_at:admitted_at:participation, 0 and '' where there is none.
-- refuse_key.lua reads it, too.

local function digits(number)
  return string.format('%.0f', number)
end

local lease_us = tonumber(ARGV[1])
local owner, count = ARGV[2], tonumber(ARGV[3])
local with_key = #KEYS - 3
if not lease_us or lease_us < 0 or not string.match(owner or '', '^%x+$') or not count or count < 1
  or #ARGV ~= 3 + 3 * count + 2 * with_key then
  return redis.error_reply('ERR admit: expected a lease, its owner, triples of participation, user, quantity, and keys')
end
local participations, users, quantities = {}, {}, {}
for i = 1, count do
  local quantity = tonumber(ARGV[3 * i + 3])
  if not quantity or quantity < 1 or quantity % 1 ~= 0 then
    return redis.error_reply('ERR admit: a quantity is a whole number from 1')
  end
  participations[i], users[i], quantities[i] = ARGV[3 * i + 1], ARGV[3 * i + 2], quantity
end

local state = redis.call('HMGET', KEYS[1], 'epoch', 'state', 'opens_at_us', 'closes_at_us',
  'total', 'units', 'per_user_limit', 'max_quantity', 'last_rank', 'run', 'keys_since_us', 'history')
local answers = {}
local info = redis.call('INFO', 'server', 'replication')
if not state[10] or not string.find(info, 'run_id:' .. state[10], 1, true)
  or not string.find(info, state[12] or '', 1, true) then
  for i = 1, count do
    answers[i] = {'MISSING'}
  end
  return answers
end
local epoch, word, opens_at, closes_at = state[1], state[2], state[3], state[4]
local total, units = tonumber(state[5]), tonumber(state[6])
local per_user_limit, max_quantity = tonumber(state[7]), tonumber(state[8])
local last_rank = tonumber(state[9])
local opens_at_us, closes_at_us = tonumber(opens_at), tonumber(closes_at)

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local until_us = digits(now_us + lease_us)

-- A time in the future was written before the server's clock was set back: it is over, and counts as now.
local keys_since_us = tonumber(state[11] or '0')
local is_set_back = with_key > 0 and keys_since_us > now_us
if is_set_back then
  keys_since_us = now_us
end

-- Why nobody can participate now, or nil.
local closed
if word == 'draft' then
  closed = 'NOT_OPEN_YET'
elseif word == 'paused' then
  closed = 'PAUSED'
elseif word == 'closed' or word == 'archived' then
  closed = 'ENDED'
elseif word ~= 'open' and word ~= 'scheduled' then
  return redis.error_reply('ERR admit: the campaign is in an unknown state')
elseif opens_at_us and now_us < opens_at_us then
  closed = 'NOT_OPEN_YET'
elseif closes_at_us and now_us >= closes_at_us then
  closed = 'ENDED'
end

local function remaining()
  return total and digits(math.max(total - units, 0)) or ''
end

-- What is known before this call; entrants of this call are added when they are admitted.
local leases, held, first_of = {}, {}, {}
local known_leases = redis.call('HMGET', KEYS[3], unpack(participations))
local known_held = redis.call('HMGET', KEYS[2], unpack(users))
for i = 1, count do
  if known_leases[i] then
    local rank, left, of_epoch, ends_us = string.match(known_leases[i], '^[^:]+:%d+:(%d+):(%d*):(%d+):(%d+):')
    local still_us = digits(math.max(tonumber(ends_us) - now_us, 0))
    leases[participations[i]] = {'ADMITTED', left, of_epoch .. ':' .. rank .. ':' .. ends_us .. ':' .. still_us}
  end
  if known_held[i] then
    local holds, first = string.match(known_held[i], '^(%d+):(.*)$')
    held[users[i]], first_of[users[i]] = tonumber(holds), first
  end
end

-- The stored records of the keys, and the key of each entrant. Two entrants of one call may share a key.
local key_of, refused_here, remembered = {}, {}, {}
if with_key > 0 then
  local known_keys = redis.call('MGET', unpack(KEYS, 4))
  for i = 1, with_key do
    local at, key = 3 + 3 * count + 2 * i, KEYS[3 + i]
    local refused_at, admitted_at, first = string.match(known_keys[i] or '0:0:', '^(%d+):(%d+):(.*)$')
    local entrant = tonumber(ARGV[at - 1])
    key_of[entrant], refused_here[entrant] = key, ARGV[at] == 'REFUSE'
    remembered[key] = remembered[key] or {refused_at = math.min(tonumber(refused_at), now_us),
      admitted_at = math.min(tonumber(admitted_at), now_us), first = first}
  end
end

local function leased(participation)
  return leases[participation] or redis.call('HGET', KEYS[3], participation)
end

-- For how long a key is known not to have been refused: at most as long as the record is stored.
local function not_refused_for(of_key)
  local since_us = math.max(of_key.refused_at, keys_since_us)
  return digits(math.max(math.min(now_us - since_us, lease_us), 0))
end

-- What all leases of this call have in common.
local lease_end = ':' .. until_us .. ':' .. digits(lease_us)
local of_call = ':' .. epoch .. ':' .. until_us .. ':' .. owner

local user_fields, lease_fields = {}, {}
for i = 1, count do
  local participation, user, quantity = participations[i], users[i], quantities[i]
  local holds, first = held[user] or 0, first_of[user] or ''
  local answer, of_key = leases[participation], remembered[key_of[i] or '']
  if answer then
    -- A repeated request.
  elseif of_key and of_key.first ~= '' and leased(of_key.first) then
    answer = {'UNDECIDED', remaining(), of_key.first}
  else
    if refused_here[i] then
      answer = {'NOT_ALLOWED', remaining()}
    elseif closed then
      answer = {closed, remaining()}
      if closed == 'NOT_OPEN_YET' then
        answer[3] = opens_at
      end
    elseif quantity > max_quantity then
      answer = {'LIMIT_EXCEEDED', remaining()}
    elseif per_user_limit == 1 and holds > 0 and first ~= '' then
      answer = {leased(first) and 'UNDECIDED' or 'ALREADY_PARTICIPATED', remaining(), first}
    elseif holds + quantity > per_user_limit then
      answer = {'LIMIT_EXCEEDED', remaining()}
    elseif total and units + quantity > total then
      answer = {'SOLD_OUT', remaining()}
    else
      units, last_rank = units + quantity, last_rank + 1
      holds = holds + quantity
      if first == '' then
        first = participation
      end
      held[user], first_of[user] = holds, first
      local rank, left = digits(last_rank), remaining()
      answer = {'ADMITTED', left, epoch .. ':' .. rank .. lease_end}
      leases[participation] = answer
      local at = #user_fields
      user_fields[at + 1] = user
      user_fields[at + 2] = digits(holds) .. ':' .. first
      lease_fields[at + 1] = participation
      lease_fields[at + 2] = user .. ':' .. digits(quantity) .. ':' .. rank .. ':' .. left .. of_call
    end
    if of_key and answer[1] == 'ADMITTED' then
      of_key.first, of_key.admitted_at, of_key.is_new = participation, now_us, true
    elseif of_key then
      of_key.refused_at, of_key.is_new = now_us, true
    end
  end
  if of_key and answer[1] == 'ADMITTED' then
    answer[4] = not_refused_for(of_key)
  end
  answers[i] = answer
end

if #user_fields > 0 then
  redis.call('HSET', KEYS[1], 'units', digits(units), 'last_rank', digits(last_rank))
  redis.call('HSET', KEYS[2], unpack(user_fields))
  redis.call('HSET', KEYS[3], unpack(lease_fields))
end
if is_set_back then
  redis.call('HSET', KEYS[1], 'keys_since_us', digits(keys_since_us))
end
local remember_ms = digits(math.max(math.ceil(lease_us / 1000), 1))
for key, of_key in pairs(remembered) do
  if of_key.is_new then
    local known = {digits(of_key.refused_at), digits(of_key.admitted_at), of_key.first}
    redis.call('SET', key, table.concat(known, ':'), 'PX', remember_ms)
  end
end
return answers
