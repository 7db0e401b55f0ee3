-- The quick part of record_update.lua, for a record that nobody has changed since the caller read it: then the caller
-- has made all checks and counted the values. In every other case, this part does nothing, and the rest of the script
-- runs.
--
-- This part does not check the time: Redis removes a record when its life ends, and the caller's load has applied the
-- timeouts.
do
  local generation_key, key, members = unpack(KEYS, 1, 3)
  local nonce, version_read, next_version, nonce_field, added_keys, added_bytes = unpack(ARGV, 1, 6)
  local field = nonce_field:sub(1, 2) -- A '+' comes after it if the field begins anew.
  local found = redis.call('HMGET', key, 's', field)
  -- Of the state (see state.lua), the first 5 bytes are the version, and 7 bytes from the 44th on are the generation.
  local state, before = found[1], field == nonce_field and found[2] or ''
  if state and #state == 58 and state:sub(1, 5) == version_read
    and redis.pcall('HGET', generation_key, 'began') == state:sub(44, 50)
    and (not members or members == key or redis.call('ZSCORE', members, key:sub(-24))) then
    local old_keys, old_bytes = struct.unpack('>I3I4', state, 7)
    local counts = struct.pack('>I3I4', old_keys + added_keys, old_bytes + added_bytes)
    local new_state = next_version .. state:sub(6, 6) .. counts .. state:sub(14, 50) .. nonce
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
