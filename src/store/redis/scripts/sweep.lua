-- Removes records of sessions that have ended. Stops after a number of bytes, so that it takes only a few milliseconds.
-- KEYS: ended set
--       own key of each record
-- ARGV: nonce
--       when the sessions have ended (ms)
--       the most ids to list (0 if no more records will be removed)
--       after how many bytes of values to stop
--       how long a trace lives (ms)
--       reason, a letter: see end_reason.rs
-- Reply: 'ok', list of ids that were alive when they have ended, and whose records are still to be removed
local ended = KEYS[1]
local ended_at, most, bytes_left, trace_lifetime, reason = unpack(ARGV, 2, 6)
most, bytes_left, trace_lifetime = tonumber(most), tonumber(bytes_left), tonumber(trace_lifetime)

local swept = {}
for at = 2, #KEYS do
  if bytes_left <= 0 then
    break
  end
  bytes_left = bytes_left - remove_record(KEYS[at], trace_lifetime, reason)
  swept[#swept + 1] = KEYS[at]:sub(-ID_LENGTH)
end
in_chunks('ZREM', ended, swept, 1, #swept)
local left = most > 0 and redis.call('ZRANGEBYSCORE', ended, ended_at, '+inf', 'LIMIT', 0, most) or {}
if #left == 0 then
  -- UNLINK frees the ended set in the background. If the set expired instead, Redis might free it in one blocking step.
  redis.call('UNLINK', ended)
end
return { nonce, 'ok', left }
