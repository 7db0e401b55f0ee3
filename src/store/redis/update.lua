-- Applies a change set to the record as it is now, wholly or not at all. With a second record's keys, it moves there in
-- the same step: a new id.
-- ARGV: nonce, expected version ('' any), size limit, refresh interval (ms), new idle timeout (ms; '' the old one),
--       a field ('' none) and the value it has to have, grace for the old id (ms; '' none), whether it joins a group
--       (0 or 1), the group's name, how many sessions the group may have ('' any number), absolute timeout from joining
--       (ms; '' none), whether this call was made before, under an id that the session had then (0 or 1), clear (0 or 1),
--       how many fields to set, to remove and to increment; then field and value by turns, fields to remove, field and
--       increment by turns.
local new, expected, limit, interval = record_at(4), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local new_idle, held_field, held, grace = tonumber(ARGV[5]), ARGV[6], ARGV[7], tonumber(ARGV[8])
local joins, group_name, max_sessions, absolute = ARGV[9] == '1', ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12])
local known_before, clear = ARGV[13] == '1', ARGV[14] == '1'
local first_set = 18
local first_remove = first_set + 2 * ARGV[15]
local first_increment = first_remove + ARGV[16]
local last = first_increment + 2 * ARGV[17] - 1

local function answer(ended)
  local totals = {}
  for at = first_increment, last, 2 do
    totals[#totals + 1] = redis.call('HGET', record.key, ARGV[at]) or ''
  end
  return { nonce, 'ok', standing(record), ended, totals }
end

local made = new and made_before(new)
if made == 'made' then
  record = new
  touch(record)
  return answer({})
elseif made then
  return { nonce, made }
end
local about = redis.call('HMGET', record.key, 'v', 's', 'i', 'a', 'j', 'f', 't', 'u', 'p')
local version, old_size, idle, ends = tonumber(about[1]), tonumber(about[2]), tonumber(about[3]), tonumber(about[4])
local id = forward(about[6], about[8])
if id then
  -- An id that leads elsewhere cannot be replaced once more. What it led to in another slot may lack these nonces still.
  return { nonce, new and 'gone' or is_known(record) and 'made before' or 'forward', id }
elseif about[6] or about[7] then
  return { nonce, 'gone' }
elseif not (version and version < 2 ^ 53 and old_size and idle and ends) then
  return { nonce, redis.call('EXISTS', record.key) == 0 and 'gone' or 'corrupt' }
elseif not is_member(record) then
  return { nonce, 'gone' }
elseif known_before or is_known(record) then
  if new then
    return { nonce, 'broken off' }
  end
  touch(record)
  return answer({})
elseif expected ~= '' and tonumber(expected) ~= version then
  return { nonce, 'conflict' }
elseif held_field ~= '' and redis.call('HGET', record.key, held_field) ~= held then
  return { nonce, 'conflict' }
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
local size, totals = clear and 0 or old_size, {}

local function count(field, value)
  local length = clear and 0 or redis.call('HSTRLEN', record.key, field)
  if value then
    size = size + #value + (length == 0 and #field - 1 or 0)
  elseif length > 0 then
    size = size - (#field - 1)
  end
  size = size - length
end

for at = first_set, first_remove - 1, 2 do
  count(ARGV[at], ARGV[at + 1])
end
for at = first_remove, first_increment - 1 do
  count(ARGV[at])
end
for at = first_increment, last, 2 do
  local total = sum(not clear and redis.call('HGET', record.key, ARGV[at]) or '0', ARGV[at + 1])
  if not total then
    return { nonce, 'not an integer', ARGV[at] }
  end
  count(ARGV[at], total)
  totals[#totals + 1], totals[#totals + 2] = ARGV[at], total
end
if size > limit and size > old_size then
  return { nonce, 'too large', size }
end

-- The first write adds, so that a full memory refuses it; it refuses none that come after it.
local now = now_ms()
redis.call('HSET', record.key, 'v', version + 1, 's', size, remembered(record, version + 1))
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
if new_idle then
  idle = new_idle
  redis.call('HSET', record.key, 'i', idle)
end
if joins then
  ends = absolute and now + absolute or 0
  redis.call('HSET', record.key, 'g', group_name, 'j', now, 'a', ends)
elseif new and not new.members then
  redis.call('HDEL', record.key, 'g', 'j')
end
if new then
  leave(record)
  redis.call('RENAME', record.key, new.key)
  if grace then
    redis.call('HSET', record.key, 'f', new.id)
    redis.call('PEXPIRE', record.key, grace)
  end
  record = new
end
local ended = {}
if new or (new_idle and not about[9]) then -- What is only prepared gets its life from activate.lua.
  local expires = now + full_life(idle, interval, ends, now)
  redis.call('HSET', record.key, 'r', now)
  if joins then
    ended = join(record, now, expires, max_sessions)
  else
    if new and new.members then
      redis.call('ZADD', new.joined, about[5] or now, new.id)
    end
    expire(record, expires)
  end
end
return answer(ended)
