-- Ends a record that goes to another slot, if it is still as it was read. For a while it is remembered by which call,
-- should that be made again.
-- ARGV: nonce, expected version ('' to ask only whether this call was made before), grace for the id (ms; '' none), the
--       new id, how long to remember it (ms).
local about = redis.call('HMGET', record.key, 'v', 't', 'n0', 'n1', 'n2', 'n3')
local nonces = { about[3] or '', about[4] or '', about[5] or '', about[6] or '' }
if about[2] == nonce then
  touch(record)
  return { nonce, 'ok', nonces }
elseif not about[1] or not is_member(record) then
  return { nonce, 'gone' }
elseif about[1] ~= ARGV[2] then
  return { nonce, 'moved' }
end
check_group(record)
redis.call('HSET', record.key, 't', nonce) -- The first write adds, so that a full memory refuses it.
leave(record)
redis.call('UNLINK', record.key)
redis.call('HSET', record.key, 't', nonce, 'n0', nonces[1], 'n1', nonces[2], 'n2', nonces[3], 'n3', nonces[4])
local grace = tonumber(ARGV[3])
if grace then
  redis.call('HSET', record.key, 'f', ARGV[4], 'u', now_ms() + grace)
end
redis.call('PEXPIRE', record.key, math.max(grace or 0, ARGV[5]))
return { nonce, 'ok', nonces }
