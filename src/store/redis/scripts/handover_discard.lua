-- Removes a record that this call has prepared.
-- KEYS: generation
--       record
-- ARGV: nonce
-- Reply: 'ok'
local record = next_record()

if redis.call('HEXISTS', record.key, 'p') == 1 and knows_call(record) then
  redis.call('UNLINK', record.key)
end
return { nonce, 'ok' }
