-- The removal of records, and the traces that they leave.

-- Writes a key and removes it again, for a call that finds nothing to remove. Such a call must write something: see
-- `write_for_wait` in change.lua. UNLINK comes first, so a full memory allows the HSET: see THE FIRST WRITE.
local function write_and_remove(key)
  redis.call('UNLINK', key)
  redis.call('HSET', key, 't', nonce)
  redis.call('UNLINK', key)
end

-- Removes the record under a key, and gives the size of its values. Leaves a trace with the reason: a late copy of the
-- call that made the record must not make it again, and the client's next request learns the reason. Without a reason,
-- leaves a trace only if the record was created or refreshed less than `trace_lifetime` ago (ms). If the key has a
-- forward too, keeps the forward's id: a late copy of the call that ends the session has to find the session.
local function remove_record(key, trace_lifetime, reason)
  local s, t, f = unpack(call_or_nil('HMGET', key, 's', 't', 'f') or {})
  if not s and (t or f) then
    if redis.call('PTTL', key) < trace_lifetime then
      redis.call('PEXPIRE', key, trace_lifetime)
    end
    return 0
  end
  local state = s and #s == STATE_LENGTH and unpack_state(s) or { created_at = 0, refreshed_at = 0, bytes = 0 }
  local was_there = redis.call('UNLINK', key) == 1
  local is_young = now - math.max(state.created_at, state.refreshed_at) < trace_lifetime
  if f or is_young or reason and was_there then
    redis.call('HSET', key, 't', nonce, 'r', reason or 'e')
    if f then
      redis.call('HSET', key, 'f', f)
    end
    redis.call('PEXPIRE', key, trace_lifetime)
  elseif not was_there then
    write_and_remove(key)
  end
  return state.bytes
end
