-- Helpers for scripts that change records: whether a call was made before, and checks before the first write.

-- Says whether this call has changed a record before. `last` is the nonce of the record's last change, and `nonces` are
-- its fields n0 to n3.
local function knows_call(last, nonces)
  if last == nonce then
    return true
  end
  for _, eight in ipairs(nonces) do
    local at = eight and eight:find(nonce, 1, true)
    while at do
      if at % NONCE_LENGTH == 1 then
        return true
      end
      at = eight:find(nonce, at + 1, true) -- This match was the end of one nonce and the beginning of the next.
    end
  end
  return false
end

-- The next change moves the nonce in the state into one of the fields n0 to n3. Returns the name of that field, and its
-- new value. A record remembers the last 26 to 33 nonces: the last one in its state, and eight in each of the fields n0
-- to n3.
local function nonce_field(record, state)
  local number = math.floor(state.version / 8) % 4
  local before = state.version % 8 > 0 and record.nonces[number + 1] or ''
  return 'n' .. number, (before .. state.nonce):sub(-8 * NONCE_LENGTH)
end

-- Says what is under a key at which this call has to make a record:
--   'free'    nothing
--   'made'    the record that an earlier attempt of this call has made
--   'gone'    a trace or a forward, or the record of an earlier attempt, which is no longer alive
--   'exists'  anything else
local function new_key_status(record)
  local s, t, f, n0, n1, n2, n3 = unpack(redis.call('HMGET', record.key, 's', 't', 'f', 'n0', 'n1', 'n2', 'n3'))
  if not s then
    return (t or f) and 'gone' or redis.call('EXISTS', record.key) == 1 and 'exists' or 'free'
  elseif not knows_call(s:sub(-NONCE_LENGTH), { n0, n1, n2, n3 }) then
    return 'exists'
  end
  return #s == STATE_LENGTH and is_current(record, unpack_state(s).generation) and 'made' or 'gone'
end

-- Writes a record's expiry again, without a change. A call that was made before has nothing to change, but it must
-- write something, for two reasons. From Redis 7.2 on, WAIT looks only at the writes of its own connection. And a node
-- that does not accept writes has to refuse the call. A full memory allows this write: see THE FIRST WRITE.
local function write_for_wait(record)
  local left = redis.call('PTTL', record.key)
  redis.call('PEXPIRE', record.key, left < 0 and LONGEST_TIMEOUT or math.max(math.min(left, LONGEST_TIMEOUT), 1))
end

-- Says whether the record has the expected version, and was brought there by the change that the caller has read. After
-- a failover that lost a change, another change may have its version.
local function is_last_change(state, expected, last_change)
  return state.version == expected and (last_change == '' or last_change:sub(6) == state.nonce)
end

-- Returns the generation of the namespace. Makes a new one if there is none.
local function generation_or_new()
  local began = present_generation()
  if not began then
    local kind = redis.call('TYPE', generation_key).ok
    if kind ~= 'hash' and kind ~= 'none' then
      redis.call('UNLINK', generation_key)
    end
    began = now_us
    redis.call('HSET', generation_key, 'began', struct.pack('>I7', began))
    redis.call('PERSIST', generation_key)
  end
  return began
end

-- Fails if the keys of the record's group hold values of another type. Called before the first write.
local function check_group(record)
  if record.members then
    redis.call('ZCARD', record.members)
    redis.call('ZCARD', record.joined)
  end
end

-- Sets the life of a session that gets a new id or a new idle timeout to a full one. A session that was not loaded yet
-- keeps its short life, unless it joins a group.
local function begin_life(state, lifetime, joins)
  local full = full_life(state, lifetime.refresh_interval)
  if state.refreshed_at == 0 and not joins then
    state.expires_at = math.min(state.expires_at, full)
  else
    state.refreshed_at, state.expires_at = now, full
  end
end

-- Writes when the absolute timeout began.
local function write_began(record, state)
  if state.began_at == (state.joined_at or state.created_at) then
    redis.call('HDEL', record.key, 'b')
  else
    redis.call('HSET', record.key, 'b', state.began_at)
  end
end
