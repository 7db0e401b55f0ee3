-- Keeps the values of a group as another store has them, unless they were changed here since they came from there. If
-- the other store has none any more, removes them.
-- KEYS: generation
--       members, values
-- ARGV: nonce
--       nonces of the last calls that changed the values, joined, newest first
--       nonce of the last change when the other store got the values from a store ('' if they were set there)
--       when the values expire (ms)
--       list of the values: field, JSON text
-- Reply: 'ok', 'created', 'updated' or 'kept'
local members, values = KEYS[2], KEYS[3]
local nonces, given_copied, expires_at = unpack(ARGV, 2, 4)
local first_value, last_value = list_at(5, 2)
expires_at = tonumber(expires_at)
local last = nonces:sub(1, NONCE_LENGTH)

local began = struct.pack('>I7', generation_or_new())
local of_generation, newest, copied = unpack(call_or_nil('HMGET', values, 'o', 'n0', 'c') or {})
newest = of_generation == began and newest and newest:sub(1, NONCE_LENGTH) or ''
if newest == last or newest ~= '' and not has_all_changes(newest, copied, nonces, given_copied) then
  return { nonce, 'ok', 'kept' }
end
if last == '' then
  redis.call('UNLINK', values)
  return { nonce, 'ok', 'updated' }
end
-- THE FIRST WRITE adds, so a full memory refuses the call.
write_nonces(values, began, nonces)
redis.call('HSET', values, 'c', last)
local old = {}
for _, field in ipairs(redis.call('HKEYS', values)) do
  old[#old + 1] = field:sub(1, 1) == ':' and field or nil
end
in_chunks('HDEL', values, old, 1, #old)
in_chunks('HSET', values, ARGV, first_value, last_value)
expire_values(values, members, math.max(expires_at, now + 1))
return { nonce, 'ok', newest == '' and 'created' or 'updated' }
