-- Removes records of sessions that have ended, and tells of more of them. KEYS: the one under which they are remembered,
-- and a record's for each. ARGV: nonce, how many ids to answer with, how long a trace is kept (ms).
local ended, ids = KEYS[1], {}
for at = 2, #KEYS do
  bury(KEYS[at], ARGV[3])
  ids[#ids + 1] = KEYS[at]:sub(-ID)
end
in_chunks('ZREM', ended, ids, 1, #ids)
return { nonce, 'ok', redis.call('ZRANGE', ended, 0, ARGV[2] - 1) }
