-- Ends all sessions of a namespace by removing its generation. In a cluster, ends those of one slot. Keeps the time of
-- the call for a while. In a cluster, this script runs 16,384 times, so it has no prelude.
-- KEYS: generation
-- ARGV: nonce
--       time of the call (ms; 0 without a cluster)
--       how long that time is kept (ms)
-- Reply: 'ok'
local generation_key = KEYS[1]
local nonce, time, time_lifetime = unpack(ARGV)

redis.call('UNLINK', generation_key) -- THE FIRST WRITE (see prelude.lua) removes: a full memory allows the next one.
redis.call('HSET', generation_key, 'cleared', time)
redis.call('PEXPIRE', generation_key, time_lifetime)
return { nonce, 'ok' }
