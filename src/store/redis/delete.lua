-- Ends a session, whatever its key holds.
redis.call('UNLINK', key)
return { nonce, 'ok' }
