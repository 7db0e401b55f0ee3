-- Removes records of sessions that have ended, and tells of more of them.
-- KEYS: the one for what is left to be swept, and a record's for each session.
-- ARGV: nonce, how many ids to answer with (0: nobody asks for the others any more), how long a trace is kept (ms).
local ended, batch, memory, ids = KEYS[1], tonumber(ARGV[2]), ARGV[3], {}
if batch == 0 then
  -- Redis would remove it all at once when it expires.
  redis.call('UNLINK', ended)
  return { nonce, 'ok', {} }
end
for at = 2, #KEYS do
  bury(KEYS[at], memory)
  ids[#ids + 1] = KEYS[at]:sub(-ID)
end
in_chunks('ZREM', ended, ids, 1, #ids)
return { nonce, 'ok', redis.call('ZRANGE', ended, 0, batch - 1) }
