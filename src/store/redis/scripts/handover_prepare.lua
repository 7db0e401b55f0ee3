-- Prepares a record that comes from another slot. Until handover_activate.lua runs, no client knows its id, it expires
-- soon, and it is not a member of its group. If a login beyond the limit is refused, its place is reserved, so that no
-- other login can take it.
-- KEYS: generation
--       record; in a group with its values and its reserved places
-- ARGV: nonce
--       version, created at (ms), ends at the latest (ms; '' for never), idle timeout (ms)
--       flags: see state.lua
--       number and size of the values
--       how long the prepared record lives (ms)
--       whether it joins a group (0 or 1), the group's name, limit of the group ('' for none), whether a session beyond
--       it is refused (0 or 1)
--       list of the values: field, JSON text
-- Reply: 'ok'
--        'activated': an earlier attempt of this call has activated the record
--        'exists'
--        'too many sessions'
--        'gone': the record of an earlier attempt has ended or has another id, or the namespace was cleared
local record = record_at(2)
local version, created_at, ends_at, idle_timeout, flags = unpack(ARGV, 2, 6)
local number, size, prepared_lifetime, joins, group_name, limit, refuses = unpack(ARGV, 7, 13)
local first_value, last_value = list_at(14, 2)

check_group(record)
if redis.call('EXISTS', record.key) == 1 then
  local s, p, t, f, n0, n1, n2, n3 =
    unpack(redis.call('HMGET', record.key, 's', 'p', 't', 'f', 'n0', 'n1', 'n2', 'n3'))
  if not s and (t or f) then
    return { nonce, 'gone' }
  elseif not s or not knows_call(s:sub(-NONCE_LENGTH), { n0, n1, n2, n3 }) then
    return { nonce, 'exists' }
  elseif not p or #s ~= STATE_LENGTH or unpack_state(s).version ~= tonumber(p) then
    return { nonce, 'activated' }
  end
  redis.call('UNLINK', record.key)
end
local cleared = read_integer(call_or_nil('HGET', generation_key, 'cleared'))
if cleared and tonumber(created_at) <= cleared then
  return { nonce, 'gone' } -- The namespace is being cleared, and the slot of the old record comes later.
end
if refuses == '1' and is_full(record, tonumber(limit), record.id) then
  return { nonce, 'too many sessions' }
end
-- With a grace, the old id leads to this record from handover_end.lua on, before the record is activated. That does no
-- harm.
local state = {
  version = version, flags = flags, keys = number, bytes = size, created_at = created_at, refreshed_at = now,
  expires_at = now + prepared_lifetime, ends_at = tonumber(ends_at) or 0, idle_timeout = idle_timeout,
  generation = generation_or_new(), nonce = nonce,
}
local writes = { 'p', version, 's', pack_state(state) }
if joins == '1' then
  writes[5], writes[6] = 'g', struct.pack('>I6', now) .. group_name
end
for at = first_value, last_value do
  writes[#writes + 1] = ARGV[at]
end
in_chunks('HSET', record.key, writes, 1, #writes)
redis.call('PEXPIRE', record.key, prepared_lifetime)
if refuses == '1' then
  redis.call('ZREMRANGEBYSCORE', record.reserved, 0, now) -- Places of calls that were broken off.
  redis.call('ZADD', record.reserved, state.expires_at, record.id)
  redis.call('PEXPIRE', record.reserved, math.max(prepared_lifetime, redis.call('PTTL', record.reserved)))
end
return { nonce, 'ok' }
