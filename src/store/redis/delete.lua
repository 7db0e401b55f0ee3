-- Ends a session, whatever its key holds. Says whether it was alive.
-- ARGV: nonce, how long a trace is kept (ms).
local left = redis.pcall('HMGET', record.key, 'f', 'u')
local id = forward(left[1], left[2])
if id then
  return { nonce, 'forward', id }
end
local was_alive = bury(record.key, ARGV[2])
if record.members then
  was_alive = redis.pcall('ZREM', record.members, record.id) == 1 and was_alive
  redis.pcall('ZREM', record.joined, record.id)
end
return { nonce, 'ok', was_alive and 1 or 0 }
