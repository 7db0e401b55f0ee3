-- Ends all sessions of a namespace, in a cluster all those of a slot: its generation goes. For a while it is remembered
-- when they were ended. This script runs for each of 16,384 slots, so the prelude does not come before it.
-- KEYS: generation. ARGV: nonce, the time of the call (ms, 0 without a cluster), how long to remember it (ms).
redis.call('UNLINK', KEYS[1]) -- First, so that a full memory takes what adds.
redis.call('HSET', KEYS[1], 'cleared', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { ARGV[1], 'ok' }
