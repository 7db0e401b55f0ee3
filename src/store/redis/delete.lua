-- Ends a session, whatever its key holds. Says whether it was alive.
-- ARGV: nonce, how long a record is remembered that was only prepared (ms).
local left = redis.pcall('HMGET', record.key, 'f', 'u', 't', 'p')
local id = forward(left[1], left[2])
if id then
  return { nonce, 'forward', id }
end
local was_there = redis.call('UNLINK', record.key) == 1
local was_alive = was_there and not left[3]
if record.members then
  was_alive = redis.pcall('ZREM', record.members, record.id) == 1 and was_alive
  redis.pcall('ZREM', record.joined, record.id)
end
if left[4] then
  -- The call that has prepared it must not do so again.
  redis.call('HSET', record.key, 't', nonce)
  redis.call('PEXPIRE', record.key, ARGV[2])
elseif not was_there then
  touch_nothing(record.key)
end
return { nonce, 'ok', was_alive and 1 or 0 }
