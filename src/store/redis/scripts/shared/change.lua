-- Changes of records: repeated calls, and what comes before the first write.

-- Whether the record has the nonce of this call: then the call has changed the record before, and is a repeated one.
local function knows_call(record)
  for _, nonces in ipairs(redis.call('HMGET', record.key, 'n0', 'n1', 'n2', 'n3')) do
    local at = nonces and nonces:find(nonce, 1, true)
    while at do
      if at % NONCE_LENGTH == 1 then
        return true
      end
      at = nonces:find(nonce, at + 1, true) -- That was half of one nonce, and half of the next.
    end
  end
  return false
end

-- The field for the nonce of the change that makes this version, and the field's new value. A record remembers the last
-- 25 to 32 nonces: eight in each of four fields, by turns. So no field is longer than 64 bytes, up to which Redis keeps
-- a hash compact.
local function nonce_field(record, version)
  local field = 'n' .. math.floor(version / 8) % 4
  local before = version % 8 > 0 and redis.call('HGET', record.key, field) or ''
  return field, (before .. nonce):sub(-8 * NONCE_LENGTH)
end

-- What is under a key at which this call is to make a record: nothing ('free'), the record that this call has made
-- before ('made'), one that this call has made and that has ended or was replaced ('gone'), or another one ('exists').
local function new_key_status(record)
  local v, t, f, x = unpack(redis.call('HMGET', record.key, 'v', 't', 'f', 'x'))
  if not v then
    return (t or f) and 'gone' or redis.call('EXISTS', record.key) == 1 and 'exists' or 'free'
  elseif not knows_call(record) then
    return 'exists'
  end
  return belongs(record, x) and 'made' or 'gone'
end

-- Writes a record's expiry as it is. A repeated call has nothing to change, and must write all the same: from Redis 7.2
-- on, WAIT waits only for what its connection wrote, and a server that takes no writes has to say so. See THE FIRST
-- WRITE: a full memory allows this one.
local function write_unchanged(record)
  local left = redis.call('PTTL', record.key)
  if left < 0 then
    redis.call('HSET', record.key, 'v', redis.call('HGET', record.key, 'v'))
  else
    redis.call('PEXPIRE', record.key, math.min(math.max(left, 1), LONGEST_TIMEOUT))
  end
end

-- The generation of the namespace, as text. Begins one if there is none.
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

-- Fails, before anything is written, if the keys of the record's group hold something else.
local function check_group(record)
  if record.members then
    redis.call('ZCARD', record.members)
    redis.call('ZCARD', record.joined)
  end
end
