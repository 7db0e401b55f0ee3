-- The ids of a group's sessions. KEYS: the group's two.
return { nonce, 'ok', redis.call('ZRANGEBYSCORE', KEYS[1], now_ms(), '+inf') }
