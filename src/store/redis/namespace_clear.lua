-- Ends all sessions of a namespace, in a cluster all those of a slot. KEYS: generation.
if redis.call('UNLINK', KEYS[1]) == 0 then
  touch_nothing(KEYS[1])
end
return { nonce, 'ok' }
