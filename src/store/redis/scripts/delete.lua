-- Ends a session, whatever its key holds. Says whether it was alive, or where it goes on if the key leads elsewhere.
-- KEYS: generation, the record's. ARGV: nonce, how long a trace is kept (ms).
local version, of_generation, leads = unpack(try('HMGET', record.key, 'v', 'x', 'f') or {})
local was_alive = version and of_generation and of_generation == try('HGET', KEYS[1], 'began')
local id = leads and forward(record.key, true)
bury(record.key, ARGV[2])
if record.members then
  was_alive = try('ZREM', record.members, record.id) == 1 and was_alive
  try('ZREM', record.joined, record.id)
  if try('ZCARD', record.members) == 1 and try('ZSCORE', record.members, GENERATION) then
    redis.call('UNLINK', record.members, record.joined)
  end
end
was_alive = was_alive and 1 or 0
if id then
  return { nonce, 'forward', id, 0, was_alive }
end
return { nonce, 'ok', was_alive }
