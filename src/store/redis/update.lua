-- Applies a change set to the record as it is now, wholly or not at all. With a second key, the record moves there in
-- the same step: a new id.
-- ARGV: nonce, expected version ('' any), size limit, refresh interval (ms), new idle timeout (ms; '' the old one),
--       a field ('' none) and the value it has to have, clear (0 or 1), how many fields to set, to remove and to
--       increment; then field and value by turns, fields to remove, field and increment by turns.
local new_key, expected, limit, interval = KEYS[2], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local new_idle, held_field, held, clear = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8] == '1'
local first_set = 12
local first_remove = first_set + 2 * ARGV[9]
local first_increment = first_remove + ARGV[10]
local last = first_increment + 2 * ARGV[11] - 1

local moved = new_key and redis.call('EXISTS', key) == 0
if moved then
  key = new_key -- If this call was made before. The nonce tells.
end
local about = redis.call('HMGET', key, 'v', 's', 'i', 'a')
local version, old_size = tonumber(about[1]), tonumber(about[2])
local idle, ends = tonumber(about[3]), tonumber(about[4])
if not (version and old_size and idle and ends) then
  return { nonce, redis.call('EXISTS', key) == 0 and 'gone' or 'corrupt' }
end

local function answer()
  local reply, totals = standing('ok'), {}
  for at = first_increment, last, 2 do
    totals[#totals + 1] = redis.call('HGET', key, ARGV[at]) or ''
  end
  reply[9] = totals
  return reply
end

if is_known() then
  return answer()
elseif moved then
  return { nonce, 'gone' }
elseif expected ~= '' and tonumber(expected) ~= version then
  return { nonce, 'conflict' }
elseif held_field ~= '' and redis.call('HGET', key, held_field) ~= held then
  return { nonce, 'conflict' }
elseif new_key and redis.call('EXISTS', new_key) == 1 then
  return { nonce, 'exists' }
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
  local length = clear and 0 or redis.call('HSTRLEN', key, field)
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
  local total = sum(not clear and redis.call('HGET', key, ARGV[at]) or '0', ARGV[at + 1])
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
redis.call('HSET', key, 'v', version + 1, 's', size, remembered(version + 1))
if new_key then
  redis.call('RENAME', key, new_key)
  key = new_key
end
if clear then
  local forgotten = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if field:sub(1, 1) == ':' then
      forgotten[#forgotten + 1] = field
    end
  end
  in_chunks('HDEL', forgotten, 1, #forgotten)
end
in_chunks('HSET', ARGV, first_set, first_remove - 1)
in_chunks('HDEL', ARGV, first_remove, first_increment - 1)
in_chunks('HSET', totals, 1, #totals)
if new_idle then
  redis.call('HSET', key, 'i', new_idle)
end
if new_idle or new_key then
  redis.call('PEXPIRE', key, full_life(new_idle or idle, interval, ends, now_ms()))
end
return answer()
