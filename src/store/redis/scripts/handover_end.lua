-- Ends a record that is handed over to another slot, if nobody has changed it since it was read. The trace keeps the
-- reply, so that the script can answer the same if the call is sent again.
-- KEYS: generation
--       record
-- ARGV: nonce
--       refresh interval (ms; below 0 for never), idle timeout (ms), absolute timeout (ms; '' for none)
--       last change that was read: see record_update.lua ('' to find out whether an earlier attempt of this call has
--       ended the record)
--       grace of the id (ms; '' for none)
--       trail: how long the old id still ends the session (ms; '' for none)
--       new id
--       how long the trace lives (ms)
-- Reply: 'ok', list of the record's four fields of nonces, when its absolute timeout began (ms), when it expires, if it
--        was never loaded (ms; '' if it was loaded)
--        'changed': the record was changed since
--        'gone'
local record, lifetime = record_at(2), lifetime_at(2)
local last_change, grace, trail, new_id, trace_lifetime = unpack(ARGV, 5, 9)

local state, refusal = live_state(record, lifetime)
if not state then
  local s, t, b, l = unpack(redis.call('HMGET', record.key, 's', 't', 'b', 'l'))
  if t == nonce and not s then
    write_for_wait(record)
    return { nonce, 'ok', record.nonces, b or '', l or '' }
  end
  return { nonce, refusal == 'forward' and 'gone' or refusal }
elseif last_change ~= state.packed:sub(1, 5) .. state.nonce then
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
local began_at = string.format('%.0f', state.began_at)
redis.call('HSET', record.key, 't', nonce, 'r', 'n', 'n0', record.nonces[1], 'n1', record.nonces[2], 'n2',
  record.nonces[3], 'n3', record.nonces[4], 'b', began_at)
if unconfirmed_until ~= '' then
  redis.call('HSET', record.key, 'l', unconfirmed_until)
end
if trail ~= '' then
  grace = tonumber(grace) or 0
  redis.call('HSET', record.key, 'f', new_id, 'u', now + grace, 'm', state.version + 1)
  trace_lifetime = math.max(trace_lifetime, grace, trail)
end
redis.call('PEXPIRE', record.key, trace_lifetime)
return { nonce, 'ok', record.nonces, began_at, unconfirmed_until }
