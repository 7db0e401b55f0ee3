-- How many sessions a group has. KEYS: generation, the group's two.
if not is_of(KEYS[2], generation()) then
  return { nonce, 'ok', 0 }
end
return { nonce, 'ok', redis.call('ZCOUNT', KEYS[2], now_ms(), '+inf') }
