-- What every script begins with. ARGV[1] is the call's nonce: every reply begins with it.
--
-- A record is one hash: the values under ":key" as JSON text, and the library's own fields under bare letters:
--   v version   c created (ms)   r refreshed (ms)   a ends at the latest (ms, 0 never)   i idle timeout (ms)
--   g the group's name, j when it joined (ms): both only in a group
--   s size of the values (bytes)   n0 to n3 the nonces of the last calls that changed it
--   f the id that the session has now, where an id was replaced with a grace, and u until when (ms; if it is missing, as
--     long as the key is there): without the fields above
--   p its version, until it is brought to life: see handover.rs
--   t the nonce of the call that ended it, or took it away; what has this is a trace, and no record any more
-- The key's own expiry is the session's.
--
-- A group is two sorted sets of its sessions' ids: by expiry (ms), and by the time of joining (ms). A session in a group
-- lives only as long as it stands in the first.
local nonce = ARGV[1]
local CHUNK, NONCE, ID = 1000, 8, 24

-- A record's keys: its own, and its group's two. Without a group, nothing stands in their places, or its own.
local function record_at(first)
  local key, members, joined = KEYS[first], KEYS[first + 1], KEYS[first + 2]
  if not key then
    return nil
  elseif members == key then
    members, joined = nil, nil
  end
  return { key = key, id = key:sub(-ID), members = members, joined = joined }
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The life that a record has from now on (ms); a refresh interval below 0 means "never refreshed".
local function full_life(idle, interval, ends, now)
  local life = idle + math.max(0, math.min(interval, math.floor(idle / 100)))
  if ends > 0 then
    life = math.min(life, ends - now)
  end
  return math.max(life, 1)
end

-- Calls a command with the arguments from `first` to `last`; `unpack` fails at about 8,000 of them.
local function in_chunks(command, key, list, first, last)
  for from = first, last, CHUNK do
    redis.call(command, key, unpack(list, from, math.min(from + CHUNK - 1, last)))
  end
end

-- How a record stands: version, created, joined, refreshed, ends, idle timeout, now, time left. And whether it is only
-- prepared.
local function standing(record)
  local about = redis.call('HMGET', record.key, 'v', 'c', 'j', 'r', 'a', 'i', 'p')
  local prepared = about[7]
  -- In this order: a millisecond may pass in between, and must not look like one that a refresh would win.
  local left = redis.call('PTTL', record.key)
  about[7], about[8] = now_ms(), left
  return about, prepared
end

-- The last 25 to 32 nonces are remembered, eight in each of four fields by turns: none of them gets longer than the 64
-- bytes up to which Redis keeps a hash compact.
local function is_known(record)
  for _, nonces in ipairs(redis.call('HMGET', record.key, 'n0', 'n1', 'n2', 'n3')) do
    for at = 1, #(nonces or ''), NONCE do
      if nonces:sub(at, at + NONCE - 1) == nonce then
        return true
      end
    end
  end
  return false
end

-- For a call that was made before: it writes something too, so that WAIT waits for what it wrote then (from Redis 7.2 on
-- it looks at a connection's own writes), and that a server which takes no writes says so. A full memory takes this one.
local function touch(record)
  local left = redis.call('PTTL', record.key)
  if left < 0 then
    redis.call('HSET', record.key, 'v', redis.call('HGET', record.key, 'v'))
  else
    redis.call('PEXPIRE', record.key, math.max(left, 1))
  end
end

-- The same for a call that finds nothing under this key. After a command that removes, a full memory takes what adds.
local function touch_nothing(key)
  redis.call('UNLINK', key)
  redis.call('HSET', key, 't', nonce)
  redis.call('UNLINK', key)
end

-- Removes what is under a record's key, and says whether something was. The call that made the record may come once more,
-- late, and must not make it again: so one that is younger than a call's memory (ms) leaves a trace for as long.
local function bury(key, memory)
  local about = redis.pcall('HMGET', key, 'r', 't')
  if about[2] then
    redis.call('PEXPIRE', key, memory)
    return false
  end
  local since, was_there = tonumber(about[1]), redis.call('UNLINK', key) == 1
  if since and now_ms() - since < tonumber(memory) then
    redis.call('HSET', key, 't', nonce)
    redis.call('PEXPIRE', key, memory)
  elseif not was_there then
    touch_nothing(key)
  end
  return was_there
end

-- The field for the nonce of the change that leads to this version, and what it is to hold then.
local function remembered(record, version)
  local field = 'n' .. math.floor(version / 8) % 4
  local before = version % 8 > 0 and redis.call('HGET', record.key, field) or ''
  return field, before .. nonce
end

-- Whether a record that is there is alive as well.
local function is_member(record)
  return not record.members or redis.call('ZSCORE', record.members, record.id)
end

-- What stands where this call is to make a record: nothing (nil), what it has made already ('made'), what has ended since
-- ('gone'), or another's ('exists').
local function made_before(record)
  if redis.call('EXISTS', record.key) == 0 then
    return nil
  elseif redis.call('HEXISTS', record.key, 't') == 1 then
    return 'gone'
  elseif not is_known(record) then
    return 'exists'
  end
  return is_member(record) and 'made' or 'gone'
end

-- The id that the session has now, by the fields f and u of a record.
local function forward(f, u)
  return f and (not u or now_ms() < tonumber(u)) and f
end

-- Sets when a record expires. Its group lives as long as the last of its members.
local function expire(record, at)
  redis.call('PEXPIREAT', record.key, at)
  if record.members then
    redis.call('ZADD', record.members, at, record.id)
    local last = redis.call('ZREVRANGE', record.members, 0, 0, 'WITHSCORES')[2]
    redis.call('PEXPIREAT', record.members, last)
    redis.call('PEXPIREAT', record.joined, last)
  end
end

local function leave(record)
  if record.members then
    redis.call('ZREM', record.members, record.id)
    redis.call('ZREM', record.joined, record.id)
  end
end

-- Fails, before anything is written, if the group's keys hold something else.
local function check_group(record)
  if record.members then
    redis.call('ZCARD', record.members)
    redis.call('ZCARD', record.joined)
  end
end

-- Makes a group's two sets name the same sessions, if Redis has evicted one of them. Whoever is missing in the second
-- counts as the first to have joined.
local function mend(members, joined)
  if redis.call('ZCARD', members) == redis.call('ZCARD', joined) then
    return
  end
  for _, id in ipairs(redis.call('ZRANGE', joined, 0, -1)) do
    if not redis.call('ZSCORE', members, id) then
      redis.call('ZREM', joined, id)
    end
  end
  for _, id in ipairs(redis.call('ZRANGE', members, 0, -1)) do
    redis.call('ZADD', joined, 'NX', 0, id)
  end
end

-- Lets a session join, and ends those that joined first where there are more than `limit` (nil: any number). Gives their
-- ids.
local function join(record, now, expires, limit)
  local members, joined = record.members, record.joined
  local expired = redis.call('ZRANGEBYSCORE', members, '-inf', string.format('(%.0f', now))
  in_chunks('ZREM', members, expired, 1, #expired)
  in_chunks('ZREM', joined, expired, 1, #expired)
  mend(members, joined)
  redis.call('ZADD', joined, now, record.id)
  expire(record, expires)
  local ended, surplus = {}, limit and redis.call('ZCARD', members) - limit or 0
  for _, id in ipairs(surplus > 0 and redis.call('ZRANGE', joined, 0, surplus) or {}) do
    if #ended < surplus and id ~= record.id then
      ended[#ended + 1] = id
    end
  end
  in_chunks('ZREM', members, ended, 1, #ended)
  in_chunks('ZREM', joined, ended, 1, #ended)
  return ended
end

local record = record_at(1)
