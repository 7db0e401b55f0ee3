-- Takes back what pending.lua has prepared for this call. KEYS: generation, the record's. ARGV: nonce.
if redis.call('HEXISTS', record.key, 'p') == 1 and is_known(record) then
  redis.call('UNLINK', record.key)
end
return { nonce, 'ok' }
