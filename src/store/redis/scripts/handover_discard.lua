-- Removes a record that this call has prepared.
-- KEYS: generation
--       record
-- ARGV: nonce
-- Reply: 'ok'
local record = record_at(2)

local packed, is_prepared, n0, n1, n2, n3 = unpack(redis.call('HMGET', record.key, 's', 'p', 'n0', 'n1', 'n2', 'n3'))
local is_ours = packed and packed:sub(-NONCE_LENGTH) == nonce
  or is_remembered({ n0 or '', n1 or '', n2 or '', n3 or '' })
if is_prepared and is_ours then
  redis.call('UNLINK', record.key)
end
return { nonce, 'ok' }
