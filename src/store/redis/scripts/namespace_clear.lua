-- Ends all sessions of a namespace, in a cluster all those of a slot: removes the generation. The time of the call is
-- kept for a while. This script runs for each of 16,384 slots, so it has no prelude.
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
