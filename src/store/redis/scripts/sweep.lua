-- Removes records of sessions that have ended, as many as Redis gives back the memory of in a few milliseconds, and
-- tells of more of them.
-- KEYS: the one for what is left to be swept, and a record's for each session.
-- ARGV: nonce, how many ids to answer with (0: nobody asks for the others any more), after how many bytes to stop, how
--       long a trace is kept (ms).
local ended, batch, room, memory = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
if batch == 0 then
  -- Redis would remove it all at once when it expires.
  redis.call('UNLINK', ended)
  return { nonce, 'ok', {} }
end
local swept, left = {}, {}
for at = 2, #KEYS do
  local id = KEYS[at]:sub(-ID)
  if room > 0 then
    room = room - bury(KEYS[at], memory)
    swept[#swept + 1] = id
  else
    left[#left + 1] = id
  end
end
in_chunks('ZREM', ended, swept, 1, #swept)
return { nonce, 'ok', #left > 0 and left or redis.call('ZRANGE', ended, 0, batch - 1) }
