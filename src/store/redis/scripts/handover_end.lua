-- Ends a record that is handed over to another slot, if it still has the version that was read. The trace keeps the
-- reply, so that the script can answer the same if the call is sent again.
-- KEYS: generation
--       record
-- ARGV: nonce
--       refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout (ms; '' for none)
--       expected version ('' to find out whether an earlier attempt of this call has ended the record)
--       grace of the id (ms; '' for none)
--       trail: how long the old id still ends the session (ms; '' for none)
--       new id
--       how long the trace lives (ms)
-- Reply: 'ok', list of the record's four fields of nonces, whether its idle timeout is the session's own, when its
--        absolute timeout began (ms), when it expires, if it was never loaded (ms; '' if it was loaded)
--        'changed': the record has another version
--        'gone'
local record, lifetime, expected = next_record(), next_lifetime(), next_number()
local grace, trail, new_id, trace_lifetime = next_number() or 0, next_number(), next_text(), next_number()

local v, t, n0, n1, n2, n3, o, b, l =
  unpack(redis.call('HMGET', record.key, 'v', 't', 'n0', 'n1', 'n2', 'n3', 'o', 'b', 'l'))
local nonces, has_own_idle_timeout = { n0 or '', n1 or '', n2 or '', n3 or '' }, o == '1' and 1 or 0
if t == nonce and not v then
  write_for_wait(record)
  return { nonce, 'ok', nonces, has_own_idle_timeout, b or '', l or '' }
end
local state, refusal = live_state(record, lifetime)
if not state then
  return { nonce, refusal == 'forward' and 'gone' or refusal }
elseif expected ~= state.version then
  return { nonce, 'changed' }
end
check_group(record)
redis.call('HSET', record.key, 't', nonce) -- THE FIRST WRITE adds: a full memory refuses the change.
leave_group(record)
redis.call('UNLINK', record.key)
redis.call('HSET', record.key, 't', nonce, 'n0', nonces[1], 'n1', nonces[2], 'n2', nonces[3], 'n3', nonces[4], 'b',
  state.began_at)
if o then
  redis.call('HSET', record.key, 'o', o)
end
local unconfirmed_until = state.refreshed_at == 0 and string.format('%.0f', state.expires_at) or ''
if unconfirmed_until ~= '' then
  redis.call('HSET', record.key, 'l', unconfirmed_until)
end
if trail then
  redis.call('HSET', record.key, 'f', new_id, 'u', state.now + grace, 'm', state.version + 1)
  trace_lifetime = math.max(trace_lifetime, grace, trail)
end
redis.call('PEXPIRE', record.key, trace_lifetime)
return { nonce, 'ok', nonces, has_own_idle_timeout, string.format('%.0f', state.began_at), unconfirmed_until }
