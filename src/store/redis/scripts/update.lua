-- Applies a change set to the record as it is now, wholly or not at all. With a second record's keys, it moves there in
-- the same step: a new id.
-- KEYS: generation, the record's; for a move the new record's (the first one without a group takes three places all the
--       same), and if that is in a group the one for what is left to be swept.
-- ARGV: nonce, refresh interval (ms; below 0 never), idle timeout (ms), absolute timeout (ms; '' none), the version
--       since the earliest of the ids by which it was reached ('' if it was its own), whether this call was made
--       before, under an id that the session had then (0 or 1), expected version ('' any), how many values it may have,
--       and of which size (bytes), new idle timeout (ms; '' the old one), a field ('' none) and the value it has to
--       have, grace for the old id (ms; '' none), for how long that ends the session (ms), whether it joins a group (0
--       or 1), the group's name, how many sessions the group may have ('' any number), how long what is left to be
--       swept is kept (ms), clear (0 or 1), how many fields to set, to remove and to increment; then field and value by
--       turns, fields to remove, field and increment by turns.
local new, rest = record_at(5), { key = KEYS[8], memory = ARGV[18] }
local settings, since, known_before = lifetime(ARGV[2], ARGV[3], ARGV[4]), ARGV[5], ARGV[6] == '1'
local expected, most_keys, limit, new_idle = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local held_field, held, grace, trail = ARGV[11], ARGV[12], tonumber(ARGV[13]) or 0, tonumber(ARGV[14])
local joins, group_name, max_sessions, clear = ARGV[15] == '1', ARGV[16], tonumber(ARGV[17]), ARGV[19] == '1'
local first_set = 23
local first_remove = first_set + 2 * ARGV[20]
local first_increment = first_remove + ARGV[21]
local last = first_increment + 2 * ARGV[22] - 1

local function answer(state, ended, more)
  local totals = {}
  for at = first_increment, last, 2 do
    totals[#totals + 1] = redis.call('HGET', record.key, ARGV[at]) or ''
  end
  return { nonce, 'ok', info(state), ended, more, totals }
end

local made = new and made_before(new)
if made == 'made' then
  record = new
elseif made then
  return { nonce, made }
end
local state, refusal = standing(record, settings, since)
if not state then
  if refusal[2] == 'forward' then
    -- An id that leads elsewhere cannot be replaced once more. What it led to in another slot may lack these nonces
    -- still.
    refusal[2] = new and 'gone' or is_known(record) and 'made before' or 'forward'
  end
  return refusal
elseif made or known_before or is_known(record) then
  if new and not made then
    return { nonce, 'broken off' }
  end
  touch(record)
  return answer(state, {}, 0)
elseif expected ~= '' and tonumber(expected) ~= state.version then
  return { nonce, 'conflict' }
elseif held_field ~= '' and redis.call('HGET', record.key, held_field) ~= held then
  return { nonce, 'conflict' }
end
local kept = redis.call('HMGET', record.key, 'k', 's')
local old_keys, old_size = whole(kept[1]), whole(kept[2])
if not old_keys or not old_size then
  return { nonce, 'corrupt' }
end
if new then
  check_group(record)
  check_group(new)
end

-- An integer of 64 bits, as Redis reads it, in two numbers of nine digits and more: Lua's have only 53 bits.
local BILLION, HIGHEST, LOWEST = 1e9, '9223372036854775807', '9223372036854775808'
local function halves(text)
  local sign, digits = text:match('^(%-?)(%d+)$')
  if not digits or #digits > 19 or (digits:sub(1, 1) == '0' and text ~= '0') then
    return nil
  elseif #digits == 19 and digits > (sign == '-' and LOWEST or HIGHEST) then
    return nil
  end
  local factor = sign == '-' and -1 or 1
  return factor * (tonumber(digits:sub(1, -10)) or 0), factor * tonumber(digits:sub(-9))
end

-- The sum of two integers as text; nil if one of them is none, or the sum would be none.
local function sum(one, other)
  local high, low = halves(one)
  local other_high, other_low = halves(other)
  if not high or not other_high then
    return nil
  end
  high, low = high + other_high, low + other_low
  -- Both are to have the same sign.
  local carry = math.floor(low / BILLION)
  high, low = high + carry, low - carry * BILLION
  if high < 0 and low > 0 then
    high, low = high + 1, low - BILLION
  end
  local sign = (high < 0 or low < 0) and '-' or ''
  high, low = math.abs(high), math.abs(low)
  local text = sign .. (high > 0 and string.format('%.0f%09.0f', high, low) or string.format('%.0f', low))
  return halves(text) and text
end

-- All checks come before the first write: Redis does not roll a script back.
local keys, size, totals = clear and 0 or old_keys, clear and 0 or old_size, {}

-- JSON texts are never empty: what has no length is not there.
local function count(field, length, new_length)
  keys = keys + (new_length > 0 and 1 or 0) - (length > 0 and 1 or 0)
  size = size + (new_length > 0 and new_length + #field - 1 or 0) - (length > 0 and length + #field - 1 or 0)
end

local function old_length(field)
  return clear and 0 or redis.call('HSTRLEN', record.key, field)
end

for at = first_set, first_remove - 1, 2 do
  count(ARGV[at], old_length(ARGV[at]), #ARGV[at + 1])
end
for at = first_remove, first_increment - 1 do
  count(ARGV[at], old_length(ARGV[at]), 0)
end
for at = first_increment, last, 2 do
  local before = not clear and redis.call('HGET', record.key, ARGV[at])
  local total = sum(before or '0', ARGV[at + 1])
  if not total then
    return { nonce, 'not an integer', ARGV[at] }
  end
  count(ARGV[at], before and #before or 0, #total)
  totals[#totals + 1], totals[#totals + 2] = ARGV[at], total
end
if size > math.max(limit, old_size) then
  return { nonce, 'too large', size }
elseif keys > math.max(most_keys, old_keys) then
  return { nonce, 'too many keys', keys }
end

-- The first write adds, so that a full memory refuses it; it refuses none that come after it.
local now, version = state.now, state.version + 1
redis.call('HSET', record.key, 'v', version, 'k', math.max(keys, 0), 's', math.max(size, 0),
  remembered(record, version))
if clear then
  local forgotten = {}
  for _, field in ipairs(redis.call('HKEYS', record.key)) do
    if field:sub(1, 1) == ':' then
      forgotten[#forgotten + 1] = field
    end
  end
  in_chunks('HDEL', record.key, forgotten, 1, #forgotten)
end
in_chunks('HSET', record.key, ARGV, first_set, first_remove - 1)
in_chunks('HDEL', record.key, ARGV, first_remove, first_increment - 1)
in_chunks('HSET', record.key, totals, 1, #totals)
state.version = version
if new_idle then
  state.idle = new_idle
  redis.call('HSET', record.key, 'o', 1)
elseif new and record.members and record.members ~= new.members then
  state.idle = settings.idle
  redis.call('HDEL', record.key, 'o')
end
if joins then
  state.joined, state.began, state.ends = now, now, settings.absolute and now + settings.absolute or 0
  redis.call('HSET', record.key, 'g', group_name, 'j', now)
  redis.call('HDEL', record.key, 'b')
elseif new and not new.members then
  state.joined = false
  redis.call('HDEL', record.key, 'g', 'j')
  if state.began ~= state.created then
    redis.call('HSET', record.key, 'b', state.began)
  end
end
local is_same_group = new and record.members == new.members
local order = record.joined and is_same_group and redis.call('ZSCORE', record.joined, record.id)
if new then
  if is_same_group and record.members then
    remove(record, { record.id })
  else
    leave(record)
  end
  redis.call('RENAME', record.key, new.key)
  if is_same_group then
    redis.call('HSET', record.key, 'f', new.id, 'u', now + grace, 'm', version)
    redis.call('PEXPIRE', record.key, math.max(grace, trail))
  else
    redis.call('HDEL', new.key, 'e')
  end
  record = new
end
local ended, more = {}, 0
if new or (new_idle and not state.prepared) then -- What is only prepared gets its life from activate.lua.
  local full = full_life(state, settings.interval)
  if state.refreshed == 0 and not joins then
    state.expires = math.min(state.expires, full) -- Its cookie has not come back yet.
  else
    state.refreshed, state.expires = now, full
  end
  redis.call('HSET', record.key, 'r', state.refreshed, 'i', state.idle, 'a', state.ends)
  if state.is_ahead and not joins then
    redis.call('HSET', record.key, 'b', state.began)
  end
  if joins then
    ended, more = join(record, state.expires, state.generation, max_sessions, rest)
  else
    if order then
      redis.call('ZADD', record.joined, order, record.id)
    end
    expire(record, state.expires)
  end
elseif new_idle then
  redis.call('HSET', record.key, 'i', state.idle)
end
return answer(state, ended, more)
