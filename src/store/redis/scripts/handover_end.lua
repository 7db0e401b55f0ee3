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
local record, lifetime, expected = record_at(2), lifetime_at(2), tonumber(ARGV[5])
local grace, trail, new_id, trace_lifetime = unpack(ARGV, 6, 9)

local state, refusal = live_state(record, lifetime)
if not state then
  local s, t, o, b, l = unpack(redis.call('HMGET', record.key, 's', 't', 'o', 'b', 'l'))
  if t == nonce and not s then
    write_for_wait(record)
    return { nonce, 'ok', record.nonces, o == '1' and 1 or 0, b or '', l or '' }
  end
  return { nonce, refusal == 'forward' and 'gone' or refusal }
elseif expected ~= state.version then
  return { nonce, 'changed' }
end
check_group(record)
-- This handover becomes the latest change of the new record, so the nonce in the state joins the earlier ones.
local field, nonces = nonce_field(record, state)
record.nonces[field:sub(2) + 1] = nonces
redis.call('HSET', record.key, 't', nonce) -- THE FIRST WRITE adds: a full memory refuses the change.
leave_group(record)
redis.call('UNLINK', record.key)
local unconfirmed_until = state.refreshed_at == 0 and string.format('%.0f', state.expires_at) or ''
local began_at, is_own = string.format('%.0f', state.began_at), state.flags == OWN_IDLE_TIMEOUT
redis.call('HSET', record.key, 't', nonce, 'n0', record.nonces[1], 'n1', record.nonces[2], 'n2', record.nonces[3],
  'n3', record.nonces[4], 'b', began_at)
if is_own then
  redis.call('HSET', record.key, 'o', 1)
end
if unconfirmed_until ~= '' then
  redis.call('HSET', record.key, 'l', unconfirmed_until)
end
if trail ~= '' then
  grace = tonumber(grace) or 0
  redis.call('HSET', record.key, 'f', new_id, 'u', now + grace, 'm', state.version + 1)
  trace_lifetime = math.max(trace_lifetime, grace, trail)
end
redis.call('PEXPIRE', record.key, trace_lifetime)
return { nonce, 'ok', record.nonces, is_own and 1 or 0, began_at, unconfirmed_until }
