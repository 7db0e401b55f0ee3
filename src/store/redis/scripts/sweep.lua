-- Removes records of sessions that have ended. Stops after a number of bytes, so that it takes only a few milliseconds.
-- KEYS: ended set
--       own key of each record
-- ARGV: nonce
--       the most ids to list (0 if no more records will be removed)
--       after how many bytes of values to stop
--       how long a trace lives (ms)
-- Reply: 'ok', list of ids whose records are still to be removed
local ended = KEYS[1]
local most, bytes_left, trace_lifetime = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

if most == 0 then
  -- UNLINK frees the ended set in the background. If the set expired instead, Redis might free it in one blocking step.
  redis.call('UNLINK', ended)
  return { nonce, 'ok', {} }
end
local swept, left = {}, {}
for at = 2, #KEYS do
  local key = KEYS[at]
  local id = key:sub(-ID_LENGTH)
  if bytes_left > 0 then
    bytes_left = bytes_left - remove_record(key, trace_lifetime)
    swept[#swept + 1] = id
  else
    left[#left + 1] = id
  end
end
in_chunks('ZREM', ended, swept, 1, #swept)
return { nonce, 'ok', #left > 0 and left or redis.call('ZRANGE', ended, 0, most - 1) }
