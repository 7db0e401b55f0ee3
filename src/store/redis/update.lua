-- Applies a change set to the record as it is now, wholly or not at all; with a version that was seen, ends it too.
-- ARGV: nonce, expected version ('' any), version seen ('' the record lives on), size limit, refresh interval,
--       new idle timeout ('' the old one), clear (0 or 1), how many fields to set, to remove and to increment;
--       then field and value by turns, fields to remove, field and increment by turns.
local expected, seen, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
local interval, new_idle, clear = tonumber(ARGV[5]), ARGV[6], ARGV[7] == '1'
local first_set = 11
local first_remove = first_set + 2 * ARGV[8]
local first_increment = first_remove + ARGV[9]
local last = first_increment + 2 * ARGV[10] - 1

local about = redis.call('HMGET', key, 'v', 'n', 's', 'i', 'a')
local version, nonces, old_size = about[1], about[2], tonumber(about[3] or '')
local idle, ends = tonumber(about[4] or ''), tonumber(about[5] or '')
if not version then
  if redis.call('EXISTS', key) == 0 then
    return { nonce, 'gone' }
  end
  return { nonce, 'corrupt' }
end
if not nonces or not old_size or not idle or not ends then
  return { nonce, 'corrupt' }
end

local known = is_known(nonces)
if not known and expected ~= '' and expected ~= version then
  return { nonce, 'conflict' }
end
if seen == version and not known then
  -- Nothing has moved: its values are in the new record already.
  redis.call('UNLINK', key)
  return { nonce, 'ended' }
end

-- How much longer the values get if this field gets a value of this length.
local function growth(field, old_length, new_length)
  if old_length == 0 then
    return new_length + #field - 1
  end
  return new_length - old_length
end

if not known then
  -- Only increments can fail, so they go first, and are taken back if one fails. Redis rolls nothing back.
  local size, done = old_size, {}
  local function take_back()
    for _, was in ipairs(done) do
      if was[2] then
        redis.call('HSET', key, was[1], was[2])
      else
        redis.call('HDEL', key, was[1])
      end
    end
  end
  for at = first_increment, last, 2 do
    local field = ARGV[at]
    local before = redis.call('HGET', key, field)
    local answer = redis.pcall('HINCRBY', key, field, ARGV[at + 1])
    if type(answer) == 'table' and answer.err then
      take_back()
      if answer.err:find('integer', 1, true) or answer.err:find('overflow', 1, true) then
        return { nonce, 'not an integer', field }
      end
      return answer
    end
    done[#done + 1] = { field, before }
    size = size + growth(field, before and #before or 0, redis.call('HSTRLEN', key, field))
  end
  if clear then
    size = 0
  end
  for at = first_set, first_remove - 1, 2 do
    size = size + growth(ARGV[at], clear and 0 or redis.call('HSTRLEN', key, ARGV[at]), #ARGV[at + 1])
  end
  if not clear then
    for at = first_remove, first_increment - 1 do
      local length = redis.call('HSTRLEN', key, ARGV[at])
      if length > 0 then
        size = size - length - (#ARGV[at] - 1)
      end
    end
  end
  if size > limit and size > old_size then
    take_back()
    return { nonce, 'too large', size }
  end

  -- From here on nothing is refused. The first write adds, so that a full memory refuses it before anything is lost.
  redis.call('HSET', key, 'v', version + 1, 's', size, 'n', nonce .. nonces:sub(1, NONCE * (NONCES - 1)))
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
  if new_idle ~= '' then
    redis.call('HSET', key, 'i', new_idle)
    redis.call('PEXPIRE', key, full_life(tonumber(new_idle), interval, ends, now_ms()))
  end
end

if seen ~= '' then
  local fields = redis.call('HGETALL', key)
  redis.call('UNLINK', key)
  return { nonce, 'moved', fields }
end
local reply, totals = standing('ok'), {}
for at = first_increment, last, 2 do
  totals[#totals + 1] = redis.call('HGET', key, ARGV[at])
end
reply[9] = totals
return reply
