-- Helpers for scripts that change records: whether a call was made before, and checks before the first write.

-- Says whether the record has the nonce of this call. If it does, the call has changed the record before.
local function knows_call(record)
  for _, nonces in ipairs(redis.call('HMGET', record.key, 'n0', 'n1', 'n2', 'n3')) do
    local at = nonces and nonces:find(nonce, 1, true)
    while at do
      if at % NONCE_LENGTH == 1 then
        return true
      end
      at = nonces:find(nonce, at + 1, true) -- This match was the end of one nonce and the beginning of the next.
    end
  end
  return false
end

-- Gives the field for the nonce of the change that makes this version, and the new value of the field. A record
-- remembers the last 25 to 32 nonces, in four fields of up to eight nonces. Each field has at most 64 bytes, because
-- Redis keeps a hash compact only if its values are no longer than that.
local function nonce_field(record, version)
  local field = 'n' .. math.floor(version / 8) % 4
  local before = version % 8 > 0 and redis.call('HGET', record.key, field) or ''
  return field, (before .. nonce):sub(-8 * NONCE_LENGTH)
end

-- Says what is under a key at which this call has to make a record:
--   'free'    nothing
--   'made'    the record that an earlier attempt of this call has made
--   'gone'    the trace or the forward of such a record
--   'exists'  anything else
local function new_key_status(record)
  local v, t, f, x = unpack(redis.call('HMGET', record.key, 'v', 't', 'f', 'x'))
  if not v then
    return (t or f) and 'gone' or redis.call('EXISTS', record.key) == 1 and 'exists' or 'free'
  elseif not knows_call(record) then
    return 'exists'
  end
  return is_current(record, x) and 'made' or 'gone'
end

-- Writes a record's expiry again, without a change. A call that was made before has nothing to change, but it must
-- write something, for two reasons. From Redis 7.2 on, WAIT looks only at the writes of its own connection. And a node
-- that does not accept writes has to refuse the call. A full memory allows this write: see THE FIRST WRITE.
local function write_for_wait(record)
  local left = redis.call('PTTL', record.key)
  if left < 0 then
    redis.call('HSET', record.key, 'v', redis.call('HGET', record.key, 'v'))
  else
    redis.call('PEXPIRE', record.key, math.min(math.max(left, 1), LONGEST_TIMEOUT))
  end
end

-- Gives the generation of the namespace, as text. Makes a new one if there is none.
local function generation_or_new()
  local began = generation()
  if not began then
    local kind = redis.call('TYPE', generation_key).ok
    if kind ~= 'hash' and kind ~= 'none' then
      redis.call('UNLINK', generation_key)
    end
    began = string.format('%.0f', now_us())
    redis.call('HSET', generation_key, 'began', began)
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
