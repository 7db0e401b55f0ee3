-- Records: their keys, their state and their life. In each script that includes this file, the first key is the key of
-- the generation.

-- In milliseconds: the longest timeout, the longest grace, and the longest time without a refresh.
local LONGEST_TIMEOUT, LONGEST_GRACE, LONGEST_WITHOUT_REFRESH = 3153600000000, 300000, 2592000000

local generation_key = KEYS[1]

-- Takes the keys of a record from KEYS: its own key, the two sets of its group (members, order of joining), and if the
-- script uses them, the group's values and its reserved places. Without a group, its own key comes five times, or once
-- if it is the last key.
local function record_at(first)
  local key, members, joined, values, reserved = unpack(KEYS, first, first + 4)
  if members == key then
    members, joined, values, reserved = nil, nil, nil, nil
  end
  return {
    key = key, id = key:sub(-ID_LENGTH), members = members, joined = joined, values = values, reserved = reserved,
  }
end

-- Takes the settings of a call from ARGV: refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout
-- (ms; nil for none).
local function lifetime_at(first)
  local refresh_interval, idle_timeout, absolute_timeout = unpack(ARGV, first, first + 2)
  return {
    refresh_interval = tonumber(refresh_interval), idle_timeout = tonumber(idle_timeout),
    absolute_timeout = tonumber(absolute_timeout),
  }
end

-- Returns the generation of the namespace. Returns nil if there is none, or if it is damaged.
local function present_generation()
  local began = redis.pcall('HGET', generation_key, 'began')
  return type(began) == 'string' and #began == 7 and struct.unpack('>I7', began) or nil
end

-- Reads the forward of a key. Returns the id that the key leads to (nil for none), the version in which the key's own
-- id was replaced, and whether the key has a forward or a trace. After its grace, a forward is followed only for the
-- purpose 'end'.
local function forward(key, purpose)
  local id, grace_ends, version, trace = unpack(redis.call('HMGET', key, 'f', 'u', 'm', 't'))
  local leads = id and #id == ID_LENGTH and not id:find('[^%w_-]') and id ~= key:sub(-ID_LENGTH)
  -- If more than the longest grace is left, the clock was put back since the grace was given. Such a grace is over.
  local grace_left = (read_integer(grace_ends) or 0) - now
  leads = leads and (purpose == 'end' or grace_left > 0 and grace_left <= LONGEST_GRACE)
  return leads and id or nil, read_integer(version) or 0, trace or id
end

-- Says whether the namespace and the group of a record still keep it alive: the generation is the present one, and if
-- the record has a group, it is a member.
local function is_current(record, of_generation)
  return present_generation() == of_generation
    and (not record.members or redis.call('ZSCORE', record.members, record.id))
end

-- Returns the state of a live record. Of the record's timeouts and those of the call, the stricter ones hold.
-- `replaced_in` is the version in which the earliest id that leads to the record was replaced (nil if there is none).
-- If the record is not alive, gives nil and a status. With the status 'forward', also gives the id and the version from
-- `forward`. Always sets `record.nonces` to the fields n0 to n3.
local function live_state(record, lifetime, replaced_in)
  local s, n0, n1, n2, n3, g, b, e, p =
    unpack(redis.call('HMGET', record.key, 's', 'n0', 'n1', 'n2', 'n3', 'g', 'b', 'e', 'p'))
  record.nonces = { n0 or '', n1 or '', n2 or '', n3 or '' }
  if not s then
    local id, version, has_ended = forward(record.key)
    if id then
      return nil, 'forward', id, version
    end
    return nil, (has_ended or redis.call('EXISTS', record.key) == 0) and 'gone' or 'corrupt'
  elseif #s ~= STATE_LENGTH or g and #g < 6 or b and not read_integer(b) then
    return nil, 'corrupt'
  end
  local state = unpack_state(s)
  if not is_current(record, state.generation)
    or e and replaced_in and replaced_in <= (read_integer(e) or replaced_in) then
    return nil, 'gone'
  end
  state.joined_at, state.is_prepared = g and struct.unpack('>I6', g), p
  state.began_at = tonumber(b) or state.joined_at or state.created_at
  -- A load within the refresh interval does not refresh. So the last use may be that much later than the last refresh.
  local longest_interval = math.floor(state.idle_timeout / 100)
  if state.flags % 2 ~= OWN_IDLE_TIMEOUT then
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
  if state.expires_at <= now or state.ends_at > 0 and state.ends_at <= now
    or state.refreshed_at > 0 and state.refreshed_at + state.idle_timeout + longest_interval <= now then
    return nil, 'gone'
  end
  return state
end

-- Returns the end of a life that begins now: the idle timeout and the refresh interval (at most 1/100 of the timeout),
-- but not after `ends_at`.
local function full_life(state, refresh_interval)
  local longest_interval = math.floor(state.idle_timeout / 100)
  local at = now + state.idle_timeout + math.max(0, math.min(refresh_interval, longest_interval))
  if state.ends_at > 0 then
    at = math.min(at, state.ends_at)
  end
  return math.max(at, now + 1)
end

-- Returns the state of a record for a reply, packed: version, flags, nonce of the last change, created at, joined at (0
-- for never), refreshed at, ends at the latest (0 for never), idle timeout, expires at, now.
local function info(state)
  return struct.pack('>I5Bc8I6I6I6I6I6I6I6', state.version, state.flags, state.nonce, state.created_at,
    state.joined_at or 0, state.refreshed_at > 0 and state.refreshed_at or state.created_at, state.ends_at,
    state.idle_timeout, math.min(state.expires_at, full_life(state, math.huge)), now)
end

-- Makes the two sets of a group expire together with the member that expires last, and its values not before.
local function expire_with_members(record, at)
  local last = read_integer(redis.call('ZREVRANGE', record.members, 0, 0, 'WITHSCORES')[2]) or at
  redis.call('PEXPIREAT', record.members, last)
  redis.call('PEXPIREAT', record.joined, last)
  local values_left = record.values and redis.call('PTTL', record.values) or -1
  if values_left >= 0 and values_left < last - now then
    redis.call('PEXPIREAT', record.values, last)
  end
end

-- Sets the expiry of a record, and of its membership, to `state.expires_at`.
local function expire(record, state)
  redis.call('PEXPIREAT', record.key, state.expires_at)
  if record.members then
    redis.call('ZADD', record.members, state.expires_at, record.id)
    expire_with_members(record, state.expires_at)
  end
end
