-- Records: their keys, their state and their life. In each script that includes this file, the first key is the key of
-- the generation.

-- In milliseconds: the longest timeout, the longest grace, the longest time without a refresh, and the most that
-- rounding adds to an expiry.
local LONGEST_TIMEOUT, LONGEST_GRACE, LONGEST_WITHOUT_REFRESH, ROUNDING = 3153600000000, 300000, 2592000000, 1000

local generation_key = next_key()

-- Reads the keys of a record from KEYS: its own key and the two keys of its group. Without a group, its own key comes
-- three times, or once if it is the last key. Gives nil if no key is left.
local function next_record()
  local key, members, joined = next_key(), next_key(), next_key()
  if not key then
    return nil
  elseif members == key then
    members, joined = nil, nil
  end
  return { key = key, id = key:sub(-ID_LENGTH), members = members, joined = joined }
end

-- The settings of a call: refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout (ms; nil for
-- none).
local function next_lifetime()
  return { refresh_interval = next_number(), idle_timeout = next_number(), absolute_timeout = next_number() }
end

-- Gives the generation of the namespace, as text. Gives nil if there is none, or if it is damaged.
local function generation()
  local began = call_or_nil('HGET', generation_key, 'began')
  return read_integer(began) and began
end

-- Reads the forward of a key. Gives the id that the key leads to (nil for none), the version at which the key's own id
-- was replaced, and whether the key has a forward or a trace. After its grace, a forward is followed only for the
-- purpose 'end'.
local function forward(key, purpose)
  local id, grace_ends, version, trace = unpack(redis.call('HMGET', key, 'f', 'u', 'm', 't'))
  local leads = id and #id == ID_LENGTH and not id:find('[^%w_-]') and id ~= key:sub(-ID_LENGTH)
  -- If more than the longest grace is left, the clock was put back since the grace was given. Such a grace is over.
  local grace_left = (read_integer(grace_ends) or 0) - now_ms()
  leads = leads and (purpose == 'end' or grace_left > 0 and grace_left <= LONGEST_GRACE)
  return leads and id or nil, read_integer(version) or 0, trace or id
end

-- Says whether a record belongs to the present generation and, if it has a group, is a member of the group.
local function is_current(record, of_generation)
  if not of_generation or of_generation ~= generation() then
    return false
  end
  return not record.members or redis.call('ZSCORE', record.members, record.id)
end

-- Gives the state of a live record. Of the record's timeouts and those of the call, the stricter ones hold.
-- `replaced_in` is the version at which the earliest forward to the record was made (nil if there was no forward). If
-- the record is not alive, gives nil and a status. With the status 'forward', also gives the id and the version from
-- `forward`.
local function live_state(record, lifetime, replaced_in)
  local v, c, j, b, r, a, i, o, x, p, e =
    unpack(redis.call('HMGET', record.key, 'v', 'c', 'j', 'b', 'r', 'a', 'i', 'o', 'x', 'p', 'e'))
  if not v then
    local id, version, has_ended = forward(record.key)
    if id then
      return nil, 'forward', id, version
    end
    return nil, (has_ended or redis.call('EXISTS', record.key) == 0) and 'gone' or 'corrupt'
  elseif not is_current(record, x) or (e and replaced_in and replaced_in <= (read_integer(e) or replaced_in)) then
    return nil, 'gone'
  end
  -- The clock is read after PTTL. Otherwise the expiry could be a millisecond too early, and every load would find a
  -- refresh that gains this millisecond.
  local left = redis.call('PTTL', record.key)
  local now = now_ms()
  local state = {
    version = read_integer(v), created_at = read_integer(c), joined_at = j and read_integer(j),
    refreshed_at = read_integer(r), ends_at = read_integer(a), began_at = read_integer(b or j or c),
    idle_timeout = read_integer(i), has_own_idle_timeout = o, is_prepared = p, generation = x,
    now = now, expires_at = left >= 0 and now + left or math.huge,
  }
  if not (state.version and state.created_at and state.joined_at ~= nil and state.refreshed_at and state.ends_at
    and state.began_at and state.idle_timeout and state.idle_timeout <= LONGEST_TIMEOUT) then
    return nil, 'corrupt'
  end
  -- A load within the refresh interval does not refresh. So the last use may be that much later than the last refresh.
  local longest_interval = math.floor(state.idle_timeout / 100)
  if not o then
    state.idle_timeout = math.min(state.idle_timeout, lifetime.idle_timeout)
  end
  if state.began_at > now then
    -- The clock was put back. The next load writes new times, so that the session ends when it should by the new clock.
    state.is_clock_put_back, state.began_at, state.refreshed_at = true, now, 0
  end
  if lifetime.absolute_timeout then
    local strictest_end = state.began_at + lifetime.absolute_timeout
    state.ends_at = state.ends_at > 0 and math.min(state.ends_at, strictest_end) or strictest_end
  end
  local unused_at = state.refreshed_at > 0 and state.refreshed_at + state.idle_timeout + longest_interval or math.huge
  if math.min(state.expires_at, unused_at, state.ends_at > 0 and state.ends_at or math.huge) <= now then
    return nil, 'gone'
  end
  return state
end

-- Gives the time at which a full life ends if it begins now, with this refresh interval.
local function full_life(state, refresh_interval)
  local longest_interval = math.floor(state.idle_timeout / 100)
  local at = state.now + state.idle_timeout + math.max(0, math.min(refresh_interval, longest_interval))
  if state.ends_at > 0 then
    at = math.min(at, state.ends_at)
  end
  return math.max(at, state.now + 1)
end

-- Gives the state of a record for a reply: version, created at, joined at, refreshed at, ends at, idle timeout, now,
-- time left.
local function info(state)
  local refreshed_at = state.refreshed_at > 0 and state.refreshed_at or state.created_at
  local expires_at = math.min(state.expires_at, full_life(state, math.huge))
  return { state.version, state.created_at, state.joined_at, refreshed_at, state.ends_at, state.idle_timeout, state.now,
    math.max(expires_at - state.now, 0) }
end

-- Makes the two sets of a group expire together with the member that expires last.
local function expire_with_members(record, at)
  local last = read_integer(redis.call('ZREVRANGE', record.members, 0, 0, 'WITHSCORES')[2]) or at
  redis.call('PEXPIREAT', record.members, last)
  redis.call('PEXPIREAT', record.joined, last)
end

-- Sets when a record expires.
local function expire(record, at)
  redis.call('PEXPIREAT', record.key, at)
  if record.members then
    redis.call('ZADD', record.members, at, record.id)
    expire_with_members(record, at)
  end
end
