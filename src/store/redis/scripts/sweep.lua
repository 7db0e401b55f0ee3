-- Removes records of sessions that have ended. Stops after a number of bytes, so that it takes only a few milliseconds.
-- KEYS: ended set
--       own key of each record
-- ARGV: nonce
--       the most ids to list (0 if no more records will be removed)
--       after how many bytes of values to stop
--       how long a trace lives (ms)
--       reason, a letter: see end_reason.rs
-- Reply: 'ok', list of ids whose records are still to be removed, list of removed ids that were alive
local ended = KEYS[1]
local most, bytes_left, trace_lifetime, reason = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

if most == 0 then
  -- UNLINK frees the ended set in the background. If the set expired instead, Redis might free it in one blocking step.
  redis.call('UNLINK', ended)
  return { nonce, 'ok', {}, {} }
end
local swept, left, were_alive = {}, {}, {}
for at = 2, #KEYS do
  local key = KEYS[at]
  local id = key:sub(-ID_LENGTH)
  if bytes_left > 0 then
    local expires_at = redis.call('ZSCORE', ended, id)
    local is_live = expires_at and tonumber(expires_at) > now
    bytes_left = bytes_left - remove_record(key, trace_lifetime, is_live and reason or 'x')
    swept[#swept + 1] = id
    if is_live then
      were_alive[#were_alive + 1] = id
    end
  else
    left[#left + 1] = id
  end
end
in_chunks('ZREM', ended, swept, 1, #swept)
return { nonce, 'ok', #left > 0 and left or redis.call('ZRANGE', ended, 0, most - 1), were_alive }
