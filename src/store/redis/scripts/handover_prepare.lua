-- Prepares a record that comes from another slot. Until handover_activate.lua runs, no client knows its id, it is not a
-- member of its group, and it expires soon.
-- KEYS: generation
--       record
-- ARGV: nonce
--       version, created at (ms), ends at the latest (ms; '' for never), idle timeout (ms)
--       whether the update has chosen that idle timeout for this session (0 or 1)
--       number and size of the values
--       how long the prepared record lives (ms)
--       whether it joins a group (0 or 1), the group's name
--       list of the values: field, JSON text
-- Reply: 'ok'
--        'activated': an earlier attempt of this call has activated the record
--        'exists'
--        'gone': the record of an earlier attempt has ended or has another id, or the namespace was cleared
local record = next_record()
local version, created_at, ends_at, idle_timeout = next_number(), next_number(), next_number() or 0, next_number()
local has_own_idle_timeout, number, size = next_flag(), next_number(), next_number()
local prepared_lifetime, joins, group_name = next_number(), next_flag(), next_text()
local first_value, last_value = next_list(2)

check_group(record)
if redis.call('EXISTS', record.key) == 1 then
  local v, p, t, f = unpack(redis.call('HMGET', record.key, 'v', 'p', 't', 'f'))
  if not v and (t or f) then
    return { nonce, 'gone' }
  elseif not knows_call(record) then
    return { nonce, 'exists' }
  elseif p ~= v then
    return { nonce, 'activated' }
  end
  redis.call('UNLINK', record.key)
end
local cleared = read_integer(call_or_nil('HGET', generation_key, 'cleared'))
if cleared and created_at <= cleared then
  return { nonce, 'gone' } -- The namespace is being cleared, and the slot of the old record comes later.
end
-- With a grace, the old id leads to this record from handover_end.lua on, before the record is activated. That does no
-- harm.
redis.call('HSET', record.key, 'p', version, 'v', version, 'c', created_at, 'r', now_ms(), 'a', ends_at,
  'i', idle_timeout, 'k', number, 's', size, 'x', generation_or_new(), nonce_field(record, version))
redis.call('PEXPIRE', record.key, prepared_lifetime)
if has_own_idle_timeout then
  redis.call('HSET', record.key, 'o', 1)
end
if joins then
  redis.call('HSET', record.key, 'g', group_name)
end
in_chunks('HSET', record.key, ARGV, first_value, last_value)
return { nonce, 'ok' }
