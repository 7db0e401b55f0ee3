-- What every script begins with. ARGV[1] is the call's nonce: every reply begins with it.
--
-- A record is one hash: the values under ":key" as JSON text, and the library's own fields under bare letters. Times
-- are milliseconds since 1970.
--   v version   c created   a ends at the latest, 0 never   i idle timeout (ms)   o 1 if that is this session's own
--   r last given a full life; 0 until it is loaded for the first time, if its life is shorter until then
--   b the absolute timeout began, if that is neither j nor c
--   g the group's name, j when it joined: both only in a group
--   e graces for ids that it had up to this version have ended
--   k number of the values   s their size (bytes)   n0 to n3 the nonces of the last calls that changed it
--   x the generation of its namespace that it belongs to
--   p its version, until it is brought to life: see handover.rs
-- What has no v is not a record:
--   f the id that the session has now, u until when calls reach it by this one, m its version since. The key itself
--     expires later: until then this id still ends the session.
--   t the nonce of the call that ended it, or took it away: a trace. That has a few more fields of a record that was
--     taken away, and l when it ends if its life is shorter until it is loaded for the first time.
-- The key's own expiry is the session's.
--
-- A group is two sorted sets of its sessions' ids: by expiry, and by the order of joining (microseconds since 1970, no
-- two alike). A session in a group lives only as long as it stands in the first. That has one entry more, GENERATION:
-- minus the generation that the group belongs to. Entries that have expired may still be there.
--
-- A namespace has a generation: when its first session was created (microseconds since 1970), under a key of its own.
-- What belongs to another one has ended, and where there is none, everything has. So all sessions end when that key is
-- removed. Its fields:
--   began the generation   cleared when all sessions were last ended (ms): see namespace.rs
local nonce = ARGV[1]
local CHUNK, NONCE, ID, GENERATION = 1000, 8, 24, 'generation'
-- How many sessions of a group a step ends or clears away, and the largest limit that it can enforce on a group of any
-- size.
local BATCH, LARGEST_LIMIT = 500, 1000
-- The longest timeout and the longest grace that there can be, after how long a refresh is due in any case, what
-- rounding makes of an expiry (ms).
local LONGEST_TIMEOUT, LONGEST_GRACE, LONGEST_WITHOUT_REFRESH, ROUNDING = 3153600000000, 300000, 2592000000, 1000

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

local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function now_ms()
  return math.floor(now_us() / 1000)
end

-- A number as we write it: whole, and not so large that Lua's numbers skip some. Anything else is damage.
local function whole(text)
  local number = tonumber(text)
  return number and number >= 0 and number < 2 ^ 53 and number % 1 == 0 and number or nil
end

-- Calls a command; nil where it fails, since what stands there is damaged.
local function try(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    return nil
  end
  return answer
end

-- The generation of the namespace, as text; nil if there is none, or something else in its place.
local function generation()
  local began = try('HGET', KEYS[1], 'began')
  return whole(began) and began
end

local function generation_or_new()
  local began = generation()
  if not began then
    local type = redis.call('TYPE', KEYS[1]).ok
    if type ~= 'hash' and type ~= 'none' then
      redis.call('UNLINK', KEYS[1])
    end
    began = string.format('%.0f', now_us())
    redis.call('HSET', KEYS[1], 'began', began)
    redis.call('PERSIST', KEYS[1])
  end
  return began
end

-- Calls a command with the arguments from `first` to `last`; `unpack` fails at about 8,000 of them.
local function in_chunks(command, key, list, first, last)
  for from = first, last, CHUNK do
    redis.call(command, key, unpack(list, from, math.min(from + CHUNK - 1, last)))
  end
end

-- The id that the session of this key has now, by which calls reach it until its grace ends, and its version since
-- then. Where it is asked for to end the session, any grace will do. A third answer tells whether there is a trace.
local function forward(key, to_end)
  local id, grace_ends, version, trace = unpack(redis.call('HMGET', key, 'f', 'u', 'm', 't'))
  local leads = id and #id == ID and not id:find('[^%w_-]') and id ~= key:sub(-ID)
  -- A grace that ends later than the longest was given by a clock that has been put back since: it is over.
  local grace_left = (whole(grace_ends) or 0) - now_ms()
  leads = leads and (to_end or grace_left > 0 and grace_left <= LONGEST_GRACE)
  return leads and id or nil, whole(version) or 0, trace or id
end

-- Whether a record that is there belongs to the generation and to its group.
local function belongs(record, of_generation)
  if not of_generation or of_generation ~= generation() then
    return false
  end
  return not record.members or redis.call('ZSCORE', record.members, record.id)
end

-- The settings of a call: when a use extends a life (ms; below 0 never), idle and absolute timeout (ms; '' none).
local function lifetime(interval, idle, absolute)
  return { interval = tonumber(interval), idle = tonumber(idle), absolute = tonumber(absolute) }
end

-- How a live record stands, by the stricter of its own timeouts and those of the settings. Otherwise nil, and what to
-- answer. `since` is the version since the earliest of the ids by which it was reached, '' for its own.
local function standing(record, settings, since)
  local v, c, j, b, r, a, i, o, x, p, e =
    unpack(redis.call('HMGET', record.key, 'v', 'c', 'j', 'b', 'r', 'a', 'i', 'o', 'x', 'p', 'e'))
  if not v then
    local id, version, trace = forward(record.key)
    if id then
      return nil, { nonce, 'forward', id, version }
    end
    return nil, { nonce, (trace or redis.call('EXISTS', record.key) == 0) and 'gone' or 'corrupt' }
  end
  since = tonumber(since)
  if not belongs(record, x) or (e and since and since <= (whole(e) or since)) then
    return nil, { nonce, 'gone' }
  end
  -- In this order: a millisecond may pass in between, and must not look like one that a refresh would win.
  local left = redis.call('PTTL', record.key)
  local now = now_ms()
  local state = {
    version = whole(v), created = whole(c), joined = j and whole(j), refreshed = whole(r), ends = whole(a),
    idle = whole(i), own_idle = o, prepared = p, now = now, generation = x,
    expires = left >= 0 and now + left or math.huge,
  }
  state.began = whole(b or j or c)
  if not (state.version and state.created and state.joined ~= nil and state.refreshed and state.ends and state.began
    and state.idle and state.idle <= LONGEST_TIMEOUT) then
    return nil, { nonce, 'corrupt' }
  end
  -- The last use may be later than the last refresh by the longest interval that there can be.
  local longest_interval = math.floor(state.idle / 100)
  if not o and settings.idle then
    state.idle = math.min(state.idle, settings.idle)
  end
  if state.began > now then
    -- The clock was put back. A load sets the life anew, so that its end does not move along.
    state.is_ahead, state.began, state.refreshed = true, now, 0
  end
  if settings.absolute then
    local strictest = state.began + settings.absolute
    state.ends = state.ends > 0 and math.min(state.ends, strictest) or strictest
  end
  local unused = state.refreshed > 0 and state.refreshed + state.idle + longest_interval or math.huge
  if math.min(state.expires, unused, state.ends > 0 and state.ends or math.huge) <= now then
    return nil, { nonce, 'gone' }
  end
  return state
end

-- When a life ends that is a full one from now on, with this refresh interval.
local function full_life(state, interval)
  local at = state.now + state.idle + math.max(0, math.min(interval, math.floor(state.idle / 100)))
  if state.ends > 0 then
    at = math.min(at, state.ends)
  end
  return math.max(at, state.now + 1)
end

-- How a record stands, as replies have it: version, created, joined, refreshed, ends, idle timeout, now, time left.
local function info(state)
  local refreshed = state.refreshed > 0 and state.refreshed or state.created
  local expires = math.min(state.expires, full_life(state, math.huge))
  return { state.version, state.created, state.joined, refreshed, state.ends, state.idle, state.now,
    math.max(expires - state.now, 0) }
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

-- For a call that was made before: it writes something too, so that WAIT waits for what it wrote then (from Redis 7.2
-- on it looks at a connection's own writes), and that a server which takes no writes says so. A full memory takes this
-- one.
local function touch(record)
  local left = redis.call('PTTL', record.key)
  if left < 0 then
    redis.call('HSET', record.key, 'v', redis.call('HGET', record.key, 'v'))
  else
    redis.call('PEXPIRE', record.key, math.min(math.max(left, 1), LONGEST_TIMEOUT))
  end
end

-- The same for a call that finds nothing under this key. After a command that removes, a full memory takes what adds.
local function touch_nothing(key)
  redis.call('UNLINK', key)
  redis.call('HSET', key, 't', nonce)
  redis.call('UNLINK', key)
end

-- Removes what is under a record's key. The call that made the record may come once more, late, and must not make it
-- again: so one that is younger than a call's memory (ms) leaves a trace for as long. So does one that leads elsewhere:
-- the call that ends it may have to be told so again. Gives the size of its values.
local function bury(key, memory)
  local v, c, r, t, f, s = unpack(try('HMGET', key, 'v', 'c', 'r', 't', 'f', 's') or {})
  if not v and (t or f) then
    if redis.call('PTTL', key) < tonumber(memory) then
      redis.call('PEXPIRE', key, memory)
    end
    return 0
  end
  local since, was_there = math.max(whole(c) or 0, whole(r) or 0), redis.call('UNLINK', key) == 1
  if f or now_ms() - since < tonumber(memory) then
    redis.call('HSET', key, 't', nonce)
    if f then
      redis.call('HSET', key, 'f', f)
    end
    redis.call('PEXPIRE', key, memory)
  elseif not was_there then
    touch_nothing(key)
  end
  return whole(s) or 0
end

-- The field for the nonce of the change that leads to this version, and what it is to hold then.
local function remembered(record, version)
  local field = 'n' .. math.floor(version / 8) % 4
  local before = version % 8 > 0 and redis.call('HGET', record.key, field) or ''
  return field, (before .. nonce):sub(-8 * NONCE)
end

-- What stands where this call is to make a record: nothing (nil), what it has made already ('made'), what has ended or
-- gone on since ('gone'), or another's ('exists').
local function made_before(record)
  local about = redis.call('HMGET', record.key, 'v', 't', 'f', 'x')
  if not about[1] then
    return (about[2] or about[3]) and 'gone' or redis.call('EXISTS', record.key) == 1 and 'exists' or nil
  elseif not is_known(record) then
    return 'exists'
  end
  return belongs(record, about[4]) and 'made' or 'gone'
end

-- Lets a group live as long as the last of its members.
local function outlive_members(record, at)
  local last = whole(redis.call('ZREVRANGE', record.members, 0, 0, 'WITHSCORES')[2]) or at
  redis.call('PEXPIREAT', record.members, last)
  redis.call('PEXPIREAT', record.joined, last)
end

-- Sets when a record expires.
local function expire(record, at)
  redis.call('PEXPIREAT', record.key, at)
  if record.members then
    redis.call('ZADD', record.members, at, record.id)
    outlive_members(record, at)
  end
end

-- Whether a group is of this generation: otherwise its sessions have ended, and it is to be begun anew.
local function is_of(members, of_generation)
  local mark = of_generation and redis.call('ZSCORE', members, GENERATION)
  return mark and tonumber(mark) == -of_generation
end

local function remove(record, ids)
  in_chunks('ZREM', record.members, ids, 1, #ids)
  in_chunks('ZREM', record.joined, ids, 1, #ids)
end

-- Takes a session out of its group; the last one takes the group with it.
local function leave(record)
  if record.members then
    remove(record, { record.id })
    if redis.call('ZCARD', record.members) == 1 and redis.call('ZSCORE', record.members, GENERATION) then
      redis.call('UNLINK', record.members, record.joined)
    end
  end
end

-- Fails, before anything is written, if the group's keys hold something else.
local function check_group(record)
  if record.members then
    redis.call('ZCARD', record.members)
    redis.call('ZCARD', record.joined)
  end
end

-- Lets a group have only the sessions that joined last, however many are to end: the old sets become what is left to be
-- swept, and those that stay begin new ones. Says whether it has found them.
local function keep_latest(record, limit, now, rest)
  local kept, stay = { [record.id] = true }, { record.id }
  local function look_at(ids)
    for _, id in ipairs(ids) do
      local expires = #stay < limit and not kept[id] and redis.call('ZSCORE', record.members, id)
      if expires and tonumber(expires) >= now then
        kept[id], stay[#stay + 1] = true, id
      end
    end
  end
  look_at(redis.call('ZREVRANGE', record.joined, 0, 2 * LARGEST_LIMIT))
  look_at(redis.call('ZREVRANGE', record.members, 0, 2 * LARGEST_LIMIT)) -- Redis may have evicted the order of joining.
  if #stay < limit then
    return false
  end
  local members, joined = { redis.call('ZSCORE', record.members, GENERATION), GENERATION }, {}
  for _, id in ipairs(stay) do
    members[#members + 1], members[#members + 2] = redis.call('ZSCORE', record.members, id), id
    joined[#joined + 1], joined[#joined + 2] = redis.call('ZSCORE', record.joined, id) or 0, id
  end
  redis.call('RENAME', record.members, rest.key)
  redis.call('UNLINK', record.joined)
  in_chunks('ZADD', record.members, members, 1, #members)
  in_chunks('ZADD', record.joined, joined, 1, #joined)
  redis.call('ZREM', rest.key, GENERATION)
  in_chunks('ZREM', rest.key, stay, 1, #stay)
  redis.call('PEXPIRE', rest.key, rest.memory)
  outlive_members(record, now)
  return true
end

-- Ends those that joined first, until the group has no more sessions than `limit`; the record's stays. Gives the ids of
-- up to a BATCH that have ended, and 1 if there are more to end: so it is where more than a BATCH are to end and the
-- limit is above LARGEST_LIMIT. Others that have ended are remembered under `rest`, for sweep.lua.
local function enforce(record, limit, rest)
  local now, live, gone = now_ms(), {}, {}
  local surplus = redis.call('ZCOUNT', record.members, now, '+inf') - limit
  if surplus <= 0 then
    return {}, 0
  end
  local function look_at(ids, is_lost)
    for _, id in ipairs(ids) do
      local expires = redis.call('ZSCORE', record.members, id)
      if not expires or tonumber(expires) < now then
        gone[#gone + 1] = id
      elseif #live < surplus and id ~= record.id and not (is_lost and redis.call('ZSCORE', record.joined, id)) then
        live[#live + 1] = id
      end
    end
  end
  if surplus <= BATCH or limit > LARGEST_LIMIT then
    if redis.call('ZCARD', record.members) - 1 > redis.call('ZCARD', record.joined) then
      -- Redis has evicted the order of joining. Whoever is missing there counts as the first to have joined.
      look_at(redis.call('ZRANGEBYSCORE', record.members, now, '+inf', 'LIMIT', 0, BATCH), true)
    end
    if #live < math.min(surplus, BATCH) then
      look_at(redis.call('ZRANGE', record.joined, 0, BATCH))
    end
  end
  if #live < surplus and limit <= LARGEST_LIMIT and keep_latest(record, limit, now, rest) then
    return redis.call('ZRANGE', rest.key, 0, BATCH - 1), 0
  end
  remove(record, gone)
  remove(record, live)
  return live, #live < surplus and #live + #gone > 0 and 1 or 0
end

-- Lets a session join, and ends those that joined first where there are more than `limit` (nil: any number). Answers as
-- `enforce`.
local function join(record, expires, of_generation, limit, rest)
  if not is_of(record.members, of_generation) then
    redis.call('UNLINK', record.members, record.joined)
    redis.call('ZADD', record.members, -of_generation, GENERATION)
  end
  local past = string.format('(%.0f', now_ms())
  remove(record, redis.call('ZRANGEBYSCORE', record.members, 0, past, 'LIMIT', 0, BATCH))
  -- No two sessions of a group have joined at once, whatever the clock says.
  local last = whole(redis.call('ZREVRANGE', record.joined, 0, 0, 'WITHSCORES')[2]) or 0
  redis.call('ZADD', record.joined, string.format('%.0f', math.max(now_us(), last + 1)), record.id)
  expire(record, expires)
  if not limit then
    return {}, 0
  end
  return enforce(record, limit, rest)
end

local record = record_at(2)
