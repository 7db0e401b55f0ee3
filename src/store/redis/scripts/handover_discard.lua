-- Removes a record that this call has prepared.
-- KEYS: generation
--       record; in a group with its values and its reserved places
-- ARGV: nonce
-- Reply: 'ok'
local record = record_at(2)

local packed, is_prepared, n0, n1, n2, n3 = unpack(redis.call('HMGET', record.key, 's', 'p', 'n0', 'n1', 'n2', 'n3'))
if is_prepared and packed and knows_call(packed:sub(-NONCE_LENGTH), { n0, n1, n2, n3 }) then
  redis.call('UNLINK', record.key)
  if record.reserved then
    redis.call('ZREM', record.reserved, record.id)
  end
end
return { nonce, 'ok' }
