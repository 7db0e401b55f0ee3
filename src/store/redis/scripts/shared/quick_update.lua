-- The front of record_update.lua, for a record that nobody has changed since the caller read it: then the caller has
-- made all checks and counted the values. In every other case nothing happens here, and the script goes on.
do
  local generation_key, key, members = unpack(KEYS, 1, 3)
  local nonce, seen, version, nonces, keys, bytes = unpack(ARGV, 1, 6)
  local field = nonces:sub(1, 2)
  local found = redis.call('HMGET', key, 's', field)
  local time = redis.call('TIME')
  -- Of the state (see state.lua), the first 5 bytes are the version, 6 bytes from the 26th on are when the session
  -- expires, and 7 bytes from the 44th on are the generation. The key may live longer than the session.
  local state, before = found[1], field == nonces and found[2] or ''
  if state and #state == 58 and state:sub(1, 5) == seen
    and struct.unpack('>I6', state, 26) > math.floor(time[1] * 1000 + time[2] / 1000)
    and redis.pcall('HGET', generation_key, 'began') == state:sub(44, 50)
    and (not members or members == key or redis.call('ZSCORE', members, key:sub(-24))) then
    local old_keys, old_bytes = struct.unpack('>I3I4', state, 7)
    local new_state = version .. state:sub(6, 6) .. struct.pack('>I3I4', old_keys + keys, old_bytes + bytes)
      .. state:sub(14, 50) .. nonce
    local last_set = 11 + 2 * ARGV[11]
    local last_remove = last_set + 1 + ARGV[last_set + 1]
    local last_increment = last_remove + 1 + 3 * ARGV[last_remove + 1]
    -- THE FIRST WRITE (see prelude.lua) adds, so a full memory refuses the change.
    redis.call('HSET', key, 's', new_state, field, (before .. state:sub(51)):sub(-64), unpack(ARGV, 12, last_set))
    if last_remove > last_set + 1 then
      redis.call('HDEL', key, unpack(ARGV, last_set + 2, last_remove))
    end
    for at = last_remove + 2, last_increment, 3 do
      redis.call('HSET', key, ARGV[at], ARGV[at + 2])
    end
    return { nonce, 'quick' }
  end
end
