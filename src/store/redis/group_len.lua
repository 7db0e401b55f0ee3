-- How many sessions a group has. KEYS: the group's two.
return { nonce, 'ok', redis.call('ZCOUNT', KEYS[1], now_ms(), '+inf') }
