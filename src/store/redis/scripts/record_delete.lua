-- Ends a session, even if its record is damaged.
-- KEYS: generation
--       record
-- ARGV: nonce
--       how long a trace lives (ms)
--       reason, a letter: see end_reason.rs
-- Reply: 'ok', whether the session was alive
--        'forward', id, 0, whether the session was alive: the key leads to this id, and the caller has to end it too
local record, trace_lifetime, reason = record_at(2), tonumber(ARGV[2]), ARGV[3]

local packed, leads, ended_by = unpack(call_or_nil('HMGET', record.key, 's', 'f', 't') or {})
local was_alive = packed and #packed == STATE_LENGTH and unpack_state(packed).generation == present_generation()
local id = leads and forward(record.key, 'end')
remove_record(record.key, trace_lifetime, reason)
if record.members then
  was_alive = call_or_nil('ZREM', record.members, record.id) == 1 and was_alive
  call_or_nil('ZREM', record.joined, record.id)
  if call_or_nil('ZCARD', record.members) == 1 and call_or_nil('ZSCORE', record.members, GENERATION) then
    redis.call('UNLINK', record.members, record.joined)
  end
end
was_alive = (was_alive or not packed and ended_by == nonce) and 1 or 0 -- A repeated call has ended it before.
if id then
  return { nonce, 'forward', id, 0, was_alive }
end
return { nonce, 'ok', was_alive }
