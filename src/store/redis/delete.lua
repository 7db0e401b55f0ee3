-- Ends a session, whatever its key holds. Says whether it was alive.
local left = redis.pcall('HMGET', record.key, 'f', 'u', 't')
local id = forward(left[1], left[2])
if id then
  return { nonce, 'forward', id }
end
local was_alive = redis.call('EXISTS', record.key) == 1 and not left[3]
if record.members then
  was_alive = redis.pcall('ZREM', record.members, record.id) == 1 and was_alive
  redis.pcall('ZREM', record.joined, record.id)
end
if not was_alive then
  redis.pcall('HSET', record.key, 't', nonce) -- So that WAIT waits for a call that was made before: see touch.
end
redis.call('UNLINK', record.key)
return { nonce, 'ok', was_alive and 1 or 0 }
